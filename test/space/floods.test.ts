import { describe, expect, it, vi } from "vitest";
import { ObjectSockets } from "../../src/objects/object-sockets.ts";
import { LIMITS } from "../../src/protocol/limits.ts";
import { pass, runInFakeRuntime } from "../support/runtime/globals.ts";
import type { FakeSocket } from "../support/runtime/socket.ts";
import { SpaceHost } from "./space-host.ts";

runInFakeRuntime();

function push(socket: FakeSocket, count: number, frame: object): void {
  for (let n = 0; n < count; n += 1) socket.push(frame);
}

describe("the socket of a job that sends too many frames", () => {
  it("is closed at once, before what waits of it is handled (S20)", async () => {
    const space = await SpaceHost.make({ offline: "queue" });
    const viewer = await space.followJob(await space.submit(), { acks: true });
    viewer.take();
    // The first one counts as a tenth, all others as frames.
    push(viewer, LIMITS.frameBurst, { type: "ack", offset: 1 });
    // No timer has gone off yet, so that most of the frames still wait for their turn.
    expect(viewer.closed).toBe(null);
    push(viewer, 1, { type: "ack", offset: 1 });
    expect(viewer.closed?.code).toBe(4429);
    expect(viewer.take()).toMatchObject([{ type: "error", code: "rate_limited" }]);
  });

  it("has what it sends after that thrown away unread", async () => {
    const space = await SpaceHost.make({ offline: "queue" });
    const viewer = await space.followJob(await space.submit());
    push(viewer, LIMITS.frameBurst + 1, { type: "ack", offset: 1 });
    expect(viewer.closed?.code).toBe(4429);
    const ignore = vi.spyOn(ObjectSockets.prototype, "ignore");
    const parse = vi.spyOn(JSON, "parse");
    space.host.onMessage(viewer, '{"type":"cancel"}');
    expect(ignore).toHaveBeenCalledTimes(1);
    expect(parse).not.toHaveBeenCalled();
    await pass(5);
    expect(viewer.take().map(({ status }) => status)).not.toContain("canceled");
  });

  it("may acknowledge each of the frames that it is sent, far more than it may send others (S20a)", async () => {
    const space = await SpaceHost.make({ offline: "queue" });
    const worker = await space.connect();
    const id = await space.submit();
    const viewer = await space.followJob(id, { acks: true });
    viewer.take();
    for (let n = 0; n < 40; n += 1) {
      for (let piece = 0; piece < 100; piece += 1) {
        await space.report(worker, id, { type: "output", delta: "x" });
      }
      for (const { offset } of viewer.take()) viewer.push({ type: "ack", offset });
      await pass(1);
    }
    expect(viewer.closed).toBe(null);
  });

  it("may acknowledge each of the frames that it was sent to catch up (S18c, S20a)", async () => {
    const space = await SpaceHost.make({ offline: "queue" });
    const worker = await space.connect();
    const id = await space.submit();
    for (let piece = 0; piece < 2_500; piece += 1) {
      // Pieces of text would be joined (C10c).
      await space.report(worker, id, { type: "output", delta: piece });
    }
    const viewer = await space.followJob(id, { acks: true });
    const offsets = viewer.takeOnly("output").map(({ offset }) => offset);
    expect(offsets.length).toBeGreaterThan(2_000);
    for (const offset of offsets) viewer.push({ type: "ack", offset });
    await pass(5);
    expect(viewer.closed).toBe(null);
  });
});
