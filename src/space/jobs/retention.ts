import { type EndedJob, isEnded } from "../../queue/job.ts";
import { rowBytesOf } from "../../storage/job-row.ts";
import type { Expired } from "../../storage/job-store.ts";
import type { SpaceCore } from "../space-core.ts";
import { deleteKeys, keysOf } from "./job-keys.ts";
import type { Change } from "./unit-of-work.ts";

/** At most this many jobs are erased in one sweep; the alarm goes off again for the rest. */
const SWEEP_PAGE = 200;
/** Milliseconds until the next sweep after the bucket refused a deletion. */
const SWEEP_AGAIN_MS = 60_000;
/** If finished jobs take too much room, this share of it is left to them: the next one needs no sweep of its own. */
const FULL_TO = 0.9;
/**
 * The count of kept bytes is stored each time it has changed by this much, not for every batch. A crash loses at
 * most this much of the count.
 */
const COUNT_STEP = 1_048_576;

/** Erases finished jobs: those older than the space's `result_ttl_s`, and the oldest if they take too much room. */
export class Retention {
  private readonly core: SpaceCore;
  /** How many bytes finished jobs may take, approximately. */
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

  /** Counts the bytes of jobs that a batch finished. Call this within the batch's transaction. */
  countEnded(changes: readonly Change[]): void {
    for (const { job } of changes) {
      if (!isEnded(job)) continue;
      // If every offset is a change of status, the job has no log, and its size need not be read.
      const isLogged = job.offset > job.history.length;
      const logged = isLogged ? this.core.store.log.bytesOf(job.ulid) : 0;
      this.bytes += rowBytesOf(job) + logged;
    }
    if (Math.abs(this.bytes - this.countedBytes) >= COUNT_STEP) this.storeCount();
  }

  /** When an ended job is to be erased, milliseconds since 1970. */
  dueOf(job: EndedJob): number {
    return this.isFull()
      ? Math.max(job.completedAt, this.noSweepBefore)
      : job.completedAt + this.ttlMs;
  }

  /** When the next job is to be erased, milliseconds since 1970; `null` if none has ended. */
  dueAt(): number | null {
    const end = this.core.store.earliestEnd(SWEEP_PAGE);
    if (end === null) return null;
    return Math.max(this.noSweepBefore, this.isFull() ? end : end + this.ttlMs);
  }

  /**
   * Erases the jobs that are due. Their files are deleted first (decision 0017): if the sweep is cut off, the
   * next one finds the rows and finishes. If the rows were deleted first, no row would name the files, and
   * they would stay for ever.
   *
   * @param runBatch runs its argument in a batch of its own, and stores that
   */
  async sweep(bucket: R2Bucket, now: number, runBatch: (step: () => void) => void): Promise<void> {
    if (now < this.noSweepBefore) return;
    const { store } = this.core;
    const expired = this.expiredBy(now);
    if (expired.length === 0) return;
    try {
      await this.removeFiles(bucket, expired);
    } catch (error) {
      console.error("files of expired jobs could not be deleted", error);
      this.noSweepBefore = now + SWEEP_AGAIN_MS;
      return;
    }
    runBatch(() => {
      for (const { ulid, bytes } of expired) {
        store.remove(ulid);
        this.bytes -= bytes;
      }
      this.bytes = Math.max(0, this.bytes);
      this.storeCount();
    });
  }

  /**
   * Erases one job that has ended.
   *
   * @throws if its files can't be removed now: the job is still there then
   */
  async erase(bucket: R2Bucket, ulid: string, runBatch: (step: () => void) => void): Promise<void> {
    const { store } = this.core;
    const job = store.expiredOf(ulid);
    if (job === null) return;
    await this.removeFiles(bucket, [job]);
    runBatch(() => {
      // A sweep may have been quicker.
      if (store.expiredOf(ulid) === null) return;
      store.remove(ulid);
      this.bytes = Math.max(0, this.bytes - job.bytes);
      this.storeCount();
    });
  }

  /** Until its row is gone too, no other job takes over the result and files of a job (decision 0018). */
  private async removeFiles(bucket: R2Bucket, jobs: readonly Expired[]): Promise<void> {
    const { store } = this.core;
    const keys = keysOf(this.core.record.name, jobs, (folder) => store.outputFiles.holders(folder));
    if (keys.length === 0) return;
    for (const { ulid } of jobs) store.erasing.add(ulid);
    try {
      await deleteKeys(bucket, keys);
    } catch (error) {
      for (const { ulid } of jobs) store.erasing.delete(ulid);
      throw error;
    }
  }

  /** The jobs to erase now: if they take too much room, as many of the oldest as make some, and no more. */
  private expiredBy(now: number): Expired[] {
    const { store } = this.core;
    if (!this.isFull()) return store.endedBy(now - this.ttlMs, SWEEP_PAGE);
    let excess = this.bytes - this.maxBytes * FULL_TO;
    return store.endedBy(now, SWEEP_PAGE).filter(({ bytes }) => {
      const isExcess = excess > 0;
      excess -= bytes;
      return isExcess;
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
