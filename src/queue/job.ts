import type { Json, JsonObject } from "../protocol/codec.ts";
import type { FailureCode } from "../protocol/codes.ts";
import type { JobStatus } from "../protocol/resources.ts";

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

interface JobBase {
  /** The ULID part of the job's id; it grows in the order of submits. */
  ulid: string;
  priority: number;
  input: JsonObject;
  files: StoredFile[];
  user: string | null;
  limits: JobLimits;
  cancelOnDisconnect: boolean;
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
