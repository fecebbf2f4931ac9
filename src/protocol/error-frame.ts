import type { Json } from "./codec.ts";
import type { FrameErrorCode } from "./codes.ts";

/** What an error is about: the sender's own `ref` of its frame, the job. */
export interface ErrorSubject {
  ref?: Json;
  job_id?: string;
}

/** An `error` frame. Its `error` repeats `message`, for clients that look for the text there. */
export function errorFrame(
  code: FrameErrorCode,
  message: string,
  about: ErrorSubject = {},
): object {
  return { type: "error", ...about, code, message, error: message };
}
