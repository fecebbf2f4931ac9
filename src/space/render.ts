import type { Json } from "../protocol/codec.ts";
import { iso } from "../protocol/iso.ts";
import type { DeliveryResource, JobError, JobResource } from "../protocol/resources.ts";
import type { GapFrame, JobOutputFrame, JobProgressFrame } from "../protocol/subscriber-frames.ts";
import { isEnded, type Job, jobOutput, type LogEvent, type StatusEvent } from "../queue/job.ts";
import type { WebhookDelivery } from "../storage/webhook-store.ts";
import { isDelivered } from "../webhooks/retry.ts";

/** What a job looks like from outside, beside what its own state tells. */
export interface JobView {
  space: string;
  /** 1 is next; `null` where the job does not wait. */
  queuePosition: number | null;
  /** Why it waits, in words; `null` where it does not wait, or is next. */
  waitingReason: string | null;
}

export function jobIdOf(space: string, ulid: string): string {
  return `${space}.${ulid}`;
}

/** The other way round; `null` for a job of another space. */
export function ulidOf(space: string, jobId: string): string | null {
  return jobId.startsWith(`${space}.`) ? jobId.slice(space.length + 1) : null;
}

/** The random end of the ULID: another job of the same name has another one. */
export function epochOf(ulid: string): string {
  return ulid.slice(-8);
}

/** The event log of a job as far as it is stored. */
export interface StoredLog {
  events: LogEvent[];
  /** Pieces of the last attempt's output were dropped. */
  lacksOutput: boolean;
}

/** The job as `GET /api/jobs/:id` shows it. */
export function jobResourceOf(job: Job, log: StoredLog, view: JobView): JobResource {
  const id = jobIdOf(view.space, job.ulid);
  const self = `/api/jobs/${id}`;
  return {
    id,
    space: view.space,
    status: job.status,
    ...progressOf(job, view),
    queue_position: view.queuePosition,
    attempt: job.attempts,
    input: job.input,
    files: job.files.map(({ field, name, content_type, size }) => ({
      field,
      name,
      content_type,
      size,
    })),
    output: jobOutput(job, log.events),
    output_truncated: log.lacksOutput,
    result: job.status === "completed" ? job.result : null,
    error: errorOf(job),
    user: job.user,
    priority: job.priority,
    created_at: iso(job.createdAt),
    updated_at: iso(job.updatedAt),
    started_at: job.startedAt === null ? null : iso(job.startedAt),
    completed_at: isEnded(job) ? iso(job.completedAt) : null,
    worker: job.status === "queued" ? null : job.worker,
    metrics: job.status === "completed" ? job.metrics : null,
    cached: job.status === "completed" && job.cached,
    urls: { self, events: `${self}/events`, ws: `${self}/ws`, cancel: `${self}/cancel` },
  };
}

/** The job's state now as a frame; `offset` is the last one its log gave out. */
export function snapshotFrame(job: Job, view: JobView): JobProgressFrame {
  return {
    type: "progress",
    job_id: jobIdOf(view.space, job.ulid),
    status: job.status,
    ...progressOf(job, view),
    output_path: null,
    queue_position: view.queuePosition,
    attempt: job.attempts,
    ...endOf(job),
    offset: job.offset,
    timestamp: iso(job.updatedAt),
  };
}

/** Says up to where the job's log was dropped. */
export function gapFrame(job: Job, offset: number, view: JobView): GapFrame {
  const job_id = jobIdOf(view.space, job.ulid);
  return { type: "gap", job_id, offset, timestamp: iso(job.updatedAt) };
}

type JobEventFrame = JobProgressFrame | JobOutputFrame;

/** Everything of the job's log after `offset`, as frames in order. */
export function framesAfter(
  job: Job,
  log: LogEvent[],
  offset: number,
  view: JobView,
): JobEventFrame[] {
  const changes = job.history.filter((event) => event.offset > offset);
  const events = log.filter((event) => event.offset > offset);
  return [...changes, ...events]
    .sort((a, b) => a.offset - b.offset)
    .map((event) => ("kind" in event ? logFrame(job, event, view) : changeFrame(job, event, view)));
}

export function logFrame(job: Job, event: LogEvent, view: JobView): JobEventFrame {
  const place = { offset: event.offset, timestamp: iso(event.at) };
  const id = { job_id: jobIdOf(view.space, job.ulid) };
  if (event.kind === "output") {
    return { type: "output", ...id, attempt: event.attempt, delta: event.delta, ...place };
  }
  const told = event.kind === "progress" ? event : NO_PROGRESS;
  return {
    type: "progress",
    ...id,
    status: event.kind === "progress" ? "processing" : "queued",
    progress: told.progress,
    estimated_remaining: told.estimatedRemaining,
    message: told.message,
    output_path: null,
    queue_position: event.kind === "position" ? event.position : null,
    attempt: event.kind === "progress" ? event.attempt : job.attempts,
    ...place,
  };
}

function changeFrame(job: Job, event: StatusEvent, view: JobView): JobProgressFrame {
  const isLast = event === job.history.at(-1);
  if (isLast && job.status !== "queued") {
    return { ...snapshotFrame(job, view), offset: event.offset, timestamp: iso(event.at) };
  }
  return {
    type: "progress",
    job_id: jobIdOf(view.space, job.ulid),
    status: event.status,
    progress: 0,
    estimated_remaining: null,
    message: event.message,
    output_path: null,
    queue_position: isLast && event.status === "queued" ? view.queuePosition : null,
    attempt: event.attempt,
    offset: event.offset,
    timestamp: iso(event.at),
  };
}

const NO_PROGRESS = { progress: 0, message: null, estimatedRemaining: null };

function progressOf(job: Job, view: JobView) {
  switch (job.status) {
    case "queued":
      return {
        progress: 0,
        estimated_remaining: null,
        message: job.history.at(-1)?.message ?? view.waitingReason,
      };
    case "processing":
      return {
        progress: job.live.progress,
        estimated_remaining: job.live.estimatedRemaining,
        message: job.cancel ? "Canceling …" : job.live.message,
      };
    case "completed":
      return { progress: 100, estimated_remaining: null, message: null };
    default:
      return {
        progress: job.progress,
        estimated_remaining: null,
        message: errorOf(job)?.message ?? null,
      };
  }
}

function endOf(job: Job): { result?: Json; error?: JobError } {
  if (job.status === "completed") return { result: job.result };
  const error = errorOf(job);
  return error === null ? {} : { error };
}

function errorOf(job: Job): JobError | null {
  if (job.status === "failed") return job.error;
  if (job.status === "canceled") return { code: "canceled", message: job.reason };
  return null;
}

export function deliveryResourceOf(delivery: WebhookDelivery): DeliveryResource {
  const { id, event, url, attempts, status, error, dueAt } = delivery;
  const heard = status !== null && isDelivered({ status });
  return {
    id,
    event,
    url,
    status: heard ? "delivered" : dueAt === null ? "failed" : "pending",
    attempts,
    next_attempt_at: dueAt === null ? null : iso(dueAt),
    response_status: status,
    error,
    created_at: iso(delivery.createdAt),
    updated_at: iso(delivery.updatedAt),
  };
}
