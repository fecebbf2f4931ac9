import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { decodeFrame } from "../../src/protocol/codec.ts";
import { edgeFrame, type WorkerFrameInput, workerFrame } from "../../src/protocol/worker-frames.ts";
import { anyText, damaged, decode, refusalCodeOf } from "./noise.ts";

const REF = { job_id: "demo.01KA7Z3QK0ABCDEFGHJKMNPQRS", attempt: 1 };

const FRAMES: WorkerFrameInput[] = [
  {
    type: "register",
    worker_id: "w",
    name: "W",
    version: "1",
    concurrency: 2,
    capabilities: ["gpu"],
    resume: [REF],
    sends_files: true,
  },
  { type: "accept", ...REF },
  { type: "progress", ...REF, progress: 12.5, message: "half", estimated_remaining: 4 },
  { type: "output", ...REF, delta: { token: "a" } },
  { type: "result", ...REF, output: [1, null], metrics: { tokens: 3 } },
  { type: "fail", ...REF, code: "out_of_memory", message: "needs 9 GB", retryable: true },
  { type: "reject", ...REF, reason: "no room" },
  { type: "drain", reason: "update" },
  { type: "load", load: 0.5 },
];

function isValid(frame: object): boolean {
  return decode(workerFrame, frame).ok;
}

describe("a worker's frame", () => {
  it.each(FRAMES)("is decoded unchanged: $type", (frame) => {
    expect(decode(workerFrame, frame)).toEqual({ ok: true, frame });
  });

  it("may leave out fields that have a default", () => {
    expect(decode(workerFrame, { type: "register", worker_id: "w" })).toEqual({
      ok: true,
      frame: {
        type: "register",
        worker_id: "w",
        concurrency: 1,
        capabilities: [],
        resume: [],
        sends_files: false,
      },
    });
    expect(decode(workerFrame, { type: "drain" })).toMatchObject({ frame: { reason: "" } });
  });

  it("that fails without `retryable` is not retried", () => {
    const fail = { type: "fail", ...REF, code: "worker_error", message: "" };
    expect(decode(workerFrame, fail)).toMatchObject({ frame: { retryable: false } });
  });

  it("loses unknown fields, so that a newer worker can talk to an older edge", () => {
    expect(decode(workerFrame, { type: "accept", ...REF, since: "v2" })).toEqual({
      ok: true,
      frame: { type: "accept", ...REF },
    });
  });

  it("of an unknown type is an unknown frame, not a malformed one", () => {
    for (const type of ["hello", "ping", "", "constructor", 5, null]) {
      expect(decode(workerFrame, { type, ...REF })).toMatchObject({ code: "unknown_frame" });
    }
  });

  it("without a required field is malformed", () => {
    for (const frame of FRAMES) {
      for (const part of ["worker_id", "job_id", "attempt", "progress", "delta", "output"]) {
        if (!(part in frame)) continue;
        const { [part]: _, ...rest } = frame as Record<string, unknown>;
        expect(decode(workerFrame, rest)).toMatchObject({
          code: "malformed_frame",
          message: expect.stringContaining(part),
        });
      }
    }
  });
});

describe("the values in a worker's frames", () => {
  it.each([
    ["attempt", { type: "accept", ...REF, attempt: 0 }],
    ["attempt", { type: "accept", ...REF, attempt: 1.5 }],
    ["attempt", { type: "accept", ...REF, attempt: "1" }],
    ["job_id", { type: "accept", ...REF, job_id: "j".repeat(121) }],
    ["progress", { type: "progress", ...REF, progress: 100.1 }],
    ["progress", { type: "progress", ...REF, progress: -1 }],
    ["estimated_remaining", { type: "progress", ...REF, progress: 1, estimated_remaining: -1 }],
    ["message", { type: "progress", ...REF, progress: 1, message: "m".repeat(2_001) }],
    ["metrics", { type: "result", ...REF, output: 1, metrics: [] }],
    ["code", { type: "fail", ...REF, code: "", message: "" }],
    ["retryable", { type: "fail", ...REF, code: "x", message: "", retryable: "no" }],
    ["worker_id", { type: "register", worker_id: "" }],
    ["concurrency", { type: "register", worker_id: "w", concurrency: 0 }],
    ["concurrency", { type: "register", worker_id: "w", concurrency: 1_001 }],
    ["resume", { type: "register", worker_id: "w", resume: Array(1_001).fill(REF) }],
    ["resume.0.attempt", { type: "register", worker_id: "w", resume: [{ job_id: "a.b" }] }],
    ["capabilities", { type: "register", worker_id: "w", capabilities: Array(51).fill("c") }],
  ])("have limits: `%s` in %o", (path, frame) => {
    expect(decode(workerFrame, frame)).toMatchObject({
      code: "malformed_frame",
      message: expect.stringMatching(new RegExp(`(^|; )${path}: `)),
    });
  });

  it("may be any JSON for outputs and results, including null and false", () => {
    for (const value of [null, false, 0, "", [], {}]) {
      expect(isValid({ type: "output", ...REF, delta: value })).toBe(true);
      expect(isValid({ type: "result", ...REF, output: value })).toBe(true);
    }
  });

  it("may be null if the field is optional", () => {
    const progress = { type: "progress", ...REF, progress: 1 };
    expect(isValid({ ...progress, message: null, estimated_remaining: null })).toBe(true);
    expect(isValid({ type: "result", ...REF, output: 1, metrics: null })).toBe(true);
  });

  it("that JSON can't express are refused", () => {
    const raw = JSON.stringify({ type: "progress", ...REF, progress: 0 });
    expect(decodeFrame(raw.replace('"progress":0', '"progress":1e999'), workerFrame).ok).toBe(
      false,
    );
  });
});

describe("noise from a worker", () => {
  it("is a frame or gets a refusal with a code, and decoding never throws", () => {
    const texts = fc.oneof(damaged(FRAMES), fc.json(), anyText());
    fc.assert(
      fc.property(texts, (raw) => {
        const decoded = decodeFrame(raw, workerFrame);
        if (decoded.ok) return;
        expect(decoded.code).toBe(refusalCodeOf(raw, FRAMES));
        expect(decoded.message).not.toBe("");
      }),
      { numRuns: 500 },
    );
  });
});

describe("a frame of the edge to a worker", () => {
  const config = {
    concurrency: 1,
    job_timeout_s: 120,
    first_output_timeout_s: null,
    stall_timeout_s: 5,
    reconnect_grace_s: 15,
  };

  it.each([
    {
      type: "hello",
      protocol: "dialout.worker.v1",
      space: "demo",
      heartbeat_s: 10,
      lease_s: 30,
      max_frame_bytes: 1_048_576,
      batch: true,
    },
    {
      type: "registered",
      generation: 3,
      config,
      resumed: [{ ...REF, outputs: 2 }],
      dropped: [REF],
    },
    { type: "ack", ...REF, of: "result" },
    { type: "stale", ...REF },
    { type: "cancel", ...REF, reason: "Canceled by a call." },
    { type: "config", config },
    { type: "error", code: "space_occupied", message: "Another worker serves it." },
  ])("is decoded unchanged: $type", (frame) => {
    expect(decode(edgeFrame, frame)).toEqual({ ok: true, frame });
  });
});
