import { type EndedJob, isEnded } from "../../queue/job.ts";
import { rowBytesOf } from "../../storage/job-row.ts";
import type { Expired } from "../../storage/job-store.ts";
import type { SpaceCore } from "../space-core.ts";
import type { Change } from "./unit-of-work.ts";

/** Jobs erased in one pass: the alarm comes again for the rest. */
const SWEEP_PAGE = 200;
/** How long the bucket is left alone after it refused a deletion. */
const SWEEP_AGAIN_MS = 60_000;
/** R2 deletes so many objects in one call. */
const KEYS_A_CALL = 1_000;
/** The count of kept bytes is stored when it has grown by this: a crash forgets less. */
const COUNT_STEP = 1_048_576;

/** Erases finished jobs: those whose time is over, and the oldest where there is no room for more. */
export class Retention {
  private readonly core: SpaceCore;
  /** Bytes of finished jobs that are kept, about. */
  private readonly maxBytes: number;
  private bytes: number;
  private countedBytes: number;
  private noSweepBefore = 0;

  constructor(core: SpaceCore, maxBytes: number) {
    this.core = core;
    this.maxBytes = maxBytes;
    this.bytes = core.spaces.keptBytes();
    this.countedBytes = this.bytes;
  }

  /** Counts what a batch finished, inside its transaction. */
  note(changes: readonly Change[]): void {
    for (const { job } of changes) {
      if (!isEnded(job)) continue;
      // Offsets are gapless: where every one is a change of status there is no log.
      const isLogged = job.offset > job.history.length;
      const logged = isLogged ? this.core.store.log.bytesOf(job.ulid) : 0;
      this.bytes += rowBytesOf(job) + logged;
    }
    if (Math.abs(this.bytes - this.countedBytes) >= COUNT_STEP) this.storeCount();
  }

  dueOf(job: EndedJob): number {
    return this.isFull()
      ? Math.max(job.completedAt, this.noSweepBefore)
      : job.completedAt + this.ttlMs;
  }

  /** When the next job is to be erased; `null` where none has ended. */
  dueAt(): number | null {
    const end = this.core.store.earliestEnd(SWEEP_PAGE);
    if (end === null) return null;
    return Math.max(this.noSweepBefore, this.isFull() ? end : end + this.ttlMs);
  }

  /**
   * Erases what is due. Files go first: a row without its files is erased by the next sweep, files without
   * a row would stay for ever.
   *
   * @param commit runs its argument in a transaction
   */
  async sweep(bucket: R2Bucket, now: number, commit: (work: () => void) => void): Promise<void> {
    if (now < this.noSweepBefore) return;
    const { store } = this.core;
    const expired = store.endedBy(this.isFull() ? now : now - this.ttlMs, SWEEP_PAGE);
    if (expired.length === 0) return;
    try {
      await deleteFiles(bucket, expired);
    } catch (error) {
      console.error("files of expired jobs could not be deleted", error);
      this.noSweepBefore = now + SWEEP_AGAIN_MS;
      return;
    }
    commit(() => {
      for (const { ulid, bytes } of expired) {
        store.remove(ulid);
        this.bytes -= bytes;
      }
      this.bytes = Math.max(0, this.bytes);
      this.storeCount();
    });
  }

  private get ttlMs(): number {
    return Math.ceil(this.core.record.settings.result_ttl_s * 1_000);
  }

  private isFull(): boolean {
    return this.bytes > this.maxBytes;
  }

  private storeCount(): void {
    this.core.spaces.keepBytes(this.bytes);
    this.countedBytes = this.bytes;
  }
}

async function deleteFiles(bucket: R2Bucket, jobs: readonly Expired[]): Promise<void> {
  const keys = jobs.flatMap(({ files }) => files.map(({ key }) => key));
  for (let at = 0; at < keys.length; at += KEYS_A_CALL) {
    await bucket.delete(keys.slice(at, at + KEYS_A_CALL));
  }
}

/** Deletes every object under a prefix of the bucket. */
export async function removeFiles(bucket: R2Bucket, prefix: string): Promise<void> {
  for (;;) {
    const { objects } = await bucket.list({ prefix });
    if (objects.length === 0) return;
    await bucket.delete(objects.map(({ key }) => key));
  }
}
