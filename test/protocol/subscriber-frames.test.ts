import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { decodeFrame, type Json } from "../../src/protocol/codec.ts";
import {
  jobClientFrame,
  type SpaceClientFrameInput,
  serverFrame,
  spaceClientFrame,
  spaceFrameReader,
} from "../../src/protocol/subscriber-frames.ts";
import { anyText, damaged, decode, refusalCodeOf } from "./noise.ts";

const job_id = "demo.01KA7Z3QK0ABCDEFGHJKMNPQRS";

const FRAMES: SpaceClientFrameInput[] = [
  {
    type: "submit",
    ref: "a",
    input: { prompt: "hi" },
    priority: 5,
    queue_timeout_s: 10,
    cancel_on_disconnect: true,
  },
  { type: "follow", job_id, since: "QRSTVWXY:12", ref: 1 },
  { type: "unfollow", job_id },
  { type: "cancel", job_id, ref: 2 },
];

describe("a subscriber's frame", () => {
  it.each(FRAMES)("is decoded unchanged: $type (S7)", (frame) => {
    expect(decode(spaceClientFrame, frame)).toEqual({ ok: true, frame });
  });

  it.each(FRAMES)(
    "with an unknown field is refused, and the message names the field: $type (S6)",
    (frame) => {
      expect(decode(spaceClientFrame, { ...frame, prioritty: 1 })).toMatchObject({
        code: "malformed_frame",
        message: expect.stringContaining("prioritty"),
      });
    },
  );

  it("of an unknown type is an unknown frame", () => {
    for (const type of ["subscribe", "result", "", 5, null, ["submit"]]) {
      expect(decode(spaceClientFrame, { type, job_id })).toMatchObject({ code: "unknown_frame" });
    }
  });

  it.each([
    ["ref", { type: "submit", input: {} }],
    ["ref", { type: "submit", ref: "r".repeat(201), input: {} }],
    ["ref", { type: "submit", ref: null, input: {} }],
    ["input", { type: "submit", ref: 1 }],
    ["input", { type: "submit", ref: 1, input: [] }],
    ["input.prompt", { type: "submit", ref: 1, input: { prompt: 5 } }],
    ["priority", { type: "submit", ref: 1, input: {}, priority: 101 }],
    ["job_id", { type: "follow", job_id: "demo" }],
    ["job_id", { type: "cancel", job_id: `${job_id}0` }],
    ["job_id", { type: "unfollow", job_id: job_id.toLowerCase() }],
    ["since", { type: "follow", job_id, since: "12" }],
    ["since", { type: "follow", job_id, since: "a:1234567890123456" }],
  ])("has limits: `%s` in %o (S6)", (path, frame) => {
    expect(decode(spaceClientFrame, frame)).toMatchObject({
      code: "malformed_frame",
      message: expect.stringMatching(new RegExp(`(^|; )${path}: `)),
    });
  });

  it("on the socket of one job can't be a frame of a space's socket (S13)", () => {
    expect(decode(jobClientFrame, { type: "cancel" }).ok).toBe(true);
    expect(decode(jobClientFrame, { type: "cancel", job_id })).toMatchObject({
      code: "malformed_frame",
    });
    for (const frame of FRAMES) expect(decode(jobClientFrame, frame).ok).toBe(false);
  });

  it("that is noise gets a refusal with a code, and decoding never throws", () => {
    const texts = fc.oneof(damaged(FRAMES), fc.json(), anyText());
    fc.assert(
      fc.property(texts, (raw) => {
        const decoded = decodeFrame(raw, spaceClientFrame);
        if (decoded.ok) return;
        expect(decoded.code).toBe(refusalCodeOf(raw, FRAMES));
        expect(decoded.message).not.toBe("");
      }),
      { numRuns: 500 },
    );
  });
});

describe("a frame of the edge to a subscriber", () => {
  const at = { offset: 3, timestamp: "2026-11-20T10:00:00.000Z" };

  it.each([
    { type: "connection", job_id, epoch: "QRSTVWXY", recovered: false, ...at },
    {
      type: "space.status",
      space: "demo",
      worker: "connected",
      queue_size: 0,
      processing: 0,
      estimated_wait_s: null,
      ...at,
    },
    { type: "accepted", ref: 1, job_id, queue_position: null, epoch: "QRSTVWXY" },
    {
      type: "progress",
      job_id,
      status: "canceled",
      progress: 0,
      estimated_remaining: null,
      message: null,
      output_path: null,
      queue_position: null,
      attempt: 0,
      error: { code: "canceled", message: "Not needed." },
      ...at,
    },
    { type: "output", job_id, attempt: 1, delta: null, ...at },
    { type: "error", code: "queue_full", message: "full", error: "full" },
  ])("is decoded unchanged: $type", (frame) => {
    expect(decode(serverFrame, frame)).toEqual({ ok: true, frame });
  });
});

describe("the reader of a space's frames", () => {
  const values = fc.oneof(
    fc.constantFrom("submit", "follow", "r1", "demo.01JAAAAAAAAAAAAAAAAAAAAAAA", 5, null, true),
    fc.dictionary(fc.constantFrom("prompt", "x"), fc.constantFrom<Json>("hi", 1, null)),
  );
  const names = ["type", "ref", "input", "priority", "job_id", "user", "more", "toString"];
  const submits = fc.record({
    type: fc.constant("submit"),
    ref: fc.constantFrom<Json>("r1", 5),
    input: fc.dictionary(fc.constantFrom("prompt", "x"), fc.constantFrom<Json>("hi", 1)),
  });
  const frames = fc
    .tuple(
      fc.oneof(submits, fc.constant({})),
      fc.dictionary(fc.constantFrom(...names), values, { maxKeys: 3 }),
    )
    .map(([frame, more]) => ({ ...frame, ...more }));

  it("returns what the schema does, for any frame (S6, S7)", () => {
    fc.assert(
      fc.property(fc.oneof(frames, submits, values), (given) => {
        const read = spaceFrameReader.safeParse(given);
        const expected = spaceClientFrame.safeParse(given);
        expect([read.data, read.error?.issues]).toEqual([expected.data, expected.error?.issues]);
      }),
      { numRuns: 1_000 },
    );
  });
});
