import fc from "fast-check";
import { describe, expect, it } from "vitest";
import {
  backendClientFrame,
  backendJobId,
  backendServerFrame,
  createBackendJobBody,
} from "../../src/protocol/backend-jobs.ts";
import { decodeFrame } from "../../src/protocol/codec.ts";
import { anyText, damaged, decode, refusalCodeOf } from "./noise.ts";

const FRAMES = [
  {
    type: "progress",
    status: "processing",
    progress: 50,
    estimated_remaining: 3,
    message: "half way",
    output_path: "s3://a/b",
    ref: "a",
  },
  { type: "output", delta: { any: ["json"] }, ref: 1 },
  { type: "complete", result: null, output_path: null, metrics: { seconds: 2 } },
  { type: "fail", code: "oom", message: "no room" },
  { type: "cancel", reason: "not needed" },
  { type: "ack", offset: 12 },
  { type: "ping", ref: "p" },
  { type: "pong" },
];

describe("a client's frame on the socket of a job without a space", () => {
  it.each(FRAMES)("is decoded unchanged: $type (B9)", (frame) => {
    expect(decode(backendClientFrame, frame)).toEqual({ ok: true, frame });
  });

  it.each(FRAMES)(
    "with an unknown field is refused, and the message names the field: $type (B9)",
    (frame) => {
      expect(decode(backendClientFrame, { ...frame, progres: 1 })).toMatchObject({
        code: "malformed_frame",
        message: expect.stringContaining("progres"),
      });
    },
  );

  it.each([
    ["progress", { type: "progress", progress: 101 }],
    ["progress", { type: "progress", progress: -1 }],
    ["progress", { type: "progress", progress: "50" }],
    ["status", { type: "progress", status: "completed" }],
    ["estimated_remaining", { type: "progress", estimated_remaining: -1 }],
    ["message", { type: "progress", message: "m".repeat(2_001) }],
    ["output_path", { type: "complete", output_path: 5 }],
    ["delta", { type: "output" }],
    ["metrics", { type: "complete", metrics: [] }],
    ["message", { type: "fail", code: "oom" }],
    ["code", { type: "fail", code: "", message: "no room" }],
    ["offset", { type: "ack", offset: 1.5 }],
    ["ref", { type: "progress", ref: null }],
  ])("has limits: `%s` in %o", (path, frame) => {
    expect(decode(backendClientFrame, frame)).toMatchObject({
      code: "malformed_frame",
      message: expect.stringMatching(new RegExp(`(^|; )${path}: `)),
    });
  });

  it("that is noise gets a refusal with a code, and decoding never throws", () => {
    const texts = fc.oneof(damaged(FRAMES), fc.json(), anyText());
    fc.assert(
      fc.property(texts, (raw) => {
        const decoded = decodeFrame(raw, backendClientFrame);
        if (!decoded.ok) expect(decoded.code).toBe(refusalCodeOf(raw, FRAMES));
      }),
      { numRuns: 500 },
    );
  });
});

describe("the body of a request that makes a job", () => {
  it("may be empty, because everything has a default (B1)", () => {
    expect(createBackendJobBody.parse({})).toEqual({
      user: null,
      input: {},
      message: null,
      visibility: "public",
      result_ttl_s: 86_400,
    });
  });

  it.each([
    { id: "a.b" },
    { id: "" },
    { id: "x".repeat(65) },
    { id: "naïve" },
    { input: [] },
    { visibility: "secret" },
    { result_ttl_s: 0 },
    { result_ttl_s: 31_536_001 },
    { space: "demo" },
  ])("has limits: %o (B1a)", (body) => {
    expect(createBackendJobBody.safeParse(body).success).toBe(false);
  });

  it("may have any id without a dot, except `monitor` (B1a)", () => {
    for (const id of ["a", "A-1_b", "0", "x".repeat(64), "01KA7Z3QK0ABCDEFGHJKMNPQRS"]) {
      expect(backendJobId.safeParse(id).success).toBe(true);
    }
    expect(backendJobId.safeParse("monitor").success).toBe(false);
  });
});

describe("a frame of the edge on that socket", () => {
  const at = { offset: 3, timestamp: "2026-11-20T10:00:00.000Z" };
  const job_id = "render-42";
  const state = {
    type: "progress",
    job_id,
    status: "pending",
    progress: 0,
    estimated_remaining: null,
    message: null,
    output_path: null,
    queue_position: null,
    attempt: 0,
    ...at,
  };

  it.each([
    { type: "connection", job_id, epoch: "3f2a91c0", recovered: false, ...at },
    state,
    { ...state, status: "processing", skipped: 7 },
    { ...state, status: "failed", error: { code: "oom", message: "no room" } },
    { type: "output", job_id, attempt: 1, delta: null, ...at, skipped: 1 },
    { type: "gap", job_id, ...at },
    { type: "ack", of: "complete", job_id, offset: 3, ref: 1 },
    { type: "cancel", job_id, reason: "not needed" },
    { type: "ping", timestamp: at.timestamp },
    { type: "pong", timestamp: at.timestamp, ref: "p" },
    { type: "connection.error", code: "not_allowed", message: "private" },
    { type: "error", job_id, code: "job_ended", message: "over", error: "over" },
  ])("is decoded unchanged: $type", (frame) => {
    expect(decode(backendServerFrame, frame)).toEqual({ ok: true, frame });
  });
});
