import type { Json, JsonObject } from "../protocol/codec.ts";
import type { FailureCode } from "../protocol/codes.ts";
import { CANCEL_CONFIRM_S, exceededLimit, extraMs } from "./deadline.ts";
import {
  type EndedJob,
  type HeldUp,
  type Instant,
  isEnded,
  type Job,
  type LogEvent,
  type ProcessingJob,
  type QueuedJob,
  type WorkerRef,
} from "./job.ts";
import {
  type AttemptFiles,
  keptOutputs,
  NO_FILES,
  type OutputFile,
  withPreview,
  withStored,
  withTold,
} from "./output-files.ts";

/**
 * The attempt that a worker's frame is about, and the connection it came over. A frame from a former attempt
 * or connection must not change the job.
 */
export interface Fence {
  attempt: number;
  workerId: string;
  generation: number;
}

/** Everything that can happen to a job after it was submitted. */
export type Command =
  | { type: "dispatch"; worker: WorkerRef; generation: number }
  /** The result of an earlier job with the same input is reused (decision 0018). */
  | {
      type: "answer";
      deltas: readonly Json[];
      result: Json;
      metrics: JsonObject | null;
      outputs?: readonly OutputFile[];
    }
  | { type: "accept"; fence: Fence }
  | {
      type: "progress";
      fence: Fence;
      progress: number;
      message: string | null;
      estimatedRemaining: number | null;
    }
  | { type: "output"; fence: Fence; delta: Json }
  /** The attempt tells of a file that it has sent: it is output, or a preview that only shows how far it is. */
  | { type: "file"; fence: Fence; name: string; preview: boolean }
  | {
      type: "result";
      fence: Fence;
      output: Json;
      metrics: JsonObject | null;
      /** The names of files that are output, too. */
      files?: readonly string[];
    }
  | { type: "fail"; fence: Fence; code: string; message: string; retryable: boolean }
  | { type: "reject"; fence: Fence; reason: string }
  | { type: "resume"; fence: Fence }
  /**
   * The worker's socket was lost; its grace begins (decision 0010). `awayMs`: the edge was away for so long, and
   * the socket was lost with it (decision 0040).
   */
  | { type: "detach"; awayMs?: number }
  /** The edge stood still for `awayMs` and has kept its memory, and perhaps the worker's socket (decision 0050). */
  | { type: "make_up"; awayMs: number }
  /** The attempt is taken back: its worker left for good, or came back without the attempt. */
  | { type: "lose"; reason: string }
  /** A large frame is on its way to or from the job's worker, or has arrived (decision 0046). */
  | { type: "hold_up"; heldUp: HeldUp }
  /** A file of this attempt is in the bucket. It comes over HTTP, so it needs no connection of the worker. */
  | { type: "store_file"; attempt: number; file: OutputFile }
  | { type: "cancel"; reason: string }
  | { type: "position"; position: number }
  /** Time has passed: a limit that has run out takes effect. */
  | { type: "tick" };

/** A frame that must be sent to the job's worker once the change is stored. */
export type Effect =
  | { type: "ack"; of: "result" | "fail" | "reject" }
  /** Asks the worker to stop the attempt. */
  | { type: "send_cancel"; worker: WorkerRef; attempt: number; reason: string };

/** What a command did to a job. */
export type Outcome =
  | { kind: "applied"; job: Job; log: LogEvent[]; effects: Effect[] }
  /** There was nothing to change; effects (a repeated acknowledgement) are still due. */
  | { kind: "unchanged"; effects: Effect[] }
  /** The frame names a file that the attempt has not sent, and changes nothing. */
  | { kind: "no_such_file"; name: string }
  /** The frame is from a former attempt or connection, or its job has ended. */
  | { kind: "stale" };

/** The most characters that a message has in a job's history (decision 0007). */
const BRIEF = 500;

const STALE: Outcome = { kind: "stale" };
const UNCHANGED: Outcome = { kind: "unchanged", effects: [] };

/** The fields of a job that its submit determines. */
export type NewJob = Pick<
  QueuedJob,
  | "ulid"
  | "priority"
  | "input"
  | "files"
  | "user"
  | "party"
  | "round"
  | "limits"
  | "requires"
  | "cancelOnDisconnect"
  | "idempotency"
  | "cacheKey"
  | "webhook"
  | "submitter"
>;

/** Makes the first state of a job from its submit. */
export function submitted(job: NewJob, now: Instant): QueuedJob {
  return {
    ...job,
    status: "queued",
    createdAt: now,
    updatedAt: now,
    queuedAt: now,
    availableAt: now,
    attempts: 0,
    startedAt: null,
    offset: 1,
    history: [{ offset: 1, at: now, status: "queued", attempt: 0, message: null }],
  };
}

/** Computes what `command` does to a job at `now`. Pure; every change in a job's life is made here. */
export function transition(job: Job, command: Command, now: Instant): Outcome {
  if (isEnded(job)) return whileEnded(job, command);
  if (job.status === "queued") return whileQueued(job, command, now);
  return whileProcessing(job, command, now);
}

/** An end never changes; if the worker that reported it sends it again, it is acknowledged again. */
function whileEnded(job: EndedJob, command: Command): Outcome {
  if (command.type === "store_file") return STALE;
  if (!("fence" in command)) return UNCHANGED;
  const isEnd = command.type === "result" || command.type === "fail";
  const bySameAttempt =
    command.fence.attempt === job.attempts && command.fence.workerId === job.worker?.id;
  const sameEnd =
    (command.type === "result" && job.status === "completed") ||
    (command.type === "fail" && job.status !== "completed");
  if (!(isEnd && bySameAttempt && sameEnd)) return STALE;
  return { kind: "unchanged", effects: [{ type: "ack", of: command.type }] };
}

function whileQueued(job: QueuedJob, command: Command, now: Instant): Outcome {
  switch (command.type) {
    case "dispatch":
      return applied(dispatched(job, command.worker, command.generation, now));
    case "answer":
      return answered(job, command, now);
    case "cancel":
      return applied(canceled(job, command.reason, now));
    case "position": {
      const offset = job.offset + 1;
      const event: LogEvent = { kind: "position", offset, at: now, position: command.position };
      return { kind: "applied", job: { ...job, offset }, log: [event], effects: [] };
    }
    case "tick": {
      const limit = exceededLimit(job, now);
      return limit ? applied(failed(job, limit.code, limit.message, now)) : UNCHANGED;
    }
    case "detach":
    case "make_up":
    case "lose":
    case "hold_up":
      return UNCHANGED;
    default:
      return STALE;
  }
}

function whileProcessing(job: ProcessingJob, command: Command, now: Instant): Outcome {
  if ("fence" in command) {
    return isCurrent(job, command) ? afterFrame(job, command, now) : STALE;
  }
  switch (command.type) {
    case "detach":
      return detached(job, command.awayMs ?? 0, now);
    case "make_up":
      return applied(madeUpFor(job, command.awayMs, now));
    case "lose":
      return lost(job, command.reason, now);
    case "hold_up":
      return applied(heldUp(job, command.heldUp));
    case "store_file":
      return fileStored(job, command, now);
    case "cancel":
      return cancelRequested(job, command.reason, now);
    case "tick":
      return ticked(job, now);
    default:
      return UNCHANGED;
  }
}

type FencedCommand = Extract<Command, { fence: Fence }>;

/** A resume comes over a newer connection; every other frame must come over the attempt's current one. */
function isCurrent(job: ProcessingJob, command: FencedCommand): boolean {
  const { attempt, workerId, generation } = command.fence;
  if (attempt !== job.attempts || workerId !== job.worker.id) return false;
  return command.type === "resume" ? generation >= job.generation : generation === job.generation;
}

/** Applies a frame of the running attempt. */
function afterFrame(job: ProcessingJob, command: FencedCommand, now: Instant): Outcome {
  const live = { ...job.live, lastFrameAt: now };
  switch (command.type) {
    case "accept": {
      // The `job` frame has arrived.
      if (job.live.heldUp?.from !== "edge") return UNCHANGED;
      return applied(heldUp(job, { until: now, bytes: 0, from: "worker" }));
    }
    case "resume": {
      const { generation } = command.fence;
      return applied({ ...heldUp(job), generation, detachedAt: null, resumedAt: now });
    }
    case "progress": {
      const { progress, message, estimatedRemaining } = command;
      const offset = job.offset + 1;
      const attempt = job.attempts;
      const reported = { progress, message, estimatedRemaining };
      const log: LogEvent = { kind: "progress", offset, at: now, attempt, ...reported };
      const next = {
        ...job,
        offset,
        updatedAt: now,
        live: { ...live, ...reported, reportedAt: now },
      };
      return appliedWithLog(next, log);
    }
    case "output": {
      const offset = job.offset + 1;
      const { delta } = command;
      const log: LogEvent = { kind: "output", offset, at: now, attempt: job.attempts, delta };
      const outputs = live.outputs + 1;
      return appliedWithLog({ ...job, offset, updatedAt: now, live: { ...live, outputs } }, log);
    }
    case "file":
      return fileTold(job, command, now);
    case "result":
      return resultReported(job, command, now);
    case "fail":
      return applied(attemptFailed(job, command, now), [{ type: "ack", of: "fail" }]);
    case "reject":
      return applied(attemptRejected(job, command.reason, now), [{ type: "ack", of: "reject" }]);
  }
}

/** A file on its way can take long, and shows that the attempt is at work. */
function fileStored(
  job: ProcessingJob,
  { attempt, file }: Extract<Command, { type: "store_file" }>,
  now: Instant,
): Outcome {
  if (attempt !== job.attempts) return STALE;
  const files = withStored(job.live.files ?? NO_FILES, file);
  return applied({ ...job, updatedAt: now, live: { ...job.live, files, lastFrameAt: now } });
}

function fileTold(
  job: ProcessingJob,
  { name, preview }: Extract<Command, { type: "file" }>,
  now: Instant,
): Outcome {
  const tell = preview ? withPreview : withTold;
  const told = tell(job.live.files ?? NO_FILES, name);
  if (told === null) return { kind: "no_such_file", name };
  const { files, file } = told;
  const offset = job.offset + 1;
  const log: LogEvent = { kind: "file", offset, at: now, attempt: job.attempts, file, preview };
  const live = { ...job.live, files, outputs: job.live.outputs + 1, lastFrameAt: now };
  return appliedWithLog({ ...job, offset, updatedAt: now, live }, log);
}

function resultReported(
  job: ProcessingJob,
  { output, metrics, files: names = [] }: Extract<Command, { type: "result" }>,
  now: Instant,
): Outcome {
  let ending = job;
  if (names.length > 0) {
    let files: AttemptFiles = job.live.files ?? NO_FILES;
    for (const name of names) {
      const told = withTold(files, name);
      if (told === null) return { kind: "no_such_file", name };
      files = told.files;
    }
    ending = { ...job, live: { ...job.live, files } };
  }
  return applied(completed(ending, output, metrics, now), [{ type: "ack", of: "result" }]);
}

function attemptFailed(
  job: ProcessingJob,
  fail: { code: string; message: string; retryable: boolean },
  now: Instant,
): Job {
  if (job.cancel) return canceled(job, job.cancel.reason, now);
  const message = fail.code === "worker_error" ? fail.message : `${fail.code}: ${fail.message}`;
  if (!fail.retryable) return failed(job, "worker_error", message, now);
  return requeued(job, "worker_error", message, now, retryDelayMs(job.attempts));
}

function attemptRejected(job: ProcessingJob, reason: string, now: Instant): Job {
  if (job.cancel) return canceled(job, job.cancel.reason, now);
  return requeued(job, "rejected", reason, now, retryDelayMs(1));
}

function lost(job: ProcessingJob, reason: string, now: Instant): Outcome {
  if (job.cancel) return applied(canceled(job, job.cancel.reason, now));
  return applied(requeued(job, "worker_lost", reason, now, 0));
}

function detached(job: ProcessingJob, awayMs: number, now: Instant): Outcome {
  // If the edge was away, the worker could not come back meanwhile: its grace begins again.
  if (job.detachedAt !== null && awayMs === 0) return UNCHANGED;
  const more = awayMs === 0 ? 0 : extraMs(job, awayMs);
  return applied({ ...heldUp(job), detachedAt: now, awayMs: job.awayMs + more });
}

/**
 * The attempt is given the time that it lost, and its grace on top: its connection may be dead, and its worker may need
 * the grace to come back. Every shorter limit begins again.
 */
function madeUpFor(job: ProcessingJob, awayMs: number, now: Instant): ProcessingJob {
  const { detachedAt, cancel, live } = job;
  const { heldUp: frame } = live;
  return {
    ...(frame === undefined ? job : heldUp(job, { ...frame, until: frame.until + awayMs })),
    awayMs: job.awayMs + extraMs(job, awayMs),
    detachedAt: detachedAt === null ? null : now,
    resumedAt: now,
    cancel: cancel === null ? null : { ...cancel, requestedAt: now },
  };
}

/** @param frame `undefined`: the connection is gone, and what was under way with it */
function heldUp(job: ProcessingJob, frame?: HeldUp): ProcessingJob {
  const { heldUp: _, ...live } = job.live;
  return { ...job, live: frame === undefined ? live : { ...live, heldUp: frame } };
}

function cancelRequested(job: ProcessingJob, reason: string, now: Instant): Outcome {
  if (job.cancel) return UNCHANGED;
  const next: ProcessingJob = { ...job, cancel: { requestedAt: now, reason } };
  return applied(withStatus(next, "Canceling …", now), [cancelEffect(job, reason)]);
}

function ticked(job: ProcessingJob, now: Instant): Outcome {
  if (job.cancel && now >= job.cancel.requestedAt + CANCEL_CONFIRM_S * 1_000) {
    return applied(canceled(job, job.cancel.reason, now));
  }
  const limit = exceededLimit(job, now);
  if (!limit) return UNCHANGED;
  if (limit.code === "worker_lost") return lost(job, limit.message, now);
  const end = job.cancel
    ? canceled(job, job.cancel.reason, now)
    : failed(job, limit.code, limit.message, now);
  return applied(end, [cancelEffect(job, limit.message)]);
}

function cancelEffect(job: ProcessingJob, reason: string): Effect {
  return { type: "send_cancel", worker: job.worker, attempt: job.attempts, reason };
}

function dispatched(
  job: QueuedJob,
  worker: WorkerRef,
  generation: number,
  now: Instant,
): ProcessingJob {
  const { queuedAt: _q, availableAt: _a, ...base } = job;
  return withStatus(
    {
      ...base,
      status: "processing",
      attempts: job.attempts + 1,
      startedAt: job.startedAt ?? now,
      worker,
      generation,
      dispatchedAt: now,
      detachedAt: null,
      awayMs: 0,
      resumedAt: null,
      cancel: null,
      live: {
        progress: 0,
        message: null,
        estimatedRemaining: null,
        outputs: 0,
        lastFrameAt: null,
        reportedAt: null,
      },
    },
    null,
    now,
  );
}

const FIRST_RETRY_MS = 1_000;
const LONGEST_RETRY_MS = 30_000;

/** 1, 2, 4 … 30 seconds, so that a job that fails at once doesn't use up all attempts at once (decision 0014). */
function retryDelayMs(attempts: number): number {
  return Math.min(LONGEST_RETRY_MS, FIRST_RETRY_MS * 2 ** Math.min(attempts - 1, 10));
}

/**
 * Puts the job back in the queue, or fails it if this was its last attempt. Its round and ULID put it ahead of the
 * other jobs of its priority: jobs that were never dispatched are of later rounds, or younger.
 */
function requeued(
  job: ProcessingJob,
  code: FailureCode,
  reason: string,
  now: Instant,
  delayMs: number,
): Job {
  const { maxAttempts } = job.limits;
  if (job.attempts >= maxAttempts) {
    if (maxAttempts === 1) return failed(job, code, reason, now);
    const message = `Gave up after ${maxAttempts} attempts; the last one: ${reason}`;
    return failed(job, "too_many_attempts", message, now);
  }
  const {
    worker: _w,
    generation: _g,
    dispatchedAt: _d,
    detachedAt: _t,
    awayMs: _m,
    resumedAt: _r,
    cancel: _c,
    live: _l,
    ...base
  } = job;
  const queued: QueuedJob = {
    ...base,
    status: "queued",
    queuedAt: now,
    availableAt: now + delayMs,
  };
  return withStatus(queued, reason, now);
}

function answered(
  job: QueuedJob,
  { deltas, result, metrics, outputs }: Extract<Command, { type: "answer" }>,
  now: Instant,
): Outcome {
  const { attempts: attempt } = job;
  const log = deltas.map((delta, index): LogEvent => {
    return { kind: "output", offset: job.offset + 1 + index, at: now, attempt, delta };
  });
  const base = ended({ ...job, offset: job.offset + log.length }, now);
  const kept = outputs === undefined ? {} : { outputs };
  const end = { ...base, ...kept, status: "completed", result, metrics, cached: true } as const;
  return { kind: "applied", job: withStatus(end, null, now), log, effects: [] };
}

function completed(
  job: ProcessingJob,
  result: Json,
  metrics: JsonObject | null,
  now: Instant,
): Job {
  return withStatus(
    { ...ended(job, now), status: "completed", result, metrics, cached: false },
    null,
    now,
  );
}

function failed(
  job: QueuedJob | ProcessingJob,
  code: FailureCode,
  message: string,
  now: Instant,
): Job {
  const progress = job.status === "processing" ? job.live.progress : 0;
  const end: Job = { ...ended(job, now), status: "failed", error: { code, message }, progress };
  return withStatus(end, message, now);
}

function canceled(job: QueuedJob | ProcessingJob, reason: string, now: Instant): Job {
  const progress = job.status === "processing" ? job.live.progress : 0;
  return withStatus({ ...ended(job, now), status: "canceled", reason, progress }, reason, now);
}

function ended(job: QueuedJob | ProcessingJob, now: Instant) {
  if (job.status === "queued") {
    const { queuedAt: _q, availableAt: _a, status: _s, ...base } = job;
    const none = { dispatchedAt: null, worker: null, generation: null };
    return { ...base, ...none, party: null, completedAt: now };
  }
  const {
    detachedAt: _t,
    awayMs: _m,
    resumedAt: _r,
    cancel: _c,
    live: _l,
    status: _s,
    ...base
  } = job;
  return { ...base, ...keptOutputs(job), party: null, completedAt: now };
}

/** Adds the job's new status to its history, with the next offset of its event log. */
function withStatus<J extends Job>(job: J, message: string | null, now: Instant): J {
  const offset = job.offset + 1;
  const event = {
    offset,
    at: now,
    status: job.status,
    attempt: job.attempts,
    message: brief(message),
  };
  return { ...job, offset, updatedAt: now, history: [...job.history, event] };
}

/** Shortens a message, as all of a job's history is in one row. The last message is also stored whole there. */
function brief(message: string | null): string | null {
  if (message === null || message.length <= BRIEF) return message;
  return `${message.slice(0, BRIEF - 1)}…`;
}

function applied(job: Job, effects: Effect[] = []): Outcome {
  return { kind: "applied", job, log: [], effects };
}

function appliedWithLog(job: ProcessingJob, event: LogEvent): Outcome {
  return { kind: "applied", job, log: [event], effects: [] };
}
