import type { FailureCode } from "../protocol/codes.ts";
import type { Instant, ProcessingJob, QueuedJob } from "./job.ts";

/** The time a worker has to confirm a cancel before the edge ends the job itself, seconds. */
export const CANCEL_CONFIRM_S = 10;

/** A limit that is running for a job. */
export interface Limit {
  dueAt: Instant;
  code: FailureCode;
  /** Names the limit and its length, and says what to change. */
  message: string;
}

/** All limits that are running for the job now; the earliest of them is its deadline. */
export function limitsOf(job: QueuedJob | ProcessingJob): Limit[] {
  return job.status === "queued" ? queuedLimits(job) : processingLimits(job);
}

/** When something is next due for the job: a limit, or the confirmation of a cancel; `null` if nothing is. */
export function dueAt(job: QueuedJob | ProcessingJob): Instant | null {
  const dues = limitsOf(job).map((limit) => limit.dueAt);
  if (job.status === "processing" && job.cancel) {
    dues.push(cancelDeadline(job.cancel));
  }
  return dues.length === 0 ? null : Math.min(...dues);
}

/** The limit that ran out first; `null` if none has run out by `now`. */
export function exceededLimit(job: QueuedJob | ProcessingJob, now: Instant): Limit | null {
  const over = limitsOf(job).filter((limit) => limit.dueAt <= now);
  over.sort((a, b) => a.dueAt - b.dueAt);
  return over[0] ?? null;
}

/** The latest time at which the attempt is taken back: the `deadline` in the worker's `job` frame. */
export function attemptDeadline(job: ProcessingJob): Instant {
  return job.dispatchedAt + wholeMs(job.limits.jobTimeoutS) + job.awayMs;
}

function queuedLimits(job: QueuedJob): Limit[] {
  const { queueTimeoutS } = job.limits;
  if (queueTimeoutS === null) return [];
  const message = `No worker took the job within ${queueTimeoutS} s (queue_timeout_s). Raise the limit, or add workers.`;
  return [{ dueAt: job.queuedAt + wholeMs(queueTimeoutS), code: "expired", message }];
}

function processingLimits(job: ProcessingJob): Limit[] {
  const { jobTimeoutS, firstOutputTimeoutS, stallTimeoutS, reconnectGraceS } = job.limits;
  const { lastFrameAt, heldUp } = job.live;
  const what = `The attempt did not end${whileSending(job)}`;
  const limits = [timeout("job_timeout_s", attemptDeadline(job), jobTimeoutS, what)];
  if (job.detachedAt !== null) {
    const message = `The worker was gone for ${reconnectGraceS} s (reconnect_grace_s).`;
    const dueAt = job.detachedAt + wholeMs(reconnectGraceS);
    limits.push({ dueAt, code: "worker_lost", message });
    return limits;
  }
  if (lastFrameAt === null && firstOutputTimeoutS !== null) {
    const since = Math.max(job.dispatchedAt, job.resumedAt ?? 0, heldUp?.until ?? 0);
    const dueAt = since + wholeMs(firstOutputTimeoutS);
    const what = "The worker sent nothing about the job";
    limits.push(timeout("first_output_timeout_s", dueAt, firstOutputTimeoutS, what));
  }
  if (lastFrameAt !== null && stallTimeoutS !== null) {
    const since = Math.max(lastFrameAt, job.resumedAt ?? 0, heldUp?.until ?? 0);
    const dueAt = since + wholeMs(stallTimeoutS);
    const what = "The worker sent nothing more about the job";
    limits.push(timeout("stall_timeout_s", dueAt, stallTimeoutS, what));
  }
  return limits;
}

/** Names what the connection was busy with, because a faster model would not help then. */
function whileSending({ live: { heldUp } }: ProcessingJob): string {
  if (heldUp === undefined || heldUp.bytes === 0) return "";
  const bytes = heldUp.bytes.toLocaleString("en-US");
  return heldUp.from === "worker"
    ? `, as its worker was still sending ${bytes} bytes over a slow connection,`
    : `, as its input of ${bytes} bytes was still being sent to the worker over a slow connection,`;
}

/**
 * How much more time an attempt gets because the edge was away for `awayMs`. The grace counts too: its worker
 * may need all of it to come back.
 */
export function extraMs(job: ProcessingJob, awayMs: number): number {
  return awayMs + wholeMs(job.limits.reconnectGraceS);
}

/** When the attempt has ended at the latest, however much its worker still sends. */
export function latestEnd(job: ProcessingJob): Instant {
  const deadline = attemptDeadline(job);
  return job.cancel === null ? deadline : Math.min(deadline, cancelDeadline(job.cancel));
}

function cancelDeadline({ requestedAt }: { requestedAt: Instant }): Instant {
  return requestedAt + CANCEL_CONFIRM_S * 1_000;
}

/** Seconds, possibly fractional, as whole milliseconds, rounded up so that no limit ends early. */
function wholeMs(seconds: number): number {
  return Math.ceil(seconds * 1_000);
}

function timeout(name: string, dueAt: Instant, seconds: number, what: string): Limit {
  const message = `${what} within ${seconds} s (${name}). Raise the limit in the space's settings if the model needs longer.`;
  return { dueAt, code: "timeout", message };
}
