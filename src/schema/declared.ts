import type { Json, JsonObject } from "../protocol/codec.ts";
import { byteLength } from "../protocol/codec.ts";
import { type DeclaredSchema, declaredSchema } from "../protocol/declared-schema.ts";
import { PLAIN_MESSAGES } from "../protocol/error-messages.ts";
import { LIMITS } from "../protocol/limits.ts";
import { inPlace, patternSteps, readKeywords, SchemaError, type SubSchema } from "./dialect.ts";
import { decodeFragment, fileFieldOf, resolve } from "./fields.ts";
import { fieldOf, isObject } from "./json-kind.ts";

export type ReadSchema = { ok: true; schema: DeclaredSchema } | { ok: false; message: string };

/**
 * Checks what a worker declared (W35). Whoever has a worker's token may send anything: size, number of parts, and what a
 * check against the schema can cost are bounded here or by `CheckRun`.
 */
export function readDeclared(declared: Json): ReadSchema {
  const bytes = byteLength(JSON.stringify(declared));
  if (bytes > LIMITS.schemaBytes) {
    const message = `The schema has ${bytes} bytes; ${LIMITS.schemaBytes} are allowed.`;
    return { ok: false, message };
  }
  const shape = declaredSchema.safeParse(declared, PLAIN_MESSAGES);
  if (!shape.success) {
    const [issue] = shape.error.issues;
    const pointer = (issue?.path ?? []).map((name) => `/${String(name)}`).join("");
    return {
      ok: false,
      message: `The schema can't be taken: ${pointer || "it"} ${issue?.message}.`,
    };
  }
  try {
    const { input, output } = shape.data;
    if (input !== undefined) checkInput(input, checkSchema("/input", input));
    if (output !== undefined) checkSchema("/output", output);
    return { ok: true, schema: shape.data };
  } catch (error) {
    if (!(error instanceof SchemaError)) throw error;
    return { ok: false, message: `The schema can't be taken: ${error.message}.` };
  }
}

/** @returns every schema within this one, and itself */
function checkSchema(pointer: string, schema: JsonObject): SubSchema[] {
  const found: SubSchema[] = [{ pointer, schema }];
  let steps = 0;
  // Grows while it is walked.
  for (const part of found) {
    found.push(...readKeywords(part));
    steps += patternSteps(part);
    if (found.length > LIMITS.schemaParts)
      throw new SchemaError(pointer, `has more than ${LIMITS.schemaParts} schemas within it`);
    if (steps > LIMITS.schemaPatternSteps)
      throw new SchemaError(part.pointer, "has too many or too long expressions (`pattern`)");
  }
  const byPointer = new Map(found.map((part) => [part.pointer, part]));
  const ways = new Ways(pointer, schema, byPointer);
  for (const part of found) ways.lengthFrom(part, 0);
  return found;
}

/** How many schemas look at one value after each other. */
class Ways {
  private readonly root: string;
  private readonly schema: JsonObject;
  private readonly byPointer: ReadonlyMap<string, SubSchema>;
  /** `null` while it is being found out: then the way leads back to where it began. */
  private readonly known = new Map<string, number | null>();

  constructor(root: string, schema: JsonObject, byPointer: ReadonlyMap<string, SubSchema>) {
    this.root = root;
    this.schema = schema;
    this.byPointer = byPointer;
  }

  lengthFrom(part: SubSchema, before: number): number {
    const { pointer } = part;
    const known = this.known.get(pointer);
    if (known === null) throw new SchemaError(pointer, "refers to itself without an end");
    if (before + (known ?? 0) > MOST_IN_PLACE) throw new SchemaError(pointer, TOO_LONG);
    if (known !== undefined) return known;
    this.known.set(pointer, null);
    const next = [...inPlace(part), ...this.referred(part)];
    const length = 1 + Math.max(0, ...next.map((other) => this.lengthFrom(other, before + 1)));
    if (length > MOST_IN_PLACE) throw new SchemaError(pointer, TOO_LONG);
    this.known.set(pointer, length);
    return length;
  }

  private referred({ pointer, schema }: SubSchema): SubSchema[] {
    const ref = isObject(schema) ? fieldOf(schema, "$ref") : undefined;
    if (typeof ref !== "string") return [];
    const target = this.byPointer.get(`${this.root}${decodeFragment(ref.slice(1))}`);
    if (target === undefined || resolve(ref, this.schema) === null) {
      throw new SchemaError(`${pointer}/$ref`, "names no schema within this one");
    }
    return [target];
  }
}

/** More than any schema that somebody wrote. */
const MOST_IN_PLACE = 64;
const TOO_LONG = `has more than ${MOST_IN_PLACE} schemas for one value after each other`;

function checkInput(input: JsonObject, parts: readonly SubSchema[]): void {
  if (input.type !== "object") throw new SchemaError("/input/type", 'must be "object"');
  for (const { pointer, schema } of parts) {
    if (!pointer.startsWith("/input/") || OF_INPUT_ITSELF.test(pointer)) continue;
    if (fileFieldOf(schema, input) !== null) {
      throw new SchemaError(pointer, "stands for a file, which only a property of the input can");
    }
  }
}

/** Properties of the input, one of whose alternatives may be null; and definitions, which properties may refer to. */
const OF_INPUT_ITSELF =
  /^\/input\/(?:(?:\$defs|definitions)\/.*|properties\/[^/]*(?:\/(?:anyOf|oneOf|allOf)\/\d+)?(?:\/items)?)$/s;
