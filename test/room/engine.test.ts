import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import { userOf, World } from "../gateway/world.ts";
import { settle } from "../support/fake-object.ts";

const ROOM = "project:1";
const DAY = 86_400_000;

beforeEach(() => {
  vi.spyOn(console, "error").mockReturnValue();
});

afterEach(() => {
  vi.useRealTimers();
  vi.restoreAllMocks();
});

const WHOLE = { since: null, before: null, order: "asc", limit: 100, filter: null } as const;

describe("events that are published to a room", () => {
  it("get offsets from 1 on in their order, also after the room lost its memory (R6)", async () => {
    const room = new World().room(ROOM);
    expect(await room.publish({}, {})).toMatchObject([{ offset: 1 }, { offset: 2 }]);
    room.restart();
    expect(await room.publish({})).toMatchObject([{ offset: 3, repeated: false }]);
  });

  it("with a known id keep their place and their time, and are sent to nobody (R9a)", async () => {
    vi.useFakeTimers({ toFake: ["Date"] });
    const room = new World().room(ROOM);
    const [first] = await room.publish({ id: "e1", n: 1 }, { id: "e2" });
    vi.advanceTimersByTime(5_000);
    const { socket } = room.open(userOf("ann"));
    socket.take();
    const again = await room.publish({ id: "e1", n: 9 }, { n: 3 });
    expect(again).toMatchObject([
      { id: "e1", offset: 1, at: first?.at, repeated: true },
      { offset: 3, repeated: false },
    ]);
    expect(socket.take()).toMatchObject([{ offset: 3, data: { n: 3 } }]);
    expect(room.engine.history(WHOLE).events.map(({ text }) => JSON.parse(text).data)).toEqual([
      { n: 1 },
      { n: 0 },
      { n: 3 },
    ]);
  });

  it("twice under one id in the same turn are stored once (R9a)", async () => {
    const room = new World().room(ROOM);
    const [together, apart] = await Promise.all([
      room.publish({ id: "e1", n: 1 }, { id: "e1", n: 2 }),
      room.publish({ id: "e1", n: 3 }, { id: "e2" }),
    ]);
    expect([...together, ...apart].map(({ offset, repeated }) => [offset, repeated])).toEqual([
      [1, false],
      [1, true],
      [1, true],
      [2, false],
    ]);
    expect(room.engine.logEnd.last).toBe(2);
  });

  it("without an id get one of their own each", async () => {
    const room = new World().room(ROOM);
    const ids = (await room.publish({}, {}, {})).map(({ id }) => id);
    expect(new Set(ids).size).toBe(3);
    for (const id of ids) expect(id).toMatch(/^[0-9A-HJKMNP-TV-Z]{26}$/);
  });

  it("are answered only once they are stored, and sent after that", async () => {
    const room = new World().room(ROOM);
    const { socket } = room.open(userOf("ann"));
    socket.take();
    const send = vi.spyOn(socket, "send");
    const published = room.publishNow({ type: "step.done", data: {} }).then(() => {
      expect(room.engine.logEnd.last).toBe(1);
    });
    expect(send).not.toHaveBeenCalled();
    await published;
    await settle();
    expect(send).toHaveBeenCalledTimes(1);
  });

  it("that can't be stored crash the room, are answered by no place, and are sent to nobody", async () => {
    const room = new World().room(ROOM);
    const { socket } = room.open(userOf("ann"));
    socket.take();
    const circle: Record<string, unknown> = {};
    circle.self = circle;
    process.once("unhandledRejection", () => undefined);
    const answered = vi.fn();
    void room.publishNow({ type: "step.done", data: circle as never }).then(answered, answered);
    await settle();
    expect(room.crashes).toHaveLength(1);
    expect(answered).not.toHaveBeenCalledWith(expect.arrayContaining([expect.anything()]));
    expect(socket.take()).toEqual([]);
  });
});

describe("a room with many subscribers", () => {
  it("waits for more events also if its subscribers are at gateways and at the room together", async () => {
    const room = new World().room(ROOM);
    for (let n = 0; n < 50; n += 1) room.open(userOf(`user-${n}`));
    vi.spyOn(room.deliveries, "subscribers", "get").mockReturnValue(50);
    const wait = vi.spyOn(scheduler, "wait");
    await room.publish({});
    expect(wait).toHaveBeenCalledTimes(1);
    room.open(userOf("user-0")).leave(true);
    vi.spyOn(room.deliveries, "subscribers", "get").mockReturnValue(49);
    await room.publish({});
    expect(wait).toHaveBeenCalledTimes(1);
  });

  it("stores and sends together what is published within a millisecond", async () => {
    const room = new World().room(ROOM);
    for (let n = 0; n < 100; n += 1) room.open(userOf(`user-${n}`), { batch: true });
    const { socket } = room.open(userOf("ann"), { batch: true });
    const before = socket.messages.length;
    const first = room.publishNow({ type: "a.b", data: {} });
    await Promise.resolve();
    await Promise.resolve();
    const second = room.publishNow({ type: "a.b", data: {} });
    await Promise.all([first, second]);
    await settle();
    expect(socket.messages.length - before).toBe(1);
  });
});

describe("the log of a room", () => {
  it("is read from a position on, or from its oldest event if the position is unknown (R4b)", async () => {
    const room = new World().room(ROOM);
    await room.publish({}, {}, {});
    const { engine, epoch } = room;
    const offsets = (since: { epoch: string; offset: number } | null) => {
      const { recovered, events, last } = engine.read(since);
      return [recovered, events.map(({ offset }) => offset), last];
    };
    expect(offsets({ epoch, offset: 1 })).toEqual([true, [2, 3], 3]);
    expect(offsets({ epoch, offset: 3 })).toEqual([true, [], 3]);
    expect(offsets({ epoch, offset: 4 })).toEqual([false, [1, 2, 3], 3]);
    expect(offsets({ epoch: "other", offset: 1 })).toEqual([false, [1, 2, 3], 3]);
    expect(offsets(null)).toEqual([false, [1, 2, 3], 3]);
  });

  it("loses its events a day after they were published, and the offsets go on (R6)", async () => {
    vi.useFakeTimers({ toFake: ["Date"] });
    const room = new World().room(ROOM);
    await room.publish({}, {});
    const { engine } = room;
    expect(engine.expiresAt()).toBeGreaterThanOrEqual(Date.now() + DAY);
    vi.advanceTimersByTime(DAY + 1);
    engine.expire(Date.now());
    expect([engine.isEmpty(), engine.expiresAt()]).toEqual([true, null]);
    expect(engine.read({ epoch: room.epoch, offset: 1 }).recovered).toBe(false);
    expect(engine.read({ epoch: room.epoch, offset: 2 })).toMatchObject({
      recovered: true,
      last: 2,
    });
    expect(await room.publish({})).toMatchObject([{ offset: 3 }]);
    expect(engine.isEmpty()).toBe(false);
  });

  it("of a room that nobody has used is empty, and reading it stores nothing (R18f)", () => {
    const room = new World().room(ROOM);
    expect(room.engine.history(WHOLE)).toMatchObject({ epoch: "", last: 0, events: [] });
    expect(room.engine.read({ epoch: "", offset: 0 }).events).toEqual([]);
    expect([room.engine.isEmpty(), room.engine.expiresAt()]).toEqual([true, null]);
    expect(room.state.kv.rows.size).toBe(0);
  });

  it("is paged through a filter: the limit counts the events that pass (R18c)", async () => {
    const room = new World().room(ROOM);
    for (let n = 0; n < 3; n += 1) await room.publish({ type: "a.x" }, { type: "b.x" });
    const page = room.engine.history({ ...WHOLE, limit: 2, filter: { types: ["b.*"] } });
    expect(page.events.map(({ offset }) => offset)).toEqual([2, 4]);
    expect(page).toMatchObject({ more: true, last: 6, epoch: room.epoch });
  });
});

describe("a room that is erased", () => {
  it("begins anew: another epoch, offset 1, and no old position is valid (R18d)", async () => {
    const room = new World().room(ROOM);
    await room.publish({ id: "e1" }, {});
    const before = room.epoch;
    room.engine.erase();
    expect(room.state.kv.rows.size).toBe(0);
    expect(room.engine.history(WHOLE)).toMatchObject({ epoch: "", last: 0, events: [] });
    expect(await room.publish({ id: "e1" })).toMatchObject([{ offset: 1, repeated: false }]);
    expect(room.epoch).not.toBe(before);
    expect(room.engine.read({ epoch: before, offset: 1 }).recovered).toBe(false);
    room.restart();
    expect(room.epoch).not.toBe(before);
    expect(room.engine.read({ epoch: room.epoch, offset: 0 })).toMatchObject({ recovered: true });
  });

  it("has another epoch even if it is only followed again", () => {
    const room = new World().room(ROOM);
    room.open(userOf("ann")).leave();
    const before = room.epoch;
    room.engine.erase();
    const { socket } = room.open(userOf("ann"));
    expect(socket.frames[0]).toMatchObject({ type: "connection", offset: 0 });
    expect(socket.frames[0]?.epoch).not.toBe(before);
  });
});

describe("a gateway that joins while its answer to an earlier call is on the way", () => {
  it("stays joined, though the answer was that nobody follows the room there (R6)", async () => {
    const world = new World();
    const room = world.room(ROOM);
    const { promise: held, resolve: release } = Promise.withResolvers<void>();
    world.onCall = (call) => (call === "deliver" ? held : null);
    room.engine.join("gate", [], false);
    await room.publish({});
    room.engine.join("gate", [], false);
    release();
    await settle();
    expect(room.engine.gateways()).toEqual(["gate"]);
    await room.publish({});
    expect(room.engine.gateways()).toEqual([]);
  });
});

describe("a room is idle", () => {
  it("only without sockets, gateways, users who may come back, and events that wait to be stored", async () => {
    vi.useFakeTimers({ toFake: ["Date"] });
    const room = new World().room(ROOM);
    const { engine } = room;
    expect(engine.isIdle()).toBe(true);
    const client = room.open(userOf("ann"));
    expect(engine.isIdle()).toBe(false);
    client.leave(true);
    expect(engine.isIdle()).toBe(true);
    const dropped = room.open(userOf("bob"));
    dropped.leave(false);
    expect(engine.isIdle()).toBe(false);
    engine.presence.settle(Date.now() + 6_000);
    expect(engine.isIdle()).toBe(true);
    engine.join("gate", [], false);
    expect(engine.isIdle()).toBe(false);
    engine.leave("gate");
    expect(engine.isIdle()).toBe(true);
    const published = room.publish({});
    expect(engine.isIdle()).toBe(false);
    await published;
    expect(engine.isIdle()).toBe(true);
  });
});
