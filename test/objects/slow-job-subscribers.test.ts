import { evictDurableObject, runInDurableObject } from "cloudflare:test";
import { describe, expect, it } from "vitest";
import { FLOW_WINDOW_BYTES, SLOW_BYTES } from "../../src/channel/flow.ts";
import { expectGapless, isOver, offsetsOf, sendBurst } from "./backend-jobs-support.ts";
import {
  call,
  connectWorker,
  makeSpace,
  objectOf,
  problemOf,
  submit,
  TestSocket,
} from "./support.ts";

const message = "x".repeat(1_000);
const delta = "x".repeat(300_000);

/** Starts a job on a worker; `of` has the fields of the worker's frames about it. */
async function startJob() {
  const space = await makeSpace();
  const { socket: worker } = await connectWorker(space);
  const { id } = await submit(space.name);
  await worker.next("job");
  return { space, id, worker, of: { job_id: id, attempt: 1 } };
}

/** Opens the socket of a job and reads its snapshot; returns the socket and the position after the snapshot. */
async function follow(id: string, query = "") {
  const socket = await TestSocket.open(`/ws/${id}${query}`);
  const { epoch } = await socket.next("connection");
  const { offset } = await socket.next("progress");
  return { socket, epoch: String(epoch), offset: Number(offset) };
}

function progress(of: object, count: number) {
  return [
    count,
    (index: number) => ({ type: "progress", ...of, progress: index / 2, message }),
  ] as const;
}

describe("a socket of a job of a space", () => {
  it("without options gets each of 200 events sent at once, and the end (S17)", async () => {
    const { id, worker, of } = await startJob();
    const viewer = await follow(id);
    sendBurst(worker, ...progress(of, 200));
    worker.send({ type: "result", ...of, output: "done" });
    const offsets = offsetsOf(await viewer.socket.until(isOver));
    expect(offsets).toEqual(Array.from({ length: 201 }, (_, index) => viewer.offset + 1 + index));
  });

  it("with `?max_rate=` gets fewer progress frames, but all of the output and the end (S17a, S17b, S17c)", async () => {
    const { id, worker, of } = await startJob();
    const viewer = await follow(id, "?max_rate=1");
    const from = Date.now();
    sendBurst(worker, 60, (index) =>
      index % 20 === 0
        ? { type: "output", ...of, delta: index }
        : { type: "progress", ...of, progress: index },
    );
    worker.send({ type: "result", ...of, output: "done" });
    const frames = await viewer.socket.until(isOver);
    expectGapless(frames, viewer.offset);
    expect(frames.filter(({ type }) => type === "output").map((frame) => frame.delta)).toEqual([
      20, 40, 60,
    ]);
    const states = frames.filter(({ type }) => type === "progress");
    expect(states.length).toBeLessThanOrEqual(3 + (Date.now() - from) / 1_000);
    expect(frames.at(-1)).toMatchObject({ status: "completed", result: "done" });
  });

  it("that acknowledges nothing gets thinned progress beyond 64 KiB, and always the end (S18a)", async () => {
    const { id, worker, of } = await startJob();
    const viewer = await follow(id, "?acks=1");
    const from = Date.now();
    sendBurst(worker, ...progress(of, 200));
    worker.send({ type: "result", ...of, output: "done" });
    const frames = await viewer.socket.until(isOver);
    expectGapless(frames, viewer.offset);
    const unthrottled = Math.ceil(SLOW_BYTES / 1_000);
    expect(frames.length).toBeGreaterThan(unthrottled / 2);
    expect(frames.length).toBeLessThanOrEqual(unthrottled + 2 + (Date.now() - from) / 50);
    expect(frames.at(-1)).toMatchObject({ status: "completed" });
  });

  it("gets the progress that was held back as soon as it has acknowledged the rest (S18a)", async () => {
    const { id, worker, of } = await startJob();
    const viewer = await follow(id, "?acks=1");
    sendBurst(worker, ...progress(of, 100));
    const last = viewer.offset + 100;
    for (;;) {
      const { offset } = await viewer.socket.next("progress");
      viewer.socket.send({ type: "ack", offset });
      if (offset === last) break;
    }
    sendBurst(worker, ...progress(of, 20));
    const frames = await viewer.socket.until((frame) => frame.offset === last + 20);
    expect(frames).toHaveLength(20);
  });

  it("that falls behind is closed with 4429, and goes on from its position without a gap (S18b, C9)", async () => {
    const { id, worker, of } = await startJob();
    const viewer = await follow(id, "?acks=1");
    for (let piece = 0; piece < 5; piece += 1) worker.send({ type: "output", ...of, delta });
    const { code, reason } = await viewer.socket.closed;
    expect([code, reason]).toEqual([4429, "too slow; resume with since"]);
    const pieces = Math.ceil(FLOW_WINDOW_BYTES / delta.length);
    const got = await viewer.socket.until((frame) => frame.offset === viewer.offset + pieces);
    expectGapless(got, viewer.offset);
    const since = viewer.offset + pieces;
    const back = await TestSocket.open(`/ws/${id}?acks=1&since=${viewer.epoch}:${since}`);
    expect(await back.next("connection")).toMatchObject({ recovered: true });
    worker.send({ type: "result", ...of, output: "done" });
    const rest = await back.until(isOver);
    expectGapless(rest, since);
    expect(rest.at(-1)).toMatchObject({ status: "completed", result: "done" });
  });

  it("gets frames that were held back when the object was evicted from memory (S17c)", async () => {
    const { space, id, worker, of } = await startJob();
    const viewer = await follow(id, "?max_rate=20");
    for (const piece of ["a", "b"]) worker.send({ type: "output", ...of, delta: piece });
    await viewer.socket.next((frame) => frame.delta === "b");
    await runInDurableObject(objectOf(space), (_object, ctx) => {
      for (const socket of ctx.getWebSockets()) {
        const at = socket.deserializeAttachment();
        if (!at.throttled) continue;
        const throttled = { ...at.throttled, sentTo: viewer.offset };
        socket.serializeAttachment({ ...at, throttled });
      }
    });
    await evictDurableObject(objectOf(space));
    worker.send({ type: "result", ...of, output: "done" });
    const frames = await viewer.socket.until(isOver);
    expectGapless(frames, viewer.offset);
    expect(frames).toHaveLength(3);
  });

  it("may send `ack` without `?acks=1`, which changes nothing and doesn't cancel the job (S18, S13)", async () => {
    const { id, worker, of } = await startJob();
    const viewer = await follow(id, "");
    viewer.socket.send({ type: "ack", offset: 1 });
    viewer.socket.send({ type: "ack", offset: -1 });
    expect(await viewer.socket.next("error")).toMatchObject({ code: "malformed_frame" });
    worker.send({ type: "result", ...of, output: "done" });
    expect(await viewer.socket.next(isOver)).toMatchObject({ status: "completed" });
  });

  it("is refused if its `?max_rate=` is out of range", async () => {
    const { id } = await startJob();
    const opened = call("GET", `/ws/${id}?max_rate=0`, undefined, { upgrade: "websocket" });
    expect((await problemOf(422, opened)).errors).toMatchObject([{ path: "max_rate" }]);
  });
});
