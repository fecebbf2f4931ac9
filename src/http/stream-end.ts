import { CLOSE, type FrameErrorCode } from "../protocol/codes.ts";
import { errorFrame } from "../protocol/error-frame.ts";
import type { SocketClose } from "./follow.ts";

/** The error code that says why the edge closed a socket, by the close code. */
const CODES = new Map<number, FrameErrorCode>([
  [CLOSE.notFound.code, "space_not_found"],
  [CLOSE.notAuthenticated.code, "not_authenticated"],
  [CLOSE.notAllowed.code, "not_allowed"],
  [CLOSE.tooMany.code, "too_slow"],
]);

const RESTARTS =
  "The edge restarts: ask for the stream again, with the last id as `Last-Event-ID`.";

/**
 * The last frame of a stream that ends although its channel goes on: a stream has no close code, so without it the
 * reader would not know why, or whether to come back. `null` if everything was sent.
 */
export function lastFrameOf({ code, reason }: SocketClose): string | null {
  if (code === CLOSE.done.code) return null;
  const known = CODES.get(code);
  return JSON.stringify(
    known ? errorFrame(known, reason) : errorFrame("temporarily_unavailable", RESTARTS),
  );
}
