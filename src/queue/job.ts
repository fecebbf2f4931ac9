import type { Json, JsonObject } from "../protocol/codec.ts";
import type { FailureCode } from "../protocol/codes.ts";
import type { JobStatus, WebhookEvent } from "../protocol/resources.ts";

/** Instants are milliseconds since 1970, UTC. */
export type Instant = number;

/** The limits a job runs under, fixed when it is submitted; seconds, `null` is no limit. */
export interface JobLimits {
  queueTimeoutS: number | null;
  firstOutputTimeoutS: number | null;
  stallTimeoutS: number | null;
  jobTimeoutS: number;
  maxAttempts: number;
  reconnectGraceS: number;
}

/** A stored file of a job; `key` is its name in the bucket and never leaves the edge. */
export interface StoredFile {
  field: string;
  name: string;
  content_type: string;
  size: number;
  sha256: string;
  key: string;
}

/** One change of status, kept with the job for good: the fixed part of its event log. */
export interface StatusEvent {
  offset: number;
  at: Instant;
  status: JobStatus;
  attempt: number;
  message: string | null;
}

/** What an HTTP endpoint is told of a job. */
export interface Webhook {
  url: string;
  events: readonly WebhookEvent[];
}

interface JobBase {
  /** The ULID part of the job's id; it grows in the order of submits. */
  ulid: string;
  priority: number;
  input: JsonObject;
  files: StoredFile[];
  user: string | null;
  limits: JobLimits;
  /** Capabilities its worker must have, sorted. */
  requires: readonly string[];
  cancelOnDisconnect: boolean;
  /** The submitter's name for this submit, and what it was: told twice, it is the same job. */
  idempotency: { key: string; fingerprint: string } | null;
  /** What a later submit must be to be answered with this job's result; `null`: nothing is. */
  cacheKey: string | null;
  webhook: Webhook | null;
  /** The connection that submitted it, which follows it without asking. */
  submitter: string | null;
  createdAt: Instant;
  updatedAt: Instant;
  /** Dispatches so far. */
  attempts: number;
  /** When it was first dispatched. */
  startedAt: Instant | null;
  /** The last offset given out in its event log. */
  offset: number;
  history: StatusEvent[];
}

export interface WorkerRef {
  id: string;
  name: string | null;
}

export interface QueuedJob extends JobBase {
  status: "queued";
  /** When it went into the queue, this time. */
  queuedAt: Instant;
  /** Not dispatched before: what failed just now needs a moment. */
  availableAt: Instant;
}

/** A running attempt. Its progress is volatile: the event log has it, the job's row does not. */
export interface ProcessingJob extends JobBase {
  status: "processing";
  startedAt: Instant;
  worker: WorkerRef;
  generation: number;
  dispatchedAt: Instant;
  /** Since when the worker's socket is gone; `null` while it is there. */
  detachedAt: Instant | null;
  /** When its worker last came back to it: what was silent while it was gone is no stall. */
  resumedAt: Instant | null;
  cancel: { requestedAt: Instant; reason: string } | null;
  live: LiveProgress;
}

export interface LiveProgress {
  progress: number;
  message: string | null;
  estimatedRemaining: number | null;
  /** `output` frames of this attempt. */
  outputs: number;
  /** The last progress or output of this attempt; `null` before the first. */
  lastFrameAt: Instant | null;
}

interface Ended extends JobBase {
  /** When its last attempt began; `null` where there was none. */
  dispatchedAt: Instant | null;
  completedAt: Instant;
  /** Who ran the last attempt; `null` where there was none. */
  worker: WorkerRef | null;
  /** The generation that told its end, so that the end told twice is acknowledged twice. */
  generation: number | null;
}

export interface CompletedJob extends Ended {
  status: "completed";
  result: Json;
  metrics: JsonObject | null;
  /** The result of an earlier job with the same input; no worker ran this one. */
  cached: boolean;
}
export interface FailedJob extends Ended {
  status: "failed";
  error: { code: FailureCode; message: string };
  progress: number;
}
export interface CanceledJob extends Ended {
  status: "canceled";
  reason: string;
  progress: number;
}

export type EndedJob = CompletedJob | FailedJob | CanceledJob;
export type Job = QueuedJob | ProcessingJob | EndedJob;

export function isEnded(job: Job): job is EndedJob {
  return job.status !== "queued" && job.status !== "processing";
}

export type OutputEvent = Extract<LogEvent, { kind: "output" }>;

/** The pieces that the last attempt streamed. */
export function currentOutput(job: Job, log: readonly LogEvent[]): OutputEvent[] {
  return log
    .filter((event) => event.kind === "output")
    .filter((event) => event.attempt === job.attempts);
}

/** What the last attempt streamed: one text where every piece is text, else the pieces; or nothing. */
export function jobOutput(job: Job, log: readonly LogEvent[]): Json {
  const deltas = currentOutput(job, log).map(({ delta }) => delta);
  if (deltas.length === 0) return null;
  return deltas.every((delta) => typeof delta === "string") ? deltas.join("") : deltas;
}

/** A piece of a job's event log between two changes of status. */
export type LogEvent =
  | { kind: "output"; offset: number; at: Instant; attempt: number; delta: Json }
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
