import type { z } from "zod";
import type { problem } from "../protocol/resources.ts";

/** Error codes that the client itself produces, in addition to the edge's codes. */
export type ClientErrorCode =
  /** No answer arrived: the network failed, or nothing listens at this address. */
  | "unreachable"
  /** No answer arrived in time. */
  | "timed_out"
  /** What answers at this address is not an edge. */
  | "not_an_edge"
  /** The address begins with `http:` where it must be `https:`, or the other way round. */
  | "wrong_scheme"
  /** The edge answers over HTTP, but opens no WebSocket: something in between may not let it through. */
  | "socket_refused"
  /** The client was created with an address, or an option, that can't be used. */
  | "invalid_url"
  | "invalid_option"
  /** The answer does not have the expected form. */
  | "malformed_answer"
  /** The edge closed the socket for good, so the client does not reconnect; or the client was closed. */
  | "connection_closed"
  /** An iterator was read too slowly and its buffer is full. */
  | "too_slow"
  /** Output already returned is void: another attempt began, or a part of it was lost. */
  | "output_restarted"
  /** The token function failed or took too long, or its token has characters that can't be sent. */
  | "invalid_token"
  /** There is no `WebSocket` here, and none was given. */
  | "no_websocket";

interface DialoutErrorDetails {
  status?: number | null;
  retryAfterMs?: number | null;
  errors?: z.infer<typeof problem>["errors"];
  idempotencyKey?: string;
  cause?: unknown;
}

/** An error with a code for programs and a message for people. */
export class DialoutError extends Error {
  override name = "DialoutError";
  /** A code of the edge, such as `worker_not_connected`, or one of {@link ClientErrorCode}. */
  readonly code: string;
  /** HTTP status of the answer; `null` if there was none. */
  readonly status: number | null;
  /** Milliseconds after which the edge allows a retry; `null` if it gave no time. */
  readonly retryAfterMs: number | null;
  /** What is wrong with which part, if the code is `invalid_request` or `invalid_input`. */
  readonly errors: { path: string; message: string }[];
  /**
   * Set if a submit got no answer, so that the job may exist. With this key and the same input it can be
   * submitted again without creating a second job.
   */
  readonly idempotencyKey: string | null;

  constructor(code: string, message: string, details: DialoutErrorDetails = {}) {
    super(message, { cause: details.cause });
    this.code = code;
    this.status = details.status ?? null;
    this.retryAfterMs = details.retryAfterMs ?? null;
    this.errors = details.errors ?? [];
    this.idempotencyKey = details.idempotencyKey ?? null;
  }
}

/** The job failed or was canceled, so it has no result. */
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
