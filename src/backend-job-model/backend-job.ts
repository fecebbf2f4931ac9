import type { Json, JsonObject } from "../protocol/codec.ts";

/** Instants are milliseconds since 1970, UTC. */
type Instant = number;

interface BackendJobBase {
  id: string;
  /** Of its event log: another job of the same id, later, has another one. */
  epoch: string;
  user: string | null;
  input: JsonObject;
  visibility: "public" | "private";
  resultTtlS: number;
  /** What its creation was, so that the same one told twice makes one job. */
  fingerprint: string;
  createdAt: Instant;
  updatedAt: Instant;
  /** When it was first processed. */
  startedAt: Instant | null;
  /** How often it went from `queued` to `processing`. */
  attempts: number;
  /** The last offset given out in its event log. */
  offset: number;
  /** Percent. */
  progress: number;
  outputPath: string | null;
}

export interface OpenBackendJob extends BackendJobBase {
  status: "queued" | "processing";
  message: string | null;
  /** Seconds, as its backend guesses. */
  estimatedRemaining: number | null;
}

export interface CompletedBackendJob extends BackendJobBase {
  status: "completed";
  completedAt: Instant;
  result: Json;
  metrics: JsonObject | null;
}

export interface FailedBackendJob extends BackendJobBase {
  status: "failed";
  completedAt: Instant;
  error: { code: string; message: string };
}

export interface CanceledBackendJob extends BackendJobBase {
  status: "canceled";
  completedAt: Instant;
  reason: string;
}

export type EndedBackendJob = CompletedBackendJob | FailedBackendJob | CanceledBackendJob;
export type BackendJob = OpenBackendJob | EndedBackendJob;

export function isOver(job: BackendJob): job is EndedBackendJob {
  return job.status !== "queued" && job.status !== "processing";
}

/** A piece of the event log. The end has all it tells in the job itself: it is always the last. */
export type JobEvent =
  | { kind: "output"; offset: number; at: Instant; attempt: number; delta: Json }
  | {
      kind: "progress";
      offset: number;
      at: Instant;
      attempt: number;
      status: OpenBackendJob["status"];
      progress: number;
      message: string | null;
      estimatedRemaining: number | null;
      outputPath: string | null;
    }
  | { kind: "end"; offset: number; at: Instant };
