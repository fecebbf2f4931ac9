import type { Json, JsonObject } from "../protocol/codec.ts";
import type { FailureCode } from "../protocol/codes.ts";
import type { JobStatus, WebhookEvent } from "../protocol/resources.ts";
import type { AttemptFiles, OutputFile } from "./output-files.ts";

/** A point in time, in milliseconds since 1970, UTC. */
export type Instant = number;

/** The limits of a job, fixed when it is submitted. Names with `S` are in seconds; `null` is no limit. */
export interface JobLimits {
  queueTimeoutS: number | null;
  firstOutputTimeoutS: number | null;
  stallTimeoutS: number | null;
  jobTimeoutS: number;
  maxAttempts: number;
  reconnectGraceS: number;
}

/** A stored file of a job; `key` is its name in the bucket and is never sent to anybody. */
export interface StoredFile {
  field: string;
  name: string;
  content_type: string;
  size: number;
  sha256: string;
  key: string;
}

/**
 * One change of a job's status. These events of the job's log are kept as long as the job; the others
 * (`LogEvent`) are dropped when the log becomes too large.
 */
export interface StatusEvent {
  offset: number;
  at: Instant;
  status: JobStatus;
  attempt: number;
  message: string | null;
}

/** The HTTP endpoint that is informed about a job, and the events it is informed of. */
export interface Webhook {
  url: string;
  events: readonly WebhookEvent[];
}

interface JobBase {
  /** The ULID in the job's id; ULIDs sort in the order of submits (decision 0013). */
  ulid: string;
  priority: number;
  input: JsonObject;
  files: StoredFile[];
  user: string | null;
  /** Whose job it is, while it waits and runs: parties take turns (decision 0049). `null`: nobody's in particular. */
  party: string | null;
  /** The jobs of a priority are dispatched round by round (decision 0049). */
  round: number;
  limits: JobLimits;
  /** The capabilities that its worker must have, sorted. */
  requires: readonly string[];
  cancelOnDisconnect: boolean;
  /** The idempotency key of the submit, and a hash of the submit, to recognize a repeat (decision 0016). */
  idempotency: { key: string; fingerprint: string } | null;
  /** Later submits with the same key may get this job's result (decision 0018); `null`: none may. */
  cacheKey: string | null;
  webhook: Webhook | null;
  /** The connection that submitted the job; it follows the job automatically. */
  submitter: string | null;
  createdAt: Instant;
  updatedAt: Instant;
  /** How often the job was dispatched so far. */
  attempts: number;
  /** When the job was first dispatched; `null` before that. */
  startedAt: Instant | null;
  /** The last offset used in its event log. */
  offset: number;
  history: StatusEvent[];
}

export interface WorkerRef {
  id: string;
  name: string | null;
}

export interface QueuedJob extends JobBase {
  status: "queued";
  /** When it last entered the queue. */
  queuedAt: Instant;
  /** It is not dispatched before this time: after a failure a job waits for a delay (decision 0014). */
  availableAt: Instant;
}

/** A job with a running attempt. Its `live` progress is stored in the event log, not in the job's row. */
export interface ProcessingJob extends JobBase {
  status: "processing";
  startedAt: Instant;
  worker: WorkerRef;
  generation: number;
  dispatchedAt: Instant;
  /** When the worker's socket was lost; `null` while it is connected. */
  detachedAt: Instant | null;
  /** Time in which the edge was away: it counts against none of the attempt's limits (decision 0040). */
  awayMs: number;
  /** When the worker last resumed the attempt: limits on silence count from then, not from before its absence. */
  resumedAt: Instant | null;
  cancel: { requestedAt: Instant; reason: string } | null;
  live: LiveProgress;
}

/** What the running attempt has reported so far. */
export interface LiveProgress {
  /** Percent. */
  progress: number;
  message: string | null;
  /** Seconds, as the worker guesses. */
  estimatedRemaining: number | null;
  /** How many `output` frames this attempt has sent, those that name files included. */
  outputs: number;
  /** When the attempt last sent progress or output; `null` before the first. */
  lastFrameAt: Instant | null;
  /** When the attempt last sent progress; `null` before the first. */
  reportedAt: Instant | null;
  /** The files that the attempt has sent; absent if there are none. */
  files?: AttemptFiles;
  /** A large frame is under way, or was, and holds up everything behind it (decision 0046). */
  heldUp?: HeldUp;
}

/** `bytes`: the size of the frame that is under way, and until when it may be; 0 once it has arrived. */
export interface HeldUp {
  until: Instant;
  bytes: number;
  from: "worker" | "edge";
}

interface EndedJobBase extends JobBase {
  /** When its last attempt began; `null` if it was never dispatched. */
  dispatchedAt: Instant | null;
  completedAt: Instant;
  /** The worker of the last attempt; `null` if there was none. A repeat of its end is acknowledged again. */
  worker: WorkerRef | null;
  /** The generation over which the last attempt ended; `null` if there was none. */
  generation: number | null;
  /** The files that are output; absent if there are none. */
  outputs?: readonly OutputFile[];
}

export interface CompletedJob extends EndedJobBase {
  status: "completed";
  result: Json;
  metrics: JsonObject | null;
  /** The result was taken from an earlier job with the same input; no worker ran this job. */
  cached: boolean;
}
export interface FailedJob extends EndedJobBase {
  status: "failed";
  error: { code: FailureCode; message: string };
  progress: number;
}
export interface CanceledJob extends EndedJobBase {
  status: "canceled";
  reason: string;
  progress: number;
}

export type EndedJob = CompletedJob | FailedJob | CanceledJob;
export type Job = QueuedJob | ProcessingJob | EndedJob;

export function isEnded(job: Job): job is EndedJob {
  return isEnd(job.status);
}

/** Whether a job of this status has ended. */
export function isEnd(status: Job["status"]): status is EndedJob["status"] {
  return status !== "queued" && status !== "processing";
}

export type OutputEvent = Extract<LogEvent, { kind: "output" }>;

/** The output pieces of the latest attempt. */
export function currentOutput(job: Job, log: readonly LogEvent[]): OutputEvent[] {
  return log
    .filter((event) => event.kind === "output")
    .filter((event) => event.attempt === job.attempts);
}

/** The output of the latest attempt: one text if every piece is text, otherwise the list; `null` if none. */
export function jobOutput(job: Job, log: readonly LogEvent[]): Json {
  const deltas = currentOutput(job, log).map(({ delta }) => delta);
  if (deltas.length === 0) return null;
  return deltas.every((delta) => typeof delta === "string") ? deltas.join("") : deltas;
}

/** An event of a job's log that is not a change of status. */
export type LogEvent =
  | { kind: "output"; offset: number; at: Instant; attempt: number; delta: Json }
  | {
      kind: "file";
      offset: number;
      at: Instant;
      attempt: number;
      file: OutputFile;
      preview: boolean;
    }
  | {
      kind: "progress";
      offset: number;
      at: Instant;
      attempt: number;
      progress: number;
      message: string | null;
      estimatedRemaining: number | null;
    }
  | { kind: "position"; offset: number; at: Instant; position: number };
