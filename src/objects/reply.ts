import type { ProblemCode } from "../protocol/codes.ts";

/** An object refuses a call. The Worker answers its client with `code` and `detail` as a problem (RFC 9457). */
export interface Refusal {
  ok: false;
  code: ProblemCode;
  /** For people: what is wrong, and what to do about it. */
  detail: string;
  /** What is wrong with which part of the request. */
  errors?: { path: string; message: string }[];
  /** After how many seconds it may succeed, if that is known. */
  retryAfterS?: number;
  /** The space is there, and the caller may not know it. */
  isHidden?: true;
}

/** An object's answer to a call: the body of the HTTP answer as JSON text, or a refusal. */
export type Reply = { ok: true; body: string } | Refusal;
