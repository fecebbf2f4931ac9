import type { Json, JsonObject } from "../src/protocol/codec.ts";
import { type EncodedFrame, encodeFrame } from "./encode.ts";
import { type AbortCause, JobAborted, JobFailure } from "./failure.ts";

/** How an attempt ended on this side; kept until the edge has acknowledged it. */
export type Completion =
  | { type: "result"; output: Json; metrics?: JsonObject; files?: string[] }
  | { type: "fail"; code: string; message: string; retryable: boolean }
  | { type: "reject"; reason: string };

/** How a handler ended. */
export type HandlerOutcome =
  | { type: "returned"; value: Json | undefined }
  | { type: "threw"; error: unknown };

/**
 * @param cause why the handler was aborted, `null` if it was not
 * @param streamed returns the streamed output as one value, for a handler that returns nothing
 */
export function completionOf(
  outcome: HandlerOutcome,
  cause: AbortCause | null,
  streamed: () => Json | undefined,
): Completion {
  // The submitter already sees the job as canceled, whatever the handler returned.
  if (cause === "canceled") return aborted("canceled", cause);
  if (outcome.type === "threw") {
    return cause === "deadline" ? aborted("timeout", cause) : failed(outcome.error);
  }
  const output = outcome.value === undefined ? streamed() : outcome.value;
  if (output === undefined) {
    return failed(new Error("The streamed output is too large to be the result as well."));
  }
  return { type: "result", output };
}

function aborted(code: string, cause: AbortCause): Completion {
  return { type: "fail", code, message: new JobAborted(cause).message, retryable: false };
}

function failed(error: unknown): Completion {
  if (error instanceof JobFailure) {
    const { code, message, retryable } = error;
    return { type: "fail", code, message, retryable };
  }
  const message = isInternal(error)
    ? INTERNAL
    : String(error instanceof Error ? error.message : error);
  return { type: "fail", code: "worker_error", message, retryable: false };
}

const INTERNAL = "The worker's program failed: the worker's log says why.";

/** Errors of the language: their texts quote code and data, and say nothing to a submitter. */
const BUILT_IN = [
  AggregateError,
  EvalError,
  RangeError,
  ReferenceError,
  SyntaxError,
  TypeError,
  URIError,
];

/** Fields of the errors that Node.js and packages make about files, programs and the network: their texts name these. */
const SYSTEM_FIELDS = ["code", "errno", "syscall", "path", "cmd"];

/**
 * Whether an error's text was not written for submitters, who are strangers. The text of an `Error` that the
 * handler throws itself is sent: its author chose the words.
 */
function isInternal(error: unknown): boolean {
  if (!(error instanceof Error) || error instanceof JobFailure) return false;
  return (
    BUILT_IN.some((type) => error instanceof type) || SYSTEM_FIELDS.some((field) => field in error)
  );
}

/** An encoded completion, sent again after every reconnect until the edge acknowledges it. */
export interface EncodedCompletion extends EncodedFrame {
  of: Completion["type"];
  canceled: boolean;
  /** For the log. */
  summary: string;
}

/** Encodes a completion; a result that the edge would refuse becomes a failure that says why. */
export function encodeCompletion(
  ref: { job_id: string; attempt: number },
  completion: Completion,
  limit: number,
): EncodedCompletion {
  const bounded = bound(completion, limit);
  const encoding = encodeFrame({ ...bounded, ...ref }, limit);
  if (encoding.ok) {
    const canceled = bounded.type === "fail" && bounded.code === "canceled";
    return { of: bounded.type, canceled, summary: summarize(bounded), ...encoding.frame };
  }
  const what = bounded.type === "result" ? "The result" : "The end of this job";
  return encodeCompletion(ref, failed(new Error(`${what} ${encoding.message}.`)), limit);
}

function bound(completion: Completion, limit: number): Completion {
  // JSON needs at most 6 bytes for an escaped character.
  const truncate = (text: string, most: number) =>
    text.slice(0, Math.min(most, Math.floor(limit / 8)));
  switch (completion.type) {
    case "result":
      return completion;
    case "reject":
      return { ...completion, reason: truncate(completion.reason, 2_000) };
    case "fail": {
      const code = completion.code.slice(0, 60) || "worker_error";
      return { ...completion, code, message: truncate(completion.message, 8_000) };
    }
  }
}

function summarize(completion: Completion): string {
  switch (completion.type) {
    case "result":
      return "completed";
    case "reject":
      return `sent back (${completion.reason})`;
    case "fail":
      if (completion.code === "canceled") return "canceled";
      return `failed (${completion.code}): ${completion.message.split("\n")[0]}`;
  }
}
