import type { Refusal } from "../objects/reply.ts";

/** Calls between the Worker and the object of a job without a space. */

/** `isRepeat`: the very same job was made before. */
export type CreateReply = { ok: true; body: string; isRepeat: boolean } | Refusal;

/** What a socket may do. */
export interface Rights {
  /** It may report, and so read too. */
  publish: boolean;
  /** It may read a private job. */
  read: boolean;
  /** When its token runs out, milliseconds since 1970; `null`: never, or it has none. */
  expiresAt: number | null;
}

export const NO_SUCH_JOB = {
  ok: false,
  code: "job_not_found",
  detail: "There is no such job: it was never made, or is erased by now.",
} as const;
export const PRIVATE_JOB = {
  ok: false,
  code: "not_allowed",
  detail: "This job is private: it needs a token that names it.",
} as const;
export const JOB_ENDED = {
  ok: false,
  code: "job_ended",
  detail: "The job has ended, and stays as it did.",
} as const;
