import { describe, expect, it } from "vitest";
import { pass, runInFakeRuntime } from "../support/runtime/globals.ts";
import type { FakeSocket, Frame } from "../support/runtime/socket.ts";
import { ask, SpaceHost, submitOver } from "./space-host.ts";

runInFakeRuntime();

const KIB = 1_024;

function offsetsOf(frames: readonly Frame[]): unknown[] {
  return frames.map(({ offset }) => offset);
}

async function report(space: SpaceHost, worker: FakeSocket, id: string, count: number) {
  for (let step = 1; step <= count; step += 1) {
    await space.report(worker, id, { type: "progress", progress: step });
  }
}

describe("a follower of a job", () => {
  it("gets every event once, in order, from its own position on (C9, S17)", async () => {
    const space = await SpaceHost.make();
    const worker = await space.connect();
    const id = await space.submit();
    const first = await space.followJob(id);
    await report(space, worker, id, 3);
    const second = await space.followJob(id, { since: `${id.slice(-8)}:3` });
    await report(space, worker, id, 2);
    await space.complete(worker, id);
    expect(offsetsOf(first.take())).toEqual([2, 2, 3, 4, 5, 6, 7, 8]);
    const [connection, ...events] = second.take();
    expect(connection).toMatchObject({ type: "connection", offset: 3, recovered: true });
    expect(offsetsOf(events)).toEqual([4, 5, 6, 7, 8]);
  });

  it("that comes after the end gets the end and is closed (S13a)", async () => {
    const space = await SpaceHost.make();
    const worker = await space.connect();
    const id = await space.submit();
    await space.report(worker, id, { type: "output", delta: "a" });
    await space.complete(worker, id, "r");
    const viewer = await space.followJob(id);
    expect(viewer.take()).toMatchObject([
      { type: "connection", offset: 4, recovered: false },
      { type: "output", delta: "a", offset: 3 },
      { type: "progress", status: "completed", result: "r", offset: 4 },
    ]);
    expect(viewer.closed?.code).toBe(1000);
    const space2 = await space.follow();
    expect(await ask(space2, { type: "follow", job_id: id })).toHaveLength(3);
    expect(space2.closed).toBe(null);
  });

  it("is no longer told of a job that it left, and doesn't disturb the others", async () => {
    const space = await SpaceHost.make();
    const worker = await space.connect();
    const id = await space.submit();
    const leaves = await space.followJob(id);
    const stays = await space.followJob(id);
    leaves.leave(1000);
    await pass();
    stays.take();
    await report(space, worker, id, 1);
    expect(stays.take()).toHaveLength(1);
    await pass(1_100);
    expect(space.reports.at(-1)).toMatchObject({ jobs_with_connections: 1, connections: 2 });
    stays.leave(1000);
    await pass(1_100);
    expect(space.reports.at(-1)).toMatchObject({ jobs_with_connections: 0, connections: 1 });
  });

  it("gets a `gap` before what is left if the beginning of the log was dropped (C11a, C11b)", async () => {
    const space = await SpaceHost.make();
    const worker = await space.connect();
    const id = await space.submit();
    for (let piece = 0; piece < 8; piece += 1) {
      await space.report(worker, id, { type: "output", delta: `${piece}${"x".repeat(200 * KIB)}` });
      await pass(20);
    }
    const viewer = await space.followJob(id);
    const frames = viewer.take();
    expect(frames.map(({ type }) => type).slice(0, 3)).toEqual(["connection", "gap", "output"]);
    const [, gap, ...rest] = frames;
    expect(gap).toMatchObject({ type: "gap", job_id: id });
    expect(rest[0]?.offset).toBe(Number(gap?.offset) + 1);
    expect(Number(gap?.offset)).toBeGreaterThan(2);
    expect((await space.job(id))?.output_truncated).toBe(true);
    const back = await space.followJob(id, { since: `${id.slice(-8)}:${gap?.offset}` });
    expect(back.take()[0]).toMatchObject({ recovered: true });
    const late = await space.followJob(id, { since: `${id.slice(-8)}:2` });
    expect(late.take().slice(0, 2)).toMatchObject([{ recovered: false }, { type: "gap" }]);
  });
});

describe("a follower that wants fewer events", () => {
  it("gets what was held back after the object slept (S17c)", async () => {
    const space = await SpaceHost.make();
    const worker = await space.connect();
    const id = await space.submit();
    const viewer = await space.followJob(id, { maxRate: 1 });
    await report(space, worker, id, 4);
    const before = viewer.take();
    expect(before.length).toBeLessThan(2 + 4);
    await space.sleep();
    const sent = before.concat(viewer.take());
    expect(sent.at(-1)).toMatchObject({ progress: 4, offset: 6 });
    await space.host.hibernate();
    expect(viewer.take()).toEqual([]);
    await report(space, worker, id, 1);
    await pass(1_100);
    expect(viewer.take()).toMatchObject([{ offset: 7 }]);
  });

  it("gets a gap and a snapshot if what was held back was dropped from the log meanwhile (C11a)", async () => {
    const space = await SpaceHost.make();
    const worker = await space.connect();
    const id = await space.submit();
    const viewer = await space.followJob(id, { maxRate: 1 });
    await report(space, worker, id, 3);
    const sentTo = Number(viewer.take().at(-1)?.offset);
    await space.report(worker, id, { type: "output", delta: "held back behind the progress" });
    for (let piece = 0; piece < 7; piece += 1) {
      await space.report(worker, id, { type: "output", delta: "x".repeat(250 * KIB) });
    }
    expect(Number(viewer.take().at(-1)?.offset ?? sentTo)).toBe(sentTo);
    await space.host.hibernate();
    const frames = viewer.take();
    expect(frames[0]).toMatchObject({ type: "gap" });
    expect(Number(frames[0]?.offset)).toBeGreaterThan(sentTo);
    expect(frames.at(-1)).toMatchObject({ type: "progress", offset: 13 });
  });

  it("that acknowledges too little is closed with 4429, and may go on where it was (S18b)", async () => {
    const space = await SpaceHost.make();
    const worker = await space.connect();
    const id = await space.submit();
    const viewer = await space.followJob(id, { acks: true });
    const other = await space.followJob(id);
    for (let piece = 0; piece < 8; piece += 1) {
      await space.report(worker, id, { type: "output", delta: "x".repeat(200 * KIB) });
    }
    expect(viewer.closed?.code).toBe(4429);
    await pass(1_100);
    expect(space.reports.at(-1)).toMatchObject({ jobs_with_connections: 1, connections: 2 });
    expect(other.closed).toBe(null);
    expect(other.takeOnly("output")).toHaveLength(8);
    await space.complete(worker, id);
    expect(viewer.closed?.code).toBe(4429);
  });

  it("that was cut off for that no longer counts as a follower", async () => {
    const space = await SpaceHost.make();
    const worker = await space.connect();
    const id = await space.submit();
    await space.followJob(id, { acks: true });
    for (let piece = 0; piece < 8; piece += 1) {
      await space.report(worker, id, { type: "output", delta: "x".repeat(200 * KIB) });
    }
    await pass(1_100);
    expect(space.reports.at(-1)).toMatchObject({ jobs_with_connections: 0, connections: 1 });
  });

  it("and acknowledges what it gets is not closed, however much comes (S18)", async () => {
    const space = await SpaceHost.make();
    const worker = await space.connect();
    const id = await space.submit();
    const viewer = await space.followJob(id, { acks: true });
    for (let piece = 0; piece < 10; piece += 1) {
      await space.report(worker, id, { type: "output", delta: "x".repeat(200 * KIB) });
      const [last] = viewer.take().slice(-1);
      viewer.push({ type: "ack", offset: last?.offset });
      await pass();
    }
    expect(viewer.closed).toBe(null);
  });
});

describe("a job of a socket that submitted it", () => {
  it("is not followed by a later socket of the same client", async () => {
    const space = await SpaceHost.make({ offline: "queue" });
    const first = await space.follow();
    const id = await submitOver(first);
    first.leave(1006);
    const second = await space.follow();
    second.take();
    await space.cancel(id);
    expect(second.takeOnly("progress")).toEqual([]);
  });

  it("that is too many to remember as unfollowed are still unfollowed while the object is awake", async () => {
    const space = await SpaceHost.make({ offline: "queue" });
    const viewer = await space.follow();
    const id = await submitOver(viewer);
    await ask(viewer, { type: "unfollow", job_id: id });
    await space.cancel(id);
    expect(viewer.takeOnly("progress")).toEqual([]);
  });
});
