import type { z } from "zod";
import type { problem } from "../protocol/resources.ts";

/** Codes of this client's own, beside those of the edge. */
export type ClientErrorCode =
  /** No answer came: the network, or no edge at this address. */
  | "unreachable"
  /** An answer came that this client does not understand. */
  | "malformed_answer"
  /** The edge closed the socket and does not want it dialed again. */
  | "connection_closed"
  /** An iterator was not read for so long that its events had to be dropped. */
  | "too_slow"
  /** Output that was handed out already is void: another attempt began, or some of it is lost. */
  | "output_restarted"
  /** The token can't be had, or can't be sent. */
  | "invalid_token"
  /** There is no `WebSocket` here, and none was given. */
  | "no_websocket";

interface DialoutErrorDetails {
  status?: number | null;
  retryAfterMs?: number | null;
  errors?: z.infer<typeof problem>["errors"];
  cause?: unknown;
}

/** What went wrong, with a code for programs and a message for people. */
export class DialoutError extends Error {
  override name = "DialoutError";
  /** A code of the edge, such as `worker_not_connected`, or one of {@link ClientErrorCode}. */
  readonly code: string;
  /** Of the HTTP answer; `null` where there was none. */
  readonly status: number | null;
  /** When the edge wants to be asked again; `null` where it did not say. */
  readonly retryAfterMs: number | null;
  /** What is wrong with each field, where the edge said `invalid_request`. */
  readonly errors: { path: string; message: string }[];

  constructor(code: string, message: string, details: DialoutErrorDetails = {}) {
    super(message, { cause: details.cause });
    this.code = code;
    this.status = details.status ?? null;
    this.retryAfterMs = details.retryAfterMs ?? null;
    this.errors = details.errors ?? [];
  }
}

/** A job ended without a result: it failed, or was canceled. */
export class JobFailed extends DialoutError {
  override name = "JobFailed";
  readonly jobId: string;

  constructor(jobId: string, error: { code: string; message: string } | null) {
    super(error?.code ?? "failed", error?.message ?? "The job ended without a result.");
    this.jobId = jobId;
  }
}

export function asDialoutError(error: unknown, code: ClientErrorCode): DialoutError {
  if (error instanceof DialoutError) return error;
  const message = error instanceof Error ? error.message : String(error);
  return new DialoutError(code, message, { cause: error });
}
