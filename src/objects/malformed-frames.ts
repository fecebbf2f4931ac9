import type { Decoded } from "../protocol/codec.ts";
import { LIMITS } from "../protocol/limits.ts";

/** A frame that could not be decoded, with the code and message of the error to send. */
export type MalformedFrame = Extract<Decoded<unknown>, { ok: false }>;

/** How a socket goes on after a malformed frame. */
export interface AfterMalformed {
  /** Malformed frames in a row, this one included. A well-formed frame sets it back to 0. */
  malformed: number;
  /** How and why the socket must be closed; `null` keeps it open. */
  close: { as: "frameTooLarge" | "malformed"; reason: string } | null;
}

/**
 * The one rule for malformed frames on every socket: single ones are forgiven, too many in a row close the
 * socket, and one frame that is too large closes it at once.
 *
 * @param before how many malformed frames came in a row before this one
 * @param allowed how many in a row close the socket; 1 for workers: their first closes the socket
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
