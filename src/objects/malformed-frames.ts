import type { Decoded } from "../protocol/codec.ts";
import { LIMITS } from "../protocol/limits.ts";

/** A frame that could not be read, and why. */
export type MalformedFrame = Extract<Decoded<unknown>, { ok: false }>;

/** What a malformed frame leads to. */
export interface AfterMalformed {
  /** Malformed frames in a row, this one included. A well-formed frame sets it back to 0. */
  malformed: number;
  /** Why the socket is to be closed; `null`: it may go on. */
  close: { as: "frameTooLarge" | "malformed"; reason: string } | null;
}

/**
 * The one rule for malformed frames on every socket: a slip now and then is forgiven, too many in a row
 * are not, and a frame that is too large closes at once.
 *
 * @param before malformed frames in a row until now
 * @param allowed the frame that closes the socket; 1 for workers, whose frames must all be right
 */
export function afterMalformed(
  { code, message }: MalformedFrame,
  before: number,
  allowed: number = LIMITS.malformedFrames,
): AfterMalformed {
  const malformed = before + 1;
  if (code === "frame_too_large")
    return { malformed, close: { as: "frameTooLarge", reason: message } };
  if (malformed < allowed) return { malformed, close: null };
  const reason = allowed === 1 ? message : "Too many malformed frames.";
  return { malformed, close: { as: "malformed", reason } };
}
