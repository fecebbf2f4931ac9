import type { ProblemCode } from "../protocol/codes.ts";

/** Why an object did not do what it was called for; the Worker answers with it as a problem. */
export interface Refusal {
  ok: false;
  code: ProblemCode;
  /** For people: what is wrong, and what to do. */
  detail: string;
}

/** An object's answer to a call: a JSON text as it goes to the caller, or a refusal. */
export type Reply = { ok: true; body: string } | Refusal;
