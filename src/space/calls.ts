import type { Caller } from "../auth/caller.ts";
import { byWhom, countedAs } from "../objects/allowances.ts";
import type { Refusal } from "../objects/reply.ts";
import type { JobOptions } from "../protocol/resources.ts";
import type { StoredFile } from "../queue/job.ts";

/**
 * The answer to a submit: the job as JSON text. `isRepeat`: it was submitted before under the same idempotency
 * key.
 */
export type SubmitReply =
  | { ok: true; body: string; ulid: string; isRepeat: boolean }
  /** `isOfAll`: whatever was submitted, it is refused. */
  | (Refusal & { isOfAll?: true });

/** One job to submit; the Worker has validated it. */
export interface SubmitCall {
  /** `input` as JSON text. */
  input: string;
  files: StoredFile[];
  options: JobOptions;
}

export function noSuchSpace(name: string): Refusal {
  const detail = `There is no space named ${JSON.stringify(name.slice(0, 100))}: check the spelling. A private one is there only for those with whom it is shared.`;
  return { ok: false, code: "space_not_found", detail };
}
export const PRIVATE_SPACE = {
  ok: false,
  code: "not_authenticated",
  detail:
    "This space is private: sign in, or send a key or a user's token as `Authorization: Bearer <key>`.",
} as const;
/** The token was good when it was checked; since then it was revoked, or its space was deleted and made again. */
export const TOKEN_OUTDATED = {
  ok: false,
  code: "temporarily_unavailable",
  detail: "The worker's token was revoked or its space made anew while it dialed: dial again.",
} as const;
export const NO_SUCH_JOB = {
  ok: false,
  code: "job_not_found",
  detail: "There is no such job; finished jobs are kept for the space's `result_ttl_s`.",
} as const;

/** Also for a job that never was: nobody learns from it which jobs there are. */
export const ATTEMPT_OVER = {
  ok: false,
  code: "attempt_over",
  detail:
    "This attempt doesn't run at this worker, or no longer: its job has ended, was canceled, or was given to a worker again. Stop it.",
} as const;
export const NO_SUCH_FILE = {
  ok: false,
  code: "file_not_found",
  detail: "The job has no output file of this name: its `outputs` lists those it has.",
} as const;

export function tooManySubmits(submitter: Caller): Refusal {
  const detail = `Too many submits ${byWhom(countedAs(submitter))}: try again in a minute.`;
  return { ok: false, code: "rate_limited", detail };
}

/** The reason that a job gets which was canceled by a call or a frame. */
export const CANCELED_ON_REQUEST = "Canceled on request.";
