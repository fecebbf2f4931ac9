import type { Json, JsonObject } from "../src/protocol/codec.ts";
import { type EncodedFrame, encodeFrame } from "./encode.ts";
import { type AbortCause, JobAborted, JobFailure } from "./failure.ts";

/** How an attempt ended on this side; kept until the edge has acknowledged it. */
export type Completion =
  | { type: "result"; output: Json; metrics?: JsonObject }
  | { type: "fail"; code: string; message: string; retryable: boolean }
  | { type: "reject"; reason: string };

/** What became of the handler. */
export type HandlerOutcome =
  | { type: "returned"; value: Json | undefined }
  | { type: "threw"; error: unknown };

/**
 * @param cause why the handler was asked to stop, `null` if it was not
 * @param streamed what it streamed, for a handler that returns nothing
 */
export function completionOf(
  outcome: HandlerOutcome,
  cause: AbortCause | null,
  streamed: () => Json | undefined,
): Completion {
  // Its submitter was told that it is canceled, whatever the handler made of it.
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
  const message = error instanceof Error ? error.message : String(error);
  return { type: "fail", code: "worker_error", message, retryable: false };
}

/** A completion ready to be sent, as often as it takes. */
export interface EncodedCompletion extends EncodedFrame {
  of: Completion["type"];
  canceled: boolean;
  /** For the log. */
  summary: string;
}

/** Always something the edge takes: a result that it would refuse becomes a failure that says so. */
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
  // A character takes 6 bytes at most where JSON escapes it.
  const cut = (text: string, most: number) => text.slice(0, Math.min(most, Math.floor(limit / 8)));
  switch (completion.type) {
    case "result":
      return completion;
    case "reject":
      return { ...completion, reason: cut(completion.reason, 2_000) };
    case "fail": {
      const code = completion.code.slice(0, 60) || "worker_error";
      return { ...completion, code, message: cut(completion.message, 8_000) };
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
