import type { Json, JsonObject } from "../../protocol/codec.ts";
import { LIMITS } from "../../protocol/limits.ts";
import { currentOutput } from "../../queue/job.ts";
import type { OutputFile } from "../../queue/output-files.ts";
import type { SpaceCore } from "../space-core.ts";

/** What a job takes over from an equal earlier one. */
interface CachedAnswer {
  deltas: Json[];
  result: Json;
  metrics: JsonObject | null;
  /** Both jobs have these files in the bucket then, and the last of them that is erased removes them. */
  outputs: readonly OutputFile[] | undefined;
}

/**
 * Finds the results of earlier jobs for the submits of one batch (decision 0018). Each job that takes one over is
 * stored with a copy of it, so a batch may take over `LIMITS.cachedBytes` only: without that, a body of 13 KB that
 * submits a thousand times the input of a job with 1 MB would have a gigabyte stored.
 */
export class CachedAnswers {
  private readonly core: SpaceCore;
  /** Those that were read in this batch, by cache key, so that a repeated input is read once. */
  private readonly known = new Map<string, { answer: CachedAnswer; bytes: number }>();
  /** What the jobs of this batch have taken over. */
  private bytes = 0;

  constructor(core: SpaceCore) {
    this.core = core;
  }

  /** The output and result of an equal earlier job, if the space's cache may use it and the batch has room for it. */
  find(cacheKey: string, now: number): CachedAnswer | "too_much" | null {
    const known = this.known.get(cacheKey);
    const bytes = known?.bytes ?? this.sizeOf(cacheKey, now);
    if (bytes === null) return null;
    if (this.bytes > 0 && this.bytes + bytes > LIMITS.cachedBytes) return "too_much";
    const answer = known?.answer ?? this.read(cacheKey, now);
    if (answer === null) return null;
    this.known.set(cacheKey, { answer, bytes });
    this.bytes += bytes;
    return answer;
  }

  /** Call this after each batch: the next one may take over as much again. */
  forget(): void {
    this.known.clear();
    this.bytes = 0;
  }

  private sizeOf(cacheKey: string, now: number): number | null {
    return this.core.store.findCachedAnswer(cacheKey, this.since(now))?.bytes ?? null;
  }

  private read(cacheKey: string, now: number): CachedAnswer | null {
    const { store } = this.core;
    const found = store.findCachedAnswer(cacheKey, this.since(now));
    const job = found && store.get(found.ulid);
    if (job?.status !== "completed" || store.erasing.has(job.ulid)) return null;
    // If a part of the output was dropped, the rest would pass for all of it.
    if (store.log.lacksOutput(job.ulid, job.attempts)) return null;
    const output = currentOutput(job, store.log.after(job.ulid, 0));
    return {
      deltas: output.map(({ delta }) => delta),
      result: job.result,
      metrics: job.metrics,
      outputs: job.outputs,
    };
  }

  private since(now: number): number {
    return now - this.core.record.settings.cache_ttl_s * 1_000;
  }
}
