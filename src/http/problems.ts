import type { Context } from "hono";
import type { ContentfulStatusCode } from "hono/utils/http-status";
import type { z } from "zod";
import { PROBLEMS, type ProblemCode } from "../protocol/codes.ts";
import { PLAIN_MESSAGES } from "../protocol/error-messages.ts";
import { LIMITS } from "../protocol/limits.ts";
import type { Problem } from "../protocol/resources.ts";

/** A route throws it; the client gets it as `application/problem+json` (RFC 9457). */
export class ProblemError extends Error {
  readonly code: ProblemCode;
  readonly errors: Problem["errors"];
  readonly headers: Record<string, string>;

  /** @param headers of the answer */
  constructor(
    code: ProblemCode,
    detail: string,
    errors?: Problem["errors"],
    headers: Record<string, string> = {},
  ) {
    super(detail);
    this.name = "ProblemError";
    this.code = code;
    this.errors = errors;
    this.headers = headers;
  }
}

export function problemBody({ code, message: detail, errors }: ProblemError): Problem {
  const { status, title } = PROBLEMS[code];
  return {
    type: `urn:dialout:problem:${code}`,
    title,
    status,
    detail,
    code,
    ...(errors ? { errors } : {}),
  };
}

/** The `retry-after` header of these problems, seconds. */
const RETRY_AFTER_S = new Map<ProblemCode, number>([
  ["temporarily_unavailable", 1],
  ["rate_limited", 60],
  ["queue_full", 5],
]);

/** Answers with the problem that a route threw. Any other error is logged, and the client learns nothing about it. */
export function answerError(error: Error, c: Context): Response {
  const known = error instanceof ProblemError;
  const requestId = c.get("requestId");
  if (!known) console.error(`request ${requestId} failed`, error);
  const problem = known ? error : unexpected(error, requestId);
  const body = problemBody(problem);
  if (body.status === 401) c.header("www-authenticate", 'Bearer realm="dialout"');
  if (body.status === 426) c.header("upgrade", "websocket");
  const retryAfter = RETRY_AFTER_S.get(problem.code);
  if (retryAfter !== undefined) c.header("retry-after", String(retryAfter));
  for (const [name, value] of Object.entries(problem.headers)) c.header(name, value);
  c.header("content-type", "application/problem+json");
  return c.body(JSON.stringify(body), body.status as ContentfulStatusCode);
}

/** Answers 405: the address exists, but accepts only `methods`. */
export function answerWrongMethod(c: Context, methods: string[]): Response {
  const allow = methods.join(", ");
  c.header("allow", allow);
  const detail = `This address accepts ${allow}, not ${c.req.method}.`;
  return answerError(new ProblemError("method_not_allowed", detail), c);
}

/** The runtime marks the errors of an object that restarts or is overloaded; those calls may succeed soon. */
function unexpected(error: Error, requestId: string): ProblemError {
  const isTemporary =
    ("retryable" in error && error.retryable) || ("overloaded" in error && error.overloaded);
  return isTemporary
    ? new ProblemError("temporarily_unavailable", "The edge is busy or restarting: try again soon.")
    : new ProblemError(
        "internal",
        `Something went wrong on the edge. Give the operator this request id: ${requestId}.`,
      );
}

/**
 * Returns the value that the schema makes of `value`.
 *
 * @param what names the value in messages about it as a whole
 * @throws {ProblemError} `invalid_request` with an entry for each of the first fields that are wrong
 */
export function validate<T>(schema: z.ZodType<T>, value: unknown, what = "the request"): T {
  const result = schema.safeParse(value, PLAIN_MESSAGES);
  if (result.success) return result.data;
  const errors = result.error.issues.slice(0, LIMITS.listedErrors).map(({ path, message }) => ({
    path: path.join("."),
    message,
  }));
  const detail = errors
    .slice(0, 3)
    .map(({ path, message }) => (path === "" ? `${what} ${message}` : `${path}: ${message}`))
    .join("; ");
  throw new ProblemError("invalid_request", detail, errors);
}
