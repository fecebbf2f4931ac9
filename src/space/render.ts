import { iso } from "../protocol/iso.ts";
import type { OutputFile as OutputFileResource } from "../protocol/output-files.ts";
import type { DeliveryResource, JobError, JobResource } from "../protocol/resources.ts";
import type { GapFrame, JobOutputFrame, JobProgressFrame } from "../protocol/subscriber-frames.ts";
import {
  isEnded,
  type Job,
  jobOutput,
  type LogEvent,
  type OutputEvent,
  type StatusEvent,
} from "../queue/job.ts";
import { type FileEvent, type OutputFile, outputsOf } from "../queue/output-files.ts";
import type { WebhookDelivery } from "../storage/webhook-store.ts";
import { isDelivered } from "../webhooks/retry.ts";

/** What a job's frames and resource say beyond the job's own state. */
export interface JobContext {
  space: string;
  /** 1 is next; `null` if the job does not wait. */
  queuePosition: number | null;
  /** Why the job waits, for people; `null` if it does not wait, or is next. */
  waitingReason: string | null;
  /** In how many seconds a job that failed may be tried again; `null` if it need not wait for that. */
  delayS: number | null;
  /** Makes the signed address from which anybody may fetch an output file for some time. */
  outputUrl: (file: OutputFile) => string;
}

export function jobIdOf(space: string, ulid: string): string {
  return `${space}.${ulid}`;
}

/** The ULID in a job's id; `null` if the id names a job of another space. */
export function ulidOf(space: string, jobId: string): string | null {
  return jobId.startsWith(`${space}.`) ? jobId.slice(space.length + 1) : null;
}

/**
 * The epoch of a job's log, which is part of every position in it (`<epoch>:<offset>`): the random end of the
 * job's ULID, so no two jobs share one. Example: a client has seen job A up to offset 7, and follows job B
 * with that position by mistake. If there were no epochs, B's first 7 events would count as known and never be
 * sent. As the epochs differ, the client gets `recovered: false` and a snapshot.
 *
 * It has another end after events may have been lost that somebody was told: other events may have their offsets now.
 */
export function epochOf({ ulid, logEpoch }: Pick<Job, "ulid" | "logEpoch">): string {
  const ofJob = ulid.slice(-8);
  return logEpoch === 0 ? ofJob : `${ofJob}-${logEpoch}`;
}

/** The events of a job's log that are still stored. */
export interface StoredLog {
  events: LogEvent[];
  /** Whether part of the last attempt's output was dropped. */
  lacksOutput: boolean;
}

/** The job as `GET /api/jobs/:id` shows it. */
export function jobResourceOf(job: Job, log: StoredLog, context: JobContext): JobResource {
  const id = jobIdOf(context.space, job.ulid);
  return {
    id,
    space: context.space,
    status: job.status,
    ...progressOf(job, context),
    queue_position: context.queuePosition,
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
    outputs: outputsOf(job).map((file) => fileResourceOf(file, context)),
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
    urls: urlsOf(id),
  };
}

/** An output file as frames and resources show it. */
function fileResourceOf(file: OutputFile, { outputUrl }: JobContext): OutputFileResource {
  const { name, content_type, size, sha256 } = file;
  return { name, content_type, size, sha256, url: outputUrl(file) };
}

/** The addresses of a job. */
export function urlsOf(id: string): JobResource["urls"] {
  const self = `/api/jobs/${id}`;
  return { self, events: `${self}/events`, ws: `${self}/ws`, cancel: `${self}/cancel` };
}

/** The job's state now as a frame; `offset` is the last one its log gave out. */
export function snapshotFrame(job: Job, context: JobContext): JobProgressFrame {
  return {
    type: "progress",
    job_id: jobIdOf(context.space, job.ulid),
    status: job.status,
    ...progressOf(job, context),
    output_path: null,
    queue_position: context.queuePosition,
    attempt: job.attempts,
    ...endOf(job, context),
    offset: job.offset,
    timestamp: iso(job.updatedAt),
  };
}

/** The frame that says up to which offset the job's log was dropped. */
export function gapFrame(job: Job, offset: number, context: JobContext): GapFrame {
  const job_id = jobIdOf(context.space, job.ulid);
  return { type: "gap", job_id, offset, timestamp: iso(job.updatedAt) };
}

type SpaceJobEventFrame = JobProgressFrame | JobOutputFrame;

/** The job's changes of status and the events of `log` after `offset`, as frames, in order. */
export function framesAfter(
  job: Job,
  log: LogEvent[],
  offset: number,
  context: JobContext,
): SpaceJobEventFrame[] {
  const changes = job.history.filter((event) => event.offset > offset);
  const events = log.filter((event) => event.offset > offset);
  return [...changes, ...events]
    .sort((a, b) => a.offset - b.offset)
    .map((event) =>
      "kind" in event ? logFrame(job, event, context) : changeFrame(job, event, context),
    );
}

/** The most characters of a frame that joins neighbouring pieces of output. */
const JOINED_LENGTH = 65_536;

/**
 * Pieces of output as frames, for a snapshot. If all are text, neighbours are joined: whoever comes late to a long
 * answer needs its text, not each of its pieces.
 */
export function outputFrames(
  job: Job,
  pieces: readonly (OutputEvent | FileEvent)[],
  context: JobContext,
): JobOutputFrame[] {
  const isText = pieces.every((piece) => piece.kind === "file" || typeof piece.delta === "string");
  return (isText ? joinTexts(pieces) : pieces).map((piece) =>
    piece.kind === "file" ? fileFrame(job, piece, context) : outputFrame(job, piece, context),
  );
}

/** A piece of output, or several; `from` is the offset of the first of several. */
type Joined = OutputEvent & { from?: number };

/** Joins neighbouring pieces, all of which are text. */
function joinTexts(pieces: readonly (OutputEvent | FileEvent)[]): (Joined | FileEvent)[] {
  const joined: (Joined | FileEvent)[] = [];
  for (const piece of pieces) {
    const last = joined.at(-1);
    if (last?.kind !== "output" || piece.kind !== "output") {
      joined.push({ ...piece });
      continue;
    }
    const delta = `${last.delta}${piece.delta}`;
    if (delta.length > JOINED_LENGTH) joined.push({ ...piece });
    else Object.assign(last, { ...piece, delta, from: last.from ?? last.offset });
  }
  return joined;
}

function outputFrame(job: Job, event: Joined, context: JobContext): JobOutputFrame {
  const { attempt, delta, from, offset, at } = event;
  const job_id = jobIdOf(context.space, job.ulid);
  const more = from === undefined ? {} : { from };
  return { type: "output", job_id, attempt, delta, ...more, offset, timestamp: iso(at) };
}

function fileFrame(job: Job, event: FileEvent, context: JobContext): JobOutputFrame {
  const { attempt, preview, offset, at } = event;
  const file = fileResourceOf(event.file, context);
  const job_id = jobIdOf(context.space, job.ulid);
  const more = preview ? { preview } : {};
  return { type: "output", job_id, attempt, file, ...more, offset, timestamp: iso(at) };
}

/** An event of the job's log as a frame. */
function logFrame(job: Job, event: LogEvent, context: JobContext): SpaceJobEventFrame {
  if (event.kind === "output") return outputFrame(job, event, context);
  const place = { offset: event.offset, timestamp: iso(event.at) };
  const id = { job_id: jobIdOf(context.space, job.ulid) };
  if (event.kind === "file") return fileFrame(job, event, context);
  const state = event.kind === "progress" ? event : NO_PROGRESS;
  return {
    type: "progress",
    ...id,
    status: event.kind === "progress" ? "processing" : "queued",
    progress: state.progress,
    estimated_remaining: state.estimatedRemaining,
    message: state.message,
    output_path: null,
    queue_position: event.kind === "position" ? event.position : null,
    attempt: event.kind === "progress" ? event.attempt : job.attempts,
    ...place,
  };
}

function changeFrame(job: Job, event: StatusEvent, context: JobContext): JobProgressFrame {
  const isLast = event === job.history.at(-1);
  if (isLast && job.status !== "queued") {
    return { ...snapshotFrame(job, context), offset: event.offset, timestamp: iso(event.at) };
  }
  return {
    type: "progress",
    job_id: jobIdOf(context.space, job.ulid),
    status: event.status,
    progress: 0,
    estimated_remaining: null,
    message: event.message,
    output_path: null,
    queue_position: isLast && event.status === "queued" ? context.queuePosition : null,
    attempt: event.attempt,
    offset: event.offset,
    timestamp: iso(event.at),
  };
}

const NO_PROGRESS = { progress: 0, message: null, estimatedRemaining: null };

function progressOf(job: Job, context: JobContext) {
  switch (job.status) {
    case "queued":
      return {
        progress: 0,
        estimated_remaining: null,
        message: queuedMessage(job.history.at(-1)?.message ?? null, context),
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

/** Why a job is queued again and when it is tried, or why it waits. */
function queuedMessage(
  requeueReason: string | null,
  { waitingReason, delayS }: JobContext,
): string | null {
  if (requeueReason === null) return waitingReason;
  return delayS === null ? requeueReason : `${requeueReason} (tried again in ${delayS} s)`;
}

function endOf(
  job: Job,
  context: JobContext,
): Pick<JobProgressFrame, "result" | "error" | "outputs"> {
  if (!isEnded(job)) return {};
  const files = outputsOf(job).map((file) => fileResourceOf(file, context));
  const outputs = files.length === 0 ? {} : { outputs: files };
  if (job.status === "completed") return { result: job.result, ...outputs };
  return { error: errorOf(job) ?? undefined, ...outputs };
}

function errorOf(job: Job): JobError | null {
  if (job.status === "failed") return job.error;
  if (job.status === "canceled") return { code: "canceled", message: job.reason };
  return null;
}

/** A webhook message as `GET /api/jobs/:id/webhooks` shows it. */
export function deliveryResourceOf(delivery: WebhookDelivery): DeliveryResource {
  const { id, event, url, attempts, status, error, dueAt } = delivery;
  const isReceived = status !== null && isDelivered({ status });
  return {
    id,
    event,
    url,
    status: isReceived ? "delivered" : dueAt === null ? "failed" : "pending",
    attempts,
    next_attempt_at: dueAt === null ? null : iso(dueAt),
    response_status: status,
    error,
    created_at: iso(delivery.createdAt),
    updated_at: iso(delivery.updatedAt),
  };
}
