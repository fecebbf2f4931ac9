import { afterEach, describe, expect, it, vi } from "vitest";
import { LIMITS } from "../../src/protocol/limits.ts";
import {
  bearer,
  followCaughtUp,
  isOver,
  makeJob,
  offsetsOf,
  readJob,
  report,
  reportOk,
  setClockAhead,
} from "./backend-jobs-support.ts";
import { OPERATOR } from "./support.ts";

afterEach(() => {
  vi.restoreAllMocks();
});

describe("a backend on the job's socket", () => {
  it("gets an `ack` for each report, and the events of its own job (B9, B9a)", async () => {
    const id = await makeJob();
    const backend = await followCaughtUp(id, "", await bearer({ publish: ["job:*"] }));
    const viewer = await followCaughtUp(id);
    backend.send({ type: "progress", progress: 40, message: "on it", ref: "a" });
    expect(await backend.next("ack")).toEqual({
      type: "ack",
      of: "progress",
      job_id: id,
      offset: 2,
      ref: "a",
    });
    expect(await backend.next("progress")).toMatchObject({ progress: 40, offset: 2 });
    backend.send({ type: "output", delta: "x" });
    expect(await backend.next("ack")).toEqual({ type: "ack", of: "output", job_id: id, offset: 3 });
    backend.send({ type: "complete", result: { ok: true }, ref: 3 });
    const last = await backend.until(isOver);
    expect(last).toMatchObject([
      { type: "output", offset: 3 },
      { type: "ack", of: "complete", offset: 4, ref: 3 },
      { status: "completed", offset: 4 },
    ]);
    expect((await backend.closed).code).toBe(1000);
    expect(offsetsOf(await viewer.until(isOver))).toEqual([2, 3, 4]);
  });

  it.each([100.5, -1, "50", null])("can't report a progress of %j (B3a)", async (progress) => {
    const id = await makeJob();
    expect((await report(id, "progress", { progress })).status).toBe(422);
    const backend = await followCaughtUp(id, "", OPERATOR);
    backend.send({ type: "progress", progress });
    expect(await backend.next("error")).toMatchObject({
      code: "malformed_frame",
      message: expect.stringContaining("progress: must be "),
    });
    expect(await readJob(id)).toMatchObject({ progress: 0 });
  });

  it("may send output again with its id: it is stored once, by HTTP and by socket (B4a)", async () => {
    const id = await makeJob();
    const backend = await followCaughtUp(id, "", OPERATOR);
    const first = await reportOk(id, "output", { delta: "a", id: "one" });
    expect(await reportOk(id, "output", { delta: "b" })).toMatchObject({ offset: 4 });
    expect(await reportOk(id, "output", { delta: "a", id: "one" })).toMatchObject({
      offset: first.offset,
    });
    backend.send({ type: "output", delta: "a", id: "one", ref: 1 });
    expect(await backend.next("ack")).toMatchObject({ ref: 1, offset: first.offset });
    expect(await readJob(id)).toMatchObject({ output: "ab" });
  });

  it("may send many reports in one turn: each is stored and acknowledged, in order (B9, B9a)", async () => {
    const id = await makeJob();
    const backend = await followCaughtUp(id, "", OPERATOR);
    for (let ref = 0; ref < 20; ref += 1) backend.send({ type: "output", delta: `${ref} `, ref });
    backend.send({ type: "fail", code: "oom", message: "no room", ref: "end" });
    const acks = (await backend.until(isOver)).filter(({ type }) => type === "ack");
    expect(acks.map(({ ref }) => ref)).toEqual([...Array(20).keys(), "end"]);
    expect(offsetsOf(acks)).toEqual(Array.from({ length: 21 }, (_, index) => 3 + index));
    expect(await readJob(id)).toMatchObject({
      status: "failed",
      output: [...Array(20).keys()].map((ref) => `${ref} `).join(""),
    });
  });

  it("gets `cancel` with the reason before the end of a canceled job (B10)", async () => {
    const id = await makeJob();
    const backend = await followCaughtUp(id, "", OPERATOR);
    const viewer = await followCaughtUp(id);
    await reportOk(id, "cancel", { reason: "no budget" });
    expect(await backend.until(isOver)).toMatchObject([
      { type: "cancel", job_id: id, reason: "no budget" },
      { status: "canceled" },
    ]);
    expect(await viewer.until(isOver)).toMatchObject([{ type: "progress", status: "canceled" }]);
    expect((await backend.closed).code).toBe(1000);
  });

  it("is refused without the right to publish, and after its token has expired (B9, B7a)", async () => {
    const id = await makeJob();
    const stranger = await followCaughtUp(id, "", await bearer({ rooms: ["*"] }));
    for (const [index, frame] of REPORTS.entries()) {
      stranger.send({ ...frame, ref: index });
      expect(await stranger.next("error")).toMatchObject({ code: "not_allowed", ref: index });
    }
    const brief = await followCaughtUp(id, "", await bearer({ publish: ["*"] }, 60));
    const report = { type: "progress", progress: 1 };
    brief.send({ ...report, ref: "in time" });
    expect(await brief.next("ack")).toMatchObject({ ref: "in time" });
    setClockAhead(61_000);
    brief.send({ ...report, ref: "late" });
    const answer = await brief.next(({ ref }) => ref === "late");
    expect(answer).toMatchObject({ type: "error", code: "not_authenticated" });
  });

  it("is closed after three malformed frames in a row, which doesn't affect other sockets (S6a)", async () => {
    const id = await makeJob();
    const backend = await followCaughtUp(id, "", OPERATOR);
    const viewer = await followCaughtUp(id);
    for (const frame of ["{", { type: "progress", progress: 500 }]) {
      backend.send(frame);
      expect(await backend.next("error")).toMatchObject({ code: "malformed_frame" });
    }
    backend.send({ type: "progress", progress: 5 });
    await backend.next("ack");
    backend.sendBytes(new Uint8Array([1]));
    expect(await backend.next("error")).toMatchObject({ code: "binary_frame" });
    for (const type of ["nonsense", "result"]) {
      backend.send({ type });
      expect(await backend.next("error")).toMatchObject({ code: "unknown_frame" });
    }
    expect((await backend.closed).code).toBe(4400);
    await report(id, "progress", { progress: 50 });
    expect(await viewer.next((frame) => frame.progress === 50)).toBeTruthy();
  });

  it("is closed with 1009 if it sends a frame that is too large (C3)", async () => {
    const id = await makeJob();
    const backend = await followCaughtUp(id, "", OPERATOR);
    backend.send({ type: "output", delta: "x".repeat(LIMITS.frameBytes) });
    expect(await backend.next("error")).toMatchObject({ code: "frame_too_large" });
    expect((await backend.closed).code).toBe(1009);
    expect(await readJob(id)).toMatchObject({ output: null });
  });
});

const REPORTS = [
  { type: "progress", progress: 5 },
  { type: "output", delta: "x" },
  { type: "complete" },
  { type: "fail", message: "no" },
  { type: "cancel" },
];
