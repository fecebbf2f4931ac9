import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { LIMITS } from "../../src/protocol/limits.ts";
import { failureMessage, readWorkerFrames } from "../../src/space/workers/refused-frames.ts";

const REF = { job_id: "demo.01KA7Z3QK0ABCDEFGHJKMNPQRS", attempt: 2 };
const ID = REF.job_id;

function about(raw: string | ArrayBuffer, isBatch = false) {
  return readWorkerFrames(raw, isBatch).map((read) => (read.ok ? read.frame.type : read.about));
}

function nested(depth: number): string {
  return "[".repeat(depth) + "]".repeat(depth);
}

const LARGE = "x".repeat(LIMITS.frameBytes);

describe("a frame that can't be taken", () => {
  it.each([
    ["metrics that are a list", JSON.stringify({ type: "result", ...REF, output: 1, metrics: [] })],
    ["no output", JSON.stringify({ type: "result", ...REF })],
    ["an unknown type", JSON.stringify({ type: "results", ...REF, output: 1 })],
    ["no type", JSON.stringify(REF)],
    [
      "a message that is too long",
      JSON.stringify({ type: "fail", ...REF, code: "x", message: "m".repeat(9_000) }),
    ],
    ["a progress of 101", JSON.stringify({ type: "progress", ...REF, progress: 101 })],
    ["a progress as text", JSON.stringify({ type: "progress", ...REF, progress: "50" })],
    ["an attempt as text", JSON.stringify({ type: "accept", job_id: ID, attempt: "2" })],
    [
      "a delta nested too deep",
      `{"type":"output","job_id":"${ID}","attempt":2,"delta":${nested(70)}}`,
    ],
    ["NaN", `{"type":"result","job_id":"${ID}","attempt":2,"output":NaN}`],
    ["NaN, its attempt a float", `{"type":"output","job_id":"${ID}","attempt":2.0,"delta":NaN}`],
    [
      "NaN before its attempt",
      `{"type": "result", "output": [NaN], "job_id": "${ID}", "attempt": 2}`,
    ],
    ["single quotes", `{'type': 'result', 'job_id': '${ID}', 'attempt': 2, 'output': None}`],
    ["names without quotes", `{type:"result",job_id:"${ID}",attempt:2,output:1}`],
    ["a byte order mark", `\ufeff{"type":"result","job_id":"${ID}","attempt":2,"output":1}`],
    ["no end", `{"type":"result","job_id":"${ID}","attempt":2,"output":"cut o`],
    ["too many bytes", JSON.stringify({ type: "result", output: LARGE, ...REF })],
    [
      "another attempt in its output",
      `{"type":"output","job_id":"${ID}","attempt":2,"delta":{"job_id":"demo.other","attempt":1,"x":NaN}}`,
    ],
    [
      "another attempt in a text",
      `{"delta":"\\",\\"job_id\\":\\"demo.other\\",\\"attempt\\":1","x":NaN,"job_id":"${ID}","attempt":2}`,
    ],
  ])("is about the attempt that it names: %s (W30a, W30d)", (_, raw) => {
    expect(about(raw)).toEqual([REF]);
  });

  it("is about its attempt if the job's id has 120 characters, as many as it may have (W30d)", () => {
    const long = { job_id: "j".repeat(120), attempt: 1 };
    expect(about(JSON.stringify({ type: "result", ...long }))).toEqual([long]);
  });

  it("is about its attempt if it came as bytes, too (W30a)", () => {
    const bytes = new TextEncoder().encode(JSON.stringify({ type: "accept", ...REF }));
    expect(about(bytes.buffer as ArrayBuffer)).toEqual([REF]);
    expect(about(new Uint8Array([255, 0, 7]).buffer)).toEqual([null]);
  });

  it.each([
    ["not a frame", "{type:"],
    ["a list", JSON.stringify([REF])],
    ["no attempt", `{"type":"result","job_id":"${ID}","output":NaN}`],
    ["an attempt of 0", JSON.stringify({ type: "accept", job_id: ID, attempt: 0 })],
    ["half an attempt", JSON.stringify({ type: "accept", job_id: ID, attempt: 1.5 })],
    ["an attempt that may be cut off", `{"type":"result","job_id":"${ID}","attempt":2`],
    ["a job's id that may be cut off", `{"type":"result","attempt":2,"job_id":"demo.01K`],
    ["an id that is no text", JSON.stringify({ type: "accept", job_id: 7, attempt: 2 })],
    [
      "an id that is too long",
      JSON.stringify({ type: "accept", job_id: "j".repeat(121), attempt: 2 }),
    ],
    ["two attempts", `{"job_id":"${ID}","attempt":2,"attempt":3,"output":NaN}`],
    ["only deeper fields", `{"type":"output","delta":{"job_id":"${ID}","attempt":2},"x":NaN}`],
    ["a wrong `register`", JSON.stringify({ type: "register", worker_id: 7, resume: [REF] })],
    ["a batch in a batch", JSON.stringify({ type: "batch", frames: [{ ...REF, type: "accept" }] })],
  ])("is about no attempt if none can be read: %s (W30d)", (_, raw) => {
    expect(about(raw)).toEqual([null]);
  });

  it("is explained: what is wrong, and what the worker itself reported", () => {
    const explain = (raw: string) => {
      const [read] = readWorkerFrames(raw, false);
      return read && !read.ok ? failureMessage(read) : "taken";
    };
    expect(explain(`{"type":"result","job_id":"${ID}","attempt":2,"output":NaN}`)).toBe(
      "The edge can't take a `result` of the worker: The frame is not JSON: it has NaN, which JSON doesn't have: send null or a text.",
    );
    expect(explain(JSON.stringify({ type: "result", ...REF, output: 1, metrics: [] }))).toBe(
      "The edge can't take a `result` of the worker: metrics: must be a JSON object.",
    );
    const tooLong = { type: "fail", ...REF, code: "x", message: `CUDA ${"m".repeat(9_000)}` };
    const explained = explain(JSON.stringify(tooLong));
    expect(explained).toContain(
      "message: must have 8000 characters at most. The worker reported: CUDA mmm",
    );
    expect(explained.length).toBeLessThan(1_500);
    expect(explain(JSON.stringify({ type: "result", ...REF, output: LARGE }))).toMatch(
      /`result` of the worker: A frame may have 1048576 bytes at most\. This one has 10486\d\d/,
    );
  });
});

describe("a batch with a frame that can't be taken", () => {
  const accept = JSON.stringify({ type: "accept", ...REF });
  const batch = (...frames: string[]) => `{"type":"batch","frames":[${frames.join()}]}`;
  const broken = `{"type":"output","job_id":"${ID}","attempt":2,"delta":NaN}`;

  it.each([
    ["a wrong field", JSON.stringify({ type: "progress", ...REF, progress: 101 })],
    ["NaN", broken],
    ["too many bytes", JSON.stringify({ type: "result", ...REF, output: LARGE })],
  ])("has its other frames handled: %s (C6b, W30d)", (_, bad) => {
    expect(about(batch(accept, bad, accept), true)).toEqual(["accept", REF, "accept"]);
  });

  it("is wrong as a whole if it is the batch that is wrong", () => {
    expect(about(`${batch(accept, broken)}]`, true)).toEqual([null]);
    expect(about(batch(accept, broken).slice(0, -2), true)).toEqual([null]);
    expect(about(batch(accept, broken), false)).toEqual([null]);
    expect(about(batch(batch(accept), broken), true)).toEqual([null, REF]);
    expect(about(`{type:"batch","frames":[${accept}]}`, true)).toEqual([null]);
    const half = JSON.stringify({ type: "output", ...REF, delta: LARGE.slice(LARGE.length / 2) });
    expect(about(batch(half, half, accept), true)).toEqual([null]);
    expect(about(batch(half, half, broken), true)).toEqual([null]);
    expect(about(batch(half, half, broken), true)).toEqual([null]);
    expect(about(batch(half, half, broken), true)).toEqual([null]);
  });
});

describe("a worker's frames", () => {
  it("are taken, or refused with a reason; reading any text never throws", () => {
    const text = fc.string({
      unit: fc.constantFrom(...`{}[]",:'\\ 1NaN`, '"job_id":"a.b"', '"attempt":1'),
    });
    fc.assert(
      fc.property(text, fc.boolean(), (raw, isBatch) => {
        for (const read of readWorkerFrames(raw, isBatch)) {
          if (!read.ok) expect(failureMessage(read)).not.toBe("");
        }
      }),
      { numRuns: 500 },
    );
  });
});
