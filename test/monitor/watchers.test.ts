import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import { Watchers } from "../../src/monitor/watchers.ts";
import { FakeSocket, FakeState } from "../support/fake-object.ts";

beforeEach(() => {
  vi.useFakeTimers();
});

afterEach(() => {
  vi.useRealTimers();
});

function watchersOf(state = new FakeState()) {
  const made = { frames: 0 };
  const watchers = new Watchers(state.ctx, () => {
    made.frames += 1;
    return { type: "system_status", n: made.frames };
  });
  const open = () => {
    const socket = new FakeSocket();
    watchers.accept(socket.end, { kind: "operator" });
    return socket;
  };
  const send = (socket: FakeSocket, text: string) => {
    watchers.onMessage(socket.end, text, "now");
    return socket.take();
  };
  return { state, watchers, open, send, made };
}

describe("those who watch the edge's numbers", () => {
  it("get them when they come (M2)", () => {
    const { watchers, open } = watchersOf();
    expect(watchers.hasAny()).toBe(false);
    expect(open().take()).toEqual([{ type: "system_status", n: 1 }]);
    expect(watchers.hasAny()).toBe(true);
  });

  it("get them at once when they change, then at most once a second, the newest last (M2)", () => {
    const { watchers, open, made } = watchersOf();
    const [one, two] = [open(), open()];
    for (const socket of [one, two]) socket.take();
    for (let n = 0; n < 5; n += 1) watchers.markChanged();
    expect(one.take()).toEqual([{ type: "system_status", n: 3 }]);
    expect(two.take()).toEqual([{ type: "system_status", n: 3 }]);
    vi.advanceTimersByTime(999);
    watchers.markChanged();
    expect(one.take()).toEqual([]);
    vi.advanceTimersByTime(1);
    expect(one.take()).toEqual([{ type: "system_status", n: 4 }]);
    vi.advanceTimersByTime(10_000);
    expect([one.take(), made.frames, vi.getTimerCount()]).toEqual([[], 4, 0]);
    watchers.markChanged();
    expect(one.take()).toHaveLength(1);
  });

  it("cost nothing while there are none", () => {
    const { watchers, open, made } = watchersOf();
    watchers.markChanged();
    const socket = open();
    socket.close();
    watchers.onClose(socket.end);
    watchers.markChanged();
    expect([watchers.hasAny(), made.frames, vi.getTimerCount()]).toEqual([false, 1, 0]);
  });

  it("are still known after the monitor lost its memory", () => {
    const { state, open } = watchersOf();
    const socket = open();
    socket.take();
    const { watchers } = watchersOf(state);
    expect(watchers.hasAny()).toBe(true);
    watchers.markChanged();
    expect(socket.take()).toHaveLength(1);
  });

  it("are closed after three malformed frames in a row, and only then (M5)", () => {
    const { open, send, watchers } = watchersOf();
    const socket = open();
    socket.take();
    for (let round = 0; round < 3; round += 1) {
      expect(send(socket, "{")).toMatchObject([{ type: "error", code: "malformed_frame" }]);
      expect(send(socket, '{"type":"pong"}')).toMatchObject([{ type: "error" }]);
      expect(send(socket, '{"type":"ping"}')).toEqual([{ type: "pong", timestamp: "now" }]);
    }
    expect(send(socket, "ping")).toEqual([]);
    for (const _ of [1, 2]) send(socket, "{");
    expect(socket.closed).toBeNull();
    expect(send(socket, "{")).toMatchObject([{ type: "error" }]);
    expect(socket.closed?.code).toBe(4400);
    expect(watchers.hasAny()).toBe(false);
    expect(send(socket, '{"type":"ping"}')).toEqual([]);
  });

  it("have their malformed frames counted also across hibernation (M5)", () => {
    const { state, open, send } = watchersOf();
    const socket = open();
    for (const _ of [1, 2]) send(socket, "{");
    watchersOf(state).send(socket, "{");
    expect(socket.closed?.code).toBe(4400);
  });
});
