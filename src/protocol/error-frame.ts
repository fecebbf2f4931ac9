import type { Json } from "./codec.ts";
import type { FrameErrorCode } from "./codes.ts";

/** What an error is about: the frame with this `ref`, which its sender chose, or a job, or one of its attempts. */
export interface ErrorSubject {
  ref?: Json;
  job_id?: string;
  attempt?: number;
  /** The name in a frame that names no file. */
  file?: string;
  /** How many frames about attempts could not be taken on this connection, this one included. */
  refused_frames?: number;
}

/** Makes an `error` frame. Its `error` repeats `message`, for clients that read the text from there. */
export function errorFrame(
  code: FrameErrorCode,
  message: string,
  about: ErrorSubject = {},
): object {
  return { type: "error", ...about, code, message, error: message };
}
