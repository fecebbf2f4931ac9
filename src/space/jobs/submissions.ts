import type { Caller } from "../../auth/caller.ts";
import { fingerprintOf } from "../../objects/fingerprint.ts";
import type { JsonObject } from "../../protocol/codec.ts";
import type { ProblemCode } from "../../protocol/codes.ts";
import { LIMITS } from "../../protocol/limits.ts";
import type { JobOptions } from "../../protocol/resources.ts";
import { admitInput, admitNow, admitSize, limitsFor } from "../../queue/admission.ts";
import type { Job, StoredFile } from "../../queue/job.ts";
import { inputBytesOf } from "../../storage/job-row.ts";
import { refusalOf as targetRefusal } from "../../webhooks/target.ts";
import { refusalOf, submitterOf } from "../access.ts";
import type { SpaceCore } from "../space-core.ts";
import { presentWorkers } from "../space-status.ts";
import type { WorkerDispatch } from "../workers/worker-dispatch.ts";
import { CachedAnswers } from "./cached-answers.ts";

/** A submit as it arrives at its space. */
export interface IncomingJob {
  input: JsonObject;
  files: StoredFile[];
  options: JobOptions;
  /** Id of the socket that the submit came over; `null` if it came over HTTP. */
  submitter: string | null;
  caller: Caller;
}

/**
 * The job of a submit, or why there is none. `from`: it was made by this submit; or by an earlier one with the same
 * idempotency key; or it was made now, and ended at once with the result of an earlier one.
 */
export type SubmitOutcome =
  | { ok: true; ulid: string; from: "submit" | "key" | "cache" }
  | { ok: false; code: ProblemCode; message: string };

const TOO_MUCH_CACHED = {
  ok: false,
  code: "payload_too_large",
  message: `The jobs that are answered from the cache at once may have ${LIMITS.cachedBytes} bytes together: submit this one again, later or in a smaller batch.`,
} as const;

/** Accepts and cancels jobs. */
export class Submissions {
  private readonly core: SpaceCore;
  private readonly dispatcher: WorkerDispatch;
  private readonly localRights: boolean;
  private readonly cached: CachedAnswers;
  /** When the queue was last found full, and how many jobs waited then: it need not be looked at again. */
  private full = { at: 0, size: 0 };

  constructor(core: SpaceCore, dispatcher: WorkerDispatch, localRights: boolean) {
    this.core = core;
    this.dispatcher = dispatcher;
    this.localRights = localRights;
    this.cached = new CachedAnswers(core);
  }

  /** Call this after each batch. */
  onStored(): void {
    this.cached.forget();
  }

  submit(incoming: IncomingJob, now: number): SubmitOutcome {
    const { input, files, options, submitter, caller } = incoming;
    const { record } = this.core;
    const { settings } = record;
    const asked = refusalOf(record, caller, "submit");
    if (asked !== null) return { ok: false, code: asked.code, message: asked.detail };
    const owner = submitterOf(record, caller, options.user);
    if (!owner.ok) return { ok: false, code: owner.code, message: owner.detail };
    const { user } = owner;
    const fields = files.map(({ field }) => field);
    for (const admission of [admitSize(inputBytesOf(input)), admitInput(settings, input, fields)]) {
      if (!admission.ok) return admission;
    }
    const allowPrivate = this.localRights && caller.local;
    const refusal = options.webhook && targetRefusal(options.webhook.url, allowPrivate);
    if (refusal) return { ok: false, code: "invalid_request", message: `webhook: ${refusal}.` };
    const idempotency = idempotencyOf(incoming);
    const earlier = idempotency && this.findRepeated(idempotency, user);
    if (earlier) return earlier;
    const requires = [...new Set(options.requires)].sort();
    const cacheKey = settings.cache_ttl_s > 0 ? fingerprintOf(input, files, requires) : null;
    const answer = cacheKey === null ? null : this.cached.find(cacheKey, now);
    if (answer === "too_much") return TOO_MUCH_CACHED;
    const present = { workers: presentWorkers(this.core), queued: this.countWaiting(now) };
    const admission = answer ? null : admitNow(settings, present, requires);
    if (admission && !admission.ok) return admission;
    const job = this.core.jobs.submit(
      {
        priority: options.priority ?? 0,
        input,
        files,
        user,
        limits: limitsFor(settings, options),
        requires,
        cancelOnDisconnect: options.cancel_on_disconnect ?? false,
        idempotency,
        cacheKey,
        webhook: options.webhook ?? null,
        submitter,
      },
      now,
    );
    if (answer) this.core.jobs.apply(job.ulid, { type: "answer", ...answer }, now);
    return { ok: true, ulid: job.ulid, from: answer ? "cache" : "submit" };
  }

  /**
   * How many jobs wait. If they seem too many for another, those that a worker has a place for go there first:
   * otherwise jobs of the same batch would count as waiting that don't.
   */
  private countWaiting(now: number): number {
    const { queue } = this.core.jobs;
    const isFull = queue.size >= this.core.record.settings.max_queue;
    if (isFull && (this.full.at !== now || this.full.size !== queue.size)) {
      this.dispatcher.dispatch(now);
      this.full = { at: now, size: queue.size };
    }
    return queue.size;
  }

  /** Cancels a job, unless it has ended. Returns `false` if there is no such job. */
  cancel(ulid: string, reason: string, now: number): boolean {
    // Nothing changes, and the job may be large.
    if (this.core.jobs.hasEnded(ulid)) return true;
    const reaction = this.core.jobs.apply(ulid, { type: "cancel", reason }, now);
    if (reaction.kind === "applied") this.dispatcher.perform(reaction.job, reaction.effects);
    return reaction.kind !== "unknown";
  }

  /** The job that the same key was used for, or the refusal if that submit had another content (decision 0016). */
  private findRepeated(
    { key, fingerprint }: NonNullable<Job["idempotency"]>,
    user: string | null,
  ): SubmitOutcome | null {
    const keyed = this.core.jobs.byIdempotencyKey(key, user);
    if (keyed === null) return null;
    this.core.jobs.storeAll();
    if (keyed.fingerprint === fingerprint) return { ok: true, ulid: keyed.ulid, from: "key" };
    const message = `The idempotency key ${key} was used for another submit: take a new key for each.`;
    return { ok: false, code: "idempotency_key_reused", message };
  }
}

function idempotencyOf({ input, files, options }: IncomingJob): Job["idempotency"] {
  // Keys are the user's own, so the fingerprint need not name them.
  const { idempotency_key: key, cancel_on_disconnect: _, user: __, ...rest } = options;
  if (key === undefined) return null;
  const more = { priority: 0, requires: [], ...rest };
  return { key, fingerprint: fingerprintOf(input, files, JSON.parse(JSON.stringify(more))) };
}
