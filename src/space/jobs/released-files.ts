import { outputKey } from "../../files/file-keys.ts";
import { fileChanges, type OutputFile } from "../../queue/output-files.ts";
import type { SpaceCore } from "../space-core.ts";
import { deleteKeys } from "./job-keys.ts";
import type { Change } from "./unit-of-work.ts";

/** A page that shows a preview loads the next one before this one is gone, milliseconds. */
const GRACE_MS = 5_000;
/** Milliseconds until the next try after the bucket refused a deletion. */
const AGAIN_MS = 60_000;

/**
 * Removes output files that nobody needs any more: of attempts that failed or were lost, those that were never told,
 * and previews. Their rows stay until the bucket has removed them (decision 0017), so a crash in between loses none.
 */
export class ReleasedFiles {
  private readonly core: SpaceCore;
  private files: OutputFile[];
  private due: number | null;

  constructor(core: SpaceCore) {
    this.core = core;
    this.files = core.store.outputFiles.released(core.jobs.runningJobs());
    this.due = this.files.length === 0 ? null : 0;
  }

  /** When some are to be removed, milliseconds since 1970; `null` if there are none. */
  get dueAt(): number | null {
    return this.due;
  }

  /** Notes the files that a stored batch has released. */
  onStored(changes: readonly Change[], now: number): void {
    for (const { before, job } of changes) {
      const changed = fileChanges(before, job);
      if (changed === null || changed.released.length === 0) continue;
      this.files.push(...changed.released);
      this.due ??= now + GRACE_MS;
    }
  }

  /** @param runBatch runs its argument in a batch of its own, and stores that */
  async sweep(bucket: R2Bucket, now: number, runBatch: (step: () => void) => void): Promise<void> {
    if (this.due === null || this.due > now) return;
    const { files } = this;
    this.files = [];
    this.due = null;
    try {
      await deleteKeys(
        bucket,
        files.map((file) => outputKey(this.core.record.name, file)),
      );
    } catch (error) {
      console.error("files that nobody needs could not be deleted", error);
      this.files.push(...files);
      this.due = now + AGAIN_MS;
      return;
    }
    runBatch(() => this.core.store.outputFiles.remove(files));
  }
}
