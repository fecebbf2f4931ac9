import type { Json, JsonObject } from "../protocol/codec.ts";

/** Times (`…At`, `at`) are milliseconds since 1970, UTC. */
interface BackendJobBase {
  id: string;
  /** The epoch of its event log. If the id is used again for a later job, that one has another epoch. */
  epoch: string;
  user: string | null;
  input: JsonObject;
  visibility: "public" | "private";
  resultTtlS: number;
  /** A hash of the request that made the job, to recognize a repeat of it. */
  fingerprint: string;
  createdAt: number;
  updatedAt: number;
  /** When it first became `processing`. */
  startedAt: number | null;
  /** How often it went from `queued` to `processing`. */
  attempts: number;
  /** The last offset used in its event log. */
  offset: number;
  /** Percent. */
  progress: number;
  outputPath: string | null;
  /** The latest outputs that were sent with an id, oldest first, to recognize repeats. */
  recentOutputs?: readonly RecentOutput[];
}

export interface RecentOutput {
  id: string;
  offset: number;
}

export interface OpenBackendJob extends BackendJobBase {
  status: "queued" | "processing";
  message: string | null;
  /** Seconds, as the backend guesses. */
  estimatedRemaining: number | null;
}

export interface CompletedBackendJob extends BackendJobBase {
  status: "completed";
  completedAt: number;
  result: Json;
  metrics: JsonObject | null;
}

export interface FailedBackendJob extends BackendJobBase {
  status: "failed";
  completedAt: number;
  error: { code: string; message: string };
}

export interface CanceledBackendJob extends BackendJobBase {
  status: "canceled";
  completedAt: number;
  reason: string;
}

export type EndedBackendJob = CompletedBackendJob | FailedBackendJob | CanceledBackendJob;
export type BackendJob = OpenBackendJob | EndedBackendJob;

export function isOver(job: BackendJob): job is EndedBackendJob {
  return job.status !== "queued" && job.status !== "processing";
}

/** An event of the job's log. `end` is always the last one; its details are in the job itself. */
export type BackendJobEvent =
  | { kind: "output"; offset: number; at: number; attempt: number; delta: Json }
  | {
      kind: "progress";
      offset: number;
      at: number;
      attempt: number;
      status: OpenBackendJob["status"];
      progress: number;
      message: string | null;
      estimatedRemaining: number | null;
      outputPath: string | null;
    }
  | { kind: "end"; offset: number; at: number };
