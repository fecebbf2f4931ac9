import type { Json, JsonObject } from "../src/protocol/codec.ts";
import { type EncodedFrame, encodeFrame } from "./encode.ts";
import { type AbortCause, JobAborted, JobFailure } from "./failure.ts";

/** How an attempt ended on this side; kept until the edge has acknowledged it. */
export type Settlement =
  | { type: "result"; output: Json; metrics?: JsonObject }
  | { type: "fail"; code: string; message: string; retryable: boolean }
  | { type: "reject"; reason: string };

/** What became of the handler. */
export type Outcome =
  | { type: "returned"; value: Json | undefined }
  | { type: "threw"; error: unknown };

/**
 * @param cause why the handler was asked to stop, `null` if it was not
 * @param streamed what it streamed, for a handler that returns nothing
 */
export function settle(
  outcome: Outcome,
  cause: AbortCause | null,
  streamed: () => Json | undefined,
): Settlement {
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

function aborted(code: string, cause: AbortCause): Settlement {
  return { type: "fail", code, message: new JobAborted(cause).message, retryable: false };
}

function failed(error: unknown): Settlement {
  if (error instanceof JobFailure) {
    const { code, message, retryable } = error;
    return { type: "fail", code, message, retryable };
  }
  const message = error instanceof Error ? error.message : String(error);
  return { type: "fail", code: "worker_error", message, retryable: false };
}

/** A settlement ready to be sent, as often as it takes. */
export interface SealedSettlement extends EncodedFrame {
  of: Settlement["type"];
  canceled: boolean;
  /** For the log. */
  summary: string;
}

/** Always something the edge takes: a result that it would refuse becomes a failure that says so. */
export function seal(
  ref: { job_id: string; attempt: number },
  settlement: Settlement,
  limit: number,
): SealedSettlement {
  const bounded = bound(settlement, limit);
  const encoding = encodeFrame({ ...bounded, ...ref }, limit);
  if (encoding.ok) {
    const canceled = bounded.type === "fail" && bounded.code === "canceled";
    return { of: bounded.type, canceled, summary: summarize(bounded), ...encoding.frame };
  }
  const what = bounded.type === "result" ? "The result" : "The end of this job";
  return seal(ref, failed(new Error(`${what} ${encoding.message}.`)), limit);
}

function bound(settlement: Settlement, limit: number): Settlement {
  // A character takes 6 bytes at most where JSON escapes it.
  const cut = (text: string, most: number) => text.slice(0, Math.min(most, Math.floor(limit / 8)));
  switch (settlement.type) {
    case "result":
      return settlement;
    case "reject":
      return { ...settlement, reason: cut(settlement.reason, 2_000) };
    case "fail": {
      const code = settlement.code.slice(0, 60) || "worker_error";
      return { ...settlement, code, message: cut(settlement.message, 8_000) };
    }
  }
}

function summarize(settlement: Settlement): string {
  switch (settlement.type) {
    case "result":
      return "completed";
    case "reject":
      return `sent back (${settlement.reason})`;
    case "fail":
      if (settlement.code === "canceled") return "canceled";
      return `failed (${settlement.code}): ${settlement.message.split("\n")[0]}`;
  }
}
