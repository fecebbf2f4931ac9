import { describe, expect, it } from "vitest";
import { FLOW_WINDOW_BYTES, SLOW_BYTES } from "../../src/channel/flow.ts";
import {
  expectGapless,
  follow,
  followCaughtUp,
  hibernate,
  isOver,
  makeJob,
  offsetsOf,
  receiveSoFar,
  reportOk,
  sendBurst,
} from "./backend-jobs-support.ts";
import { OPERATOR } from "./support.ts";

describe("a subscriber of a job without a space with `?acks=1`", () => {
  const delta = "x".repeat(300_000);
  const message = "x".repeat(1_000);

  it("gets every progress of a burst while it acknowledges (B13, S18)", async () => {
    const id = await makeJob();
    const backend = await followCaughtUp(id, "", OPERATOR);
    const viewer = await followCaughtUp(id, "?acks=1");
    for (let round = 0; round < 10; round += 1) {
      sendBurst(backend, 20, (index) => ({ type: "progress", progress: index, message }));
      const frames = await viewer.until((frame) => frame.offset === 1 + 20 * (round + 1));
      expect(frames).toHaveLength(20);
      viewer.send({ type: "ack", offset: frames.at(-1)?.offset });
      await receiveSoFar(viewer);
    }
  });

  it("gets thinned progress once 64 KiB are not acknowledged, and always the end (B13, S18a)", async () => {
    const id = await makeJob();
    const backend = await followCaughtUp(id, "", OPERATOR);
    const viewer = await followCaughtUp(id, "?acks=1");
    const from = Date.now();
    sendBurst(backend, 200, (index) => ({ type: "progress", progress: index / 2, message }));
    backend.send({ type: "complete" });
    const frames = await viewer.until(isOver);
    expectGapless(frames, 1);
    const unthrottled = Math.ceil(SLOW_BYTES / 1_000);
    expect(frames.length).toBeGreaterThan(unthrottled / 2);
    expect(frames.length).toBeLessThanOrEqual(unthrottled + 2 + (Date.now() - from) / 50);
    expect(frames.at(-1)).toMatchObject({ status: "completed", offset: 202 });
  });

  it("is closed with 4429 when it falls behind, and goes on from its position (B13, S18b)", async () => {
    const id = await makeJob();
    const slow = await follow(id, "?acks=1");
    const { epoch } = await slow.next("connection");
    for (let piece = 0; piece < 5; piece += 1) await reportOk(id, "output", { delta });
    const { code, reason } = await slow.closed;
    expect([code, reason]).toEqual([4429, "too slow; resume with since"]);
    const got = await slow.until((frame) => Number(frame.offset) * 300_000 > FLOW_WINDOW_BYTES);
    const last = got.at(-1)?.offset;
    const back = await follow(id, `?acks=1&since=${epoch}:${Number(last)}`);
    expect(await back.next("connection")).toMatchObject({ recovered: true });
    await reportOk(id, "complete");
    const rest = offsetsOf(await back.until(isOver)).map(Number);
    expect(rest).toEqual(rest.map((_, index) => Number(last) + 1 + index));
  });

  it("is not cut off while it keeps up, even if the object hibernates (S18b)", async () => {
    const id = await makeJob();
    const viewer = await followCaughtUp(id, "?acks=1");
    for (let piece = 0; piece < 10; piece += 1) {
      await reportOk(id, "output", { delta });
      const { offset } = await viewer.next("output");
      viewer.send({ type: "ack", offset });
      await receiveSoFar(viewer);
      if (piece % 5 === 0) await hibernate(id);
    }
    await reportOk(id, "complete");
    expect(await viewer.next(isOver)).toMatchObject({ offset: 13 });
  });

  it("is cut off even if the object hibernates after every unacknowledged frame (S18b)", async () => {
    const id = await makeJob();
    const slow = await followCaughtUp(id, "?acks=1");
    for (let piece = 0; piece < 5; piece += 1) {
      await reportOk(id, "output", { delta });
      await hibernate(id);
    }
    expect((await slow.closed).code).toBe(4429);
  });
});
