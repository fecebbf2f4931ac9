import type { Caller } from "../../auth/caller.ts";
import { fingerprintOf } from "../../objects/fingerprint.ts";
import type { JsonObject } from "../../protocol/codec.ts";
import type { ProblemCode } from "../../protocol/codes.ts";
import { LIMITS } from "../../protocol/limits.ts";
import type { JobOptions } from "../../protocol/resources.ts";
import {
  ADMITTED,
  type Admission,
  admitInput,
  admitNow,
  admitPriority,
  admitSize,
  limitsFor,
} from "../../queue/admission.ts";
import type { Job, StoredFile } from "../../queue/job.ts";
import type { InputError } from "../../schema/check-run.ts";
import { describeErrors } from "../../schema/input-schema.ts";
import { inputBytesOf } from "../../storage/job-row.ts";
import { refusalOf as targetRefusal } from "../../webhooks/target.ts";
import { accessOf, refusalOf, submitterOf } from "../access.ts";
import type { SpaceCore } from "../space-core.ts";
import { presentWorkers } from "../space-status.ts";
import type { WorkerDispatch } from "../workers/worker-dispatch.ts";
import { CachedAnswers } from "./cached-answers.ts";
import type { Parties } from "./parties.ts";

/** A submit as it arrives at its space. */
export interface IncomingJob {
  input: JsonObject;
  /** The fields of the input that came as texts of a form. */
  texts: readonly string[];
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
  | { ok: false; code: ProblemCode; message: string; errors?: InputError[] };

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
  private readonly onUser: (user: string) => void;
  private readonly parties: Parties;
  private readonly cached: CachedAnswers;
  /** When the queue was last found full, and how many jobs waited then: it need not be looked at again. */
  private full = { at: 0, size: 0 };

  /** @param options `onUser` is called with the user of each job that was submitted */
  constructor(
    core: SpaceCore,
    dispatcher: WorkerDispatch,
    {
      localRights,
      parties,
      onUser,
    }: { localRights: boolean; parties: Parties; onUser: (user: string) => void },
  ) {
    this.core = core;
    this.dispatcher = dispatcher;
    this.localRights = localRights;
    this.onUser = onUser;
    this.parties = parties;
    this.cached = new CachedAnswers(core);
  }

  /** Call this after each batch. */
  onStored(): void {
    this.cached.forget();
  }

  submit(incoming: IncomingJob, now: number): SubmitOutcome {
    const { input: given, texts, files, options, submitter, caller } = incoming;
    const { record } = this.core;
    const schema = this.core.schema.input;
    const { settings } = record;
    const asked = refusalOf(record, caller, "submit");
    if (asked !== null) return { ok: false, code: asked.code, message: asked.detail };
    const owner = submitterOf(record, caller, options.user);
    if (!owner.ok) return { ok: false, code: owner.code, message: owner.detail };
    const { user } = owner;
    const fields = files.map(({ field }) => field);
    for (const admission of [
      admitSize(inputBytesOf(given)),
      // A schema says what is taken instead of the switches.
      schema === null ? admitInput(settings, given, fields) : ADMITTED,
      admitPriority(settings, options.priority ?? 0, {
        isManager: accessOf(record, caller) === "manage",
        userId: user,
      }),
    ]) {
      if (!admission.ok) return admission;
    }
    const allowPrivate = this.localRights && caller.local;
    const refusal = options.webhook && targetRefusal(options.webhook.url, allowPrivate);
    if (refusal) return { ok: false, code: "invalid_request", message: `webhook: ${refusal}.` };
    const idempotency = idempotencyOf(incoming);
    const earlier = idempotency && this.findRepeated(idempotency, user);
    if (earlier) return earlier;
    const input = schema?.typed(given, texts) ?? given;
    const requires = [...new Set(options.requires)].sort();
    const cacheKey = settings.cache_ttl_s > 0 ? fingerprintOf(input, files, requires) : null;
    const answer = cacheKey === null ? null : this.cached.find(cacheKey, now);
    if (answer === "too_much") return TOO_MUCH_CACHED;
    // Neither a repeat nor what the cache answers comes to a worker, which may take other inputs by now.
    const errors = (answer === null && schema?.errorsOf(input, files, inputBytesOf(input))) || [];
    if (errors.length > 0) {
      return { ok: false, code: "invalid_input", message: describeErrors(errors), errors };
    }
    const { isAdmin, address } = caller;
    const party = this.parties.of({ userId: user, isAdmin, address });
    const admission = answer ? null : this.admit(requires, party, now);
    if (admission && !admission.ok) return admission;
    const job = this.core.jobs.submit(
      {
        priority: options.priority ?? 0,
        input,
        files,
        user,
        party,
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
    if (user !== null) this.onUser(user);
    if (answer) this.core.jobs.apply(job.ulid, { type: "answer", ...answer }, now);
    return { ok: true, ulid: job.ulid, from: answer ? "cache" : "submit" };
  }

  /** Whether one more job may wait now, or run at once. */
  private admit(requires: readonly string[], party: string | null, now: number): Admission {
    const { settings } = this.core.record;
    const workers = presentWorkers(this.core);
    const isAdmitted = () =>
      admitNow(settings, { workers, ...this.backlogFor(requires, party) }, requires);
    const admission = isAdmitted();
    if (admission.ok || admission.code !== "queue_full") return admission;
    // Those that a worker has a place for go there first: otherwise jobs of the same batch would count as waiting
    // that don't.
    const { size } = this.core.jobs.queue;
    if (this.full.at === now && this.full.size === size) return admission;
    this.dispatcher.dispatch(now);
    this.full = { at: now, size: this.core.jobs.queue.size };
    return isAdmitted();
  }

  private backlogFor(requires: readonly string[], party: string | null) {
    const { queue } = this.core.jobs;
    return {
      queued: queue.size,
      isFirst: queue.rounds.waitingOf(party) === 0,
      queuedOfUser: party === null ? null : queue.rounds.waitingOf(party),
      classes: queue.classCount,
      hasClass: queue.hasClass(requires),
    };
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
