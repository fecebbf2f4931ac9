import { describe, expect, test } from "vitest";
import type { JsonObject } from "../../src/protocol/codec.ts";
import { completionOf, encodeCompletion } from "../../worker-client/completion.ts";
import { JobAborted, JobFailure } from "../../worker-client/failure.ts";
import { jsonText } from "../../worker-client/json-text.ts";

const REF = { job_id: "demo.01JZZZZZZZZZZZZZZZZZZZZZZZ", attempt: 2 };
const LIMIT = 100_000;
const returned = (value?: string | null) => ({ type: "returned", value }) as const;
const threw = (error: unknown) => ({ type: "threw", error }) as const;
const nothing = () => undefined;

describe("how an attempt ended", () => {
  test("is `canceled` if it was, whatever its handler did then (W23)", () => {
    for (const outcome of [returned("x"), threw(new Error("x")), threw(new JobFailure("x", "x"))]) {
      expect(completionOf(outcome, "canceled", nothing)).toEqual({
        type: "fail",
        code: "canceled",
        message: "the job was canceled",
        retryable: false,
      });
    }
  });

  test("is a timeout if the handler stopped at its deadline, and its result if it returned one", () => {
    const stopped = completionOf(threw(new JobAborted("deadline")), "deadline", nothing);
    expect(stopped).toMatchObject({
      type: "fail",
      code: "timeout",
      message: "the attempt was not finished by its deadline",
      retryable: false,
    });
    expect(completionOf(returned("x"), "deadline", nothing)).toEqual({
      type: "result",
      output: "x",
    });
  });

  test("is what the handler returned, or what it streamed if it returned nothing", () => {
    const streamed = () => "streamed";
    expect(completionOf(returned(null), null, streamed)).toEqual({ type: "result", output: null });
    expect(completionOf(returned(), null, streamed)).toEqual({
      type: "result",
      output: "streamed",
    });
    expect(completionOf(returned(), null, nothing)).toMatchObject({
      type: "fail",
      message: "The streamed output is too large to be the result as well.",
    });
  });

  test("is the failure that the handler threw, or a `worker_error` with the words of anything else", () => {
    expect(completionOf(threw(new JobFailure("oom", "no room", true)), null, nothing)).toEqual({
      type: "fail",
      code: "oom",
      message: "no room",
      retryable: true,
    });
    const failed = { type: "fail", code: "worker_error", retryable: false };
    const of = (error: unknown) => completionOf(threw(error), null, nothing);
    expect(of(new Error("odd"))).toEqual({ ...failed, message: "odd" });
    expect(of("only words")).toEqual({ ...failed, message: "only words" });
  });

  test("tells a submitter nothing of errors of the language or the system: their texts quote code, data and paths", () => {
    const system = [
      Object.assign(new Error("no /srv/a"), { code: "ENOENT", path: "/srv/a" }),
      Object.assign(new Error("spawn a"), { cmd: "a --key" }),
    ];
    for (const error of [new TypeError("odd"), new SyntaxError("odd"), ...system]) {
      expect(completionOf(threw(error), null, nothing)).toEqual({
        type: "fail",
        code: "worker_error",
        message: "The worker's program failed: the worker's log says why.",
        retryable: false,
      });
    }
  });
});

describe("the frame of an end", () => {
  const failure = (code: string, message: string) =>
    ({ type: "fail", code, message, retryable: false }) as const;
  const sent = (completion: Parameters<typeof encodeCompletion>[1], limit = LIMIT) => {
    const { text, bytes, ...rest } = encodeCompletion(REF, completion, limit);
    expect(bytes).toBe(Buffer.byteLength(text));
    expect(bytes).toBeLessThanOrEqual(limit);
    return { frame: JSON.parse(text), ...rest };
  };

  test("names the attempt, and is described for the log", () => {
    expect(sent({ type: "result", output: 1, metrics: { s: 2 } })).toEqual({
      frame: { type: "result", ...REF, output: 1, metrics: { s: 2 } },
      of: "result",
      canceled: false,
      summary: "completed",
    });
    expect(sent({ type: "reject", reason: "no room" })).toEqual({
      frame: { type: "reject", ...REF, reason: "no room" },
      of: "reject",
      canceled: false,
      summary: "sent back (no room)",
    });
    expect(sent(failure("oom", "no room\nat line 1"))).toMatchObject({
      of: "fail",
      canceled: false,
      summary: "failed (oom): no room",
    });
    expect(sent(failure("canceled", "asked"))).toMatchObject({
      of: "fail",
      canceled: true,
      summary: "canceled",
    });
  });

  test("has texts as long as the edge takes them, and a code in any case", () => {
    const long = "x".repeat(9_000);
    expect(sent(failure(long, long)).frame).toMatchObject({
      code: "x".repeat(60),
      message: "x".repeat(8_000),
    });
    expect(sent(failure("", "why")).frame).toMatchObject({ code: "worker_error", message: "why" });
    expect(sent({ type: "reject", reason: long }).frame.reason).toBe("x".repeat(2_000));
  });

  test("has every digit of what was given as JSON text, in several fields as well (H18)", () => {
    const metrics = jsonText('{"a":1e400}') as JsonObject;
    const given = { type: "result", output: jsonText("[1.0]"), metrics } as const;
    const { text } = encodeCompletion(REF, given, LIMIT);
    expect(text).toBe(
      `{"type":"result","job_id":"${REF.job_id}","attempt":2,"output":[1.0],"metrics":{"a":1e400}}`,
    );
  });

  test("fits into the smallest frames, even if every character needs six bytes", () => {
    const worst = "\u0000".repeat(9_000);
    for (const completion of [failure("odd", worst), { type: "reject", reason: worst } as const]) {
      expect(sent(completion, 1_024).frame.type).toBe(completion.type);
    }
  });

  test("is a failure that says why, if the result can't be sent", () => {
    const { frame, of } = sent({ type: "result", output: "x".repeat(2_000) }, 1_500);
    expect(of).toBe("fail");
    expect(frame).toMatchObject({ type: "fail", code: "worker_error", retryable: false });
    expect(frame.message).toMatch(
      /^The result makes a frame of 2,\d{3} bytes; the edge accepts 1,500 at most\.$/,
    );
    const wrong = sent({ type: "result", output: 1, metrics: { a: Number.NaN } });
    expect(wrong.frame.message).toMatch(/^The result can't be written as JSON: `a` is NaN/);
  });
});
