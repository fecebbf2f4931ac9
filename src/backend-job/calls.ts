import type { Refusal } from "../objects/reply.ts";

/** Calls between the Worker and the object of a job without a space. */

/** The job as JSON text, or a refusal. `isRepeat`: the same job with the same content exists already. */
export type CreateReply = { ok: true; body: string; isRepeat: boolean } | Refusal;

/** What a socket may do. */
export interface Rights {
  /** Whether it may report the job, which includes reading it. */
  publish: boolean;
  /** Whether it may read the job if that is private. */
  read: boolean;
  /** Whose private jobs it may read, too: those that were made for its user. Older sockets don't say. */
  user?: string | null | undefined;
  /** When its token expires, milliseconds since 1970; `null` if it never does, or there is none. */
  expiresAt: number | null;
}

/** Whether the rights have ended, because the token has expired. */
export function areOver({ expiresAt }: Pick<Rights, "expiresAt">, now: number): boolean {
  return expiresAt !== null && now >= expiresAt;
}

export const NO_SUCH_JOB = {
  ok: false,
  code: "job_not_found",
  detail: "There is no such job: it was never made, or has been erased.",
} as const;
export const PRIVATE_JOB = {
  ok: false,
  code: "not_allowed",
  detail: "This job is private: it needs a token that names it.",
} as const;
export const EXPIRED = {
  ok: false,
  code: "not_authenticated",
  detail: "The token has expired: dial again with a fresh one.",
} as const;
export const JOB_ENDED = {
  ok: false,
  code: "job_ended",
  detail: "The job has ended, and no report changes it any more.",
} as const;
