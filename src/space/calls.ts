import type { Refusal } from "../objects/reply.ts";
import type { JobOptions } from "../protocol/resources.ts";
import type { StoredFile } from "../queue/job.ts";

/** A submit's answer: the job, and whether its key was used for it before. */
export type SubmitReply = { ok: true; body: string; ulid: string; isRepeat: boolean } | Refusal;

/** Who asks; the Worker has checked it. */
export interface Caller {
  operator: boolean;
}

export interface SubmitCall {
  /** `input` as JSON text. */
  input: string;
  files: StoredFile[];
  options: JobOptions;
}

export const NO_SUCH_SPACE = {
  ok: false,
  code: "space_not_found",
  detail: "There is no such space.",
} as const;
export const PRIVATE_SPACE = {
  ok: false,
  code: "not_authenticated",
  detail: "This space is private: send the operator's key as `Authorization: Bearer <key>`.",
} as const;
export const NO_SUCH_JOB = {
  ok: false,
  code: "job_not_found",
  detail: "There is no such job; finished jobs are kept for the space's `result_ttl_s`.",
} as const;

export const TOO_MANY_SUBMITS = {
  code: "rate_limited",
  detail: "Too many submits from your address: try again in a minute.",
} as const;

/** Why a job is canceled that somebody asked to be. */
export const CANCELED_ON_REQUEST = "Canceled on request.";
