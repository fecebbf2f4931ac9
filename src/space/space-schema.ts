import type { JsonObject } from "../protocol/codec.ts";
import type { DeclaredSchema } from "../protocol/declared-schema.ts";
import { parseExact } from "../protocol/exact-json.ts";
import type { SchemaResource } from "../protocol/resources.ts";
import { InputSchema } from "../schema/input-schema.ts";
import type { SpaceStore } from "../storage/space-store.ts";

/** What a space's jobs take and give, as its newest worker declared (decision 0062). */
export class SpaceSchema {
  private readonly store: SpaceStore;
  private version: number;
  /** JSON text; `null`: no worker has declared any. */
  private text: string | null;
  private readyInput: InputSchema | null = null;

  constructor(store: SpaceStore) {
    this.store = store;
    ({ version: this.version, text: this.text } = store.schema());
  }

  /** `null` without a schema. */
  get resource(): SchemaResource | null {
    const declared = this.read();
    if (declared === null) return null;
    const { input = null, output = null } = declared;
    return { version: this.version, input, output };
  }

  /** In the status of the space, so that pages learn of a change. */
  get status(): { schema_version?: number } {
    return this.text === null ? {} : { schema_version: this.version };
  }

  /** What inputs are checked against; `null`: they are not. Made ready once, when the first submit comes. */
  get input(): InputSchema | null {
    if (this.text === null) return null;
    if (this.readyInput === null) {
      const input = this.read()?.input;
      if (input === undefined) return null;
      this.readyInput = new InputSchema(input);
    }
    return this.readyInput;
  }

  /**
   * Takes what a worker declares instead of what was declared before. The same again keeps its version.
   *
   * @param declared was checked; `null`: no worker declares anything
   */
  declare(declared: DeclaredSchema | null): void {
    const text = declared === null ? null : JSON.stringify(declared);
    if (text === this.text) return;
    if (text !== null) this.version += 1;
    this.text = text;
    this.readyInput = null;
    this.store.keepSchema(this.version, text);
  }

  private read(): DeclaredSchema | null {
    return this.text === null ? null : (parseExact(this.text) as JsonObject as DeclaredSchema);
  }
}
