import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import type { RoomDelivery } from "../../src/room/calls.ts";
import { type Frame, settle } from "../support/fake-object.ts";
import { userOf, World } from "./world.ts";

const ROOM = "project:1";

beforeEach(() => {
  vi.spyOn(console, "error").mockReturnValue();
});

afterEach(() => {
  vi.restoreAllMocks();
});

/** Type and offset of each frame of the room. */
function placesOf(frames: readonly Frame[]): unknown[] {
  return frames.map(({ type, offset }) => (type === "step.done" ? offset : [type, offset]));
}

async function following(since?: string) {
  const world = new World();
  const gateway = world.gateway();
  const client = await gateway.open(userOf("ann"));
  await client.subscribe(ROOM, since === undefined ? {} : { since });
  const room = world.room(ROOM);
  /** Brings the gateway a delivery of the test's own making. */
  const deliver = async (delivery: Partial<RoomDelivery>) => {
    const whole = { room: ROOM, epoch: room.epoch, events: [], last: 0, presence: [], ...delivery };
    const answer = await gateway.handler.subscriptions.deliver(whole).catch(() => "failed");
    await settle();
    return answer;
  };
  return { world, gateway, client, room, deliver };
}

function event(offset: number) {
  const frame = {
    type: "step.done",
    room: ROOM,
    id: `e${offset}`,
    offset,
    timestamp: "",
    data: {},
  };
  return { offset, text: JSON.stringify(frame) };
}

describe("a client of a gateway", () => {
  it("gets an event once, even if it is delivered again, or late (R6)", async () => {
    const { client, room, deliver } = await following();
    await room.publish({}, {});
    expect(placesOf(client.socket.take())).toEqual([1, 2]);
    await deliver({ events: [event(1), event(2)], last: 2 });
    expect(client.socket.take()).toEqual([]);
    await deliver({ events: [event(2)], last: 2 });
    expect(client.socket.take()).toEqual([]);
  });

  it("gets first what a delivery that was lost had brought (R6)", async () => {
    const { world, client, room } = await following();
    await room.publish({});
    const repair = world.failing("deliver");
    await room.publish({}, {});
    repair();
    await vi.waitFor(() => expect(client.socket.frames).toHaveLength(3));
    await room.publish({});
    expect(placesOf(client.socket.take())).toEqual([1, 2, 3, 4]);
  });

  it("gets what a delivery only announces (R6)", async () => {
    const { world, client, room } = await following();
    world.onCall = (call) => {
      if (call === "deliver") throw new Error("lost");
    };
    await room.publish({}, {}, {});
    world.onCall = () => null;
    await vi.waitFor(() => expect(client.socket.frames).toHaveLength(3));
    expect(placesOf(client.socket.take())).toEqual([1, 2, 3]);
  });

  it("is told that events are lost if the log has them no more, and gets those that came after (R5)", async () => {
    const { client, room, deliver } = await following();
    await room.publish({}, {});
    client.socket.take();
    // The room has 2 events; a delivery of 9 says that 3 to 8 were stored and dropped.
    await deliver({ events: [event(9)], last: 9 });
    const frames = client.socket.take();
    expect(placesOf(frames)).toEqual([["subscribed", 8], 9]);
    expect(frames[0]).toMatchObject({ room: ROOM, epoch: room.epoch, recovered: false });
    expect(frames[0]).not.toHaveProperty("ref");
  });

  it("is told that events are lost after the last one, too (R5)", async () => {
    const { client, room, deliver } = await following();
    await room.publish({});
    client.socket.take();
    await deliver({ last: 4 });
    expect(placesOf(client.socket.take())).toEqual([["subscribed", 4]]);
  });

  it("is told the new epoch of a room that began anew, before its events (R5, R6)", async () => {
    const { gateway, client, room, deliver } = await following();
    await room.publish({}, {}, {});
    client.socket.take();
    await deliver({ epoch: "new", events: [event(1), event(2)], last: 2 });
    const frames = client.socket.take();
    expect(placesOf(frames)).toEqual([["subscribed", 0], 1, 2]);
    expect(frames[0]).toMatchObject({ room: ROOM, epoch: "new", recovered: false });
    expect(gateway.state.kv.get(`head:${ROOM}`)).toBe("new:2");
  });

  it("is told the epoch that the log has when lost events are looked up, not the one before (R5)", async () => {
    const { world, client, room } = await following();
    await room.publish({});
    client.socket.take();
    const before = room.epoch;
    const repair = world.failing("deliver");
    await room.publish({});
    repair();
    room.engine.erase();
    room.engine.join("gate", [], false);
    await room.publish({});
    await vi.waitFor(() => expect(client.socket.frames.length).toBeGreaterThan(0));
    const subscribed = client.socket.take().filter(({ type }) => type === "subscribed");
    expect(subscribed.at(-1)).toMatchObject({ epoch: room.epoch, recovered: false });
    expect(room.epoch).not.toBe(before);
  });

  it("is told where a room is that began anew while its log was read, and gets what follows (R5)", async () => {
    const { world, client, room, deliver } = await following();
    await room.publish({}, {}, {});
    client.socket.take();
    world.onCall = async (call) => {
      if (call !== "read") return;
      world.onCall = () => null;
      room.engine.erase();
      await room.publishNow({ type: "step.done", data: {} });
    };
    await deliver({ last: 9 });
    expect(client.socket.take()).toMatchObject([
      { type: "subscribed", epoch: room.epoch, offset: 1, recovered: false },
    ]);
    room.engine.join("gate", [], false);
    await room.publish({});
    expect(placesOf(client.socket.take())).toEqual([2]);
  });

  it("keeps its socket if the log can't be read, and gets everything once it can (R6)", async () => {
    const { world, client, room, deliver } = await following();
    await room.publish({});
    client.socket.take();
    const repair = world.failing("read");
    expect(await deliver({ last: 1 })).not.toBe("failed");
    expect(await deliver({ last: 3 })).toBe("failed");
    repair();
    expect(client.socket.closed).toBeNull();
    await room.publish({});
    expect(placesOf(client.socket.take())).toEqual([2]);
  });

  it("gets each delivery whole before the next begins, however long reading the log takes (R6)", async () => {
    const { world, client, room, deliver } = await following();
    await room.publish({}, {}, {});
    client.socket.take();
    const { promise: read, resolve: endRead } = Promise.withResolvers<void>();
    world.onCall = (call) => (call === "read" ? read : null);
    const first = deliver({ events: [event(6)], last: 6 });
    const second = deliver({ events: [event(7)], last: 7 });
    await settle();
    expect(client.socket.take()).toEqual([]);
    endRead();
    await Promise.all([first, second]);
    expect(placesOf(client.socket.take())).toEqual([["subscribed", 5], 6, 7]);
  });
});

describe("a client that subscribes", () => {
  it("from a position gets what came after it, then new events, none twice (R4b)", async () => {
    const { gateway, room } = await following();
    await room.publish({}, {}, {});
    const late = await gateway.open(userOf("bob"));
    const frames = await late.subscribe(ROOM, { since: `${room.epoch}:1`, ref: "r" });
    expect(frames[0]).toMatchObject({ offset: 1, recovered: true, ref: "r", epoch: room.epoch });
    expect(placesOf(frames.slice(1))).toEqual([2, 3]);
    await room.publish({});
    expect(placesOf(late.socket.take())).toEqual([4]);
  });

  it("gets events that come while its missed ones are read, after those (R4b)", async () => {
    const { world, gateway, room } = await following();
    await room.publish({}, {});
    const late = await gateway.open(userOf("bob"));
    const { promise: read, resolve: endRead } = Promise.withResolvers<void>();
    world.onCall = (call) => (call === "read" ? read : null);
    await late.subscribe(ROOM, { since: `${room.epoch}:0` });
    await room.publish({});
    expect(late.socket.take()).toEqual([]);
    endRead();
    await settle();
    expect(placesOf(late.socket.take())).toEqual([["subscribed", 0], 1, 2, 3]);
  });

  it("from a position of another epoch starts after the newest event (R4b)", async () => {
    const { gateway, room } = await following();
    await room.publish({}, {});
    const late = await gateway.open(userOf("bob"));
    const frames = await late.subscribe(ROOM, { since: "other:1" });
    expect(placesOf(frames)).toEqual([["subscribed", 2]]);
    expect(frames[0]).toMatchObject({ recovered: false });
  });

  it("doesn't take what it missed from another epoch than that which the gateway follows (R4b)", async () => {
    const { gateway, room, deliver } = await following();
    await room.publish({}, {});
    await deliver({ epoch: "new", events: [event(1)], last: 1 });
    const late = await gateway.open(userOf("bob"));
    const frames = await late.subscribe(ROOM, { since: `${room.epoch}:1` });
    expect(frames[0]).toMatchObject({ recovered: false, epoch: "new", offset: 1 });
    expect(frames).toHaveLength(1);
  });

  it("while the events are lost is told only where it starts now (R4b)", async () => {
    const { world, gateway, room, deliver } = await following();
    await room.publish({});
    const late = await gateway.open(userOf("bob"));
    const { promise: read, resolve: endRead } = Promise.withResolvers<void>();
    let reads = 0;
    world.onCall = (call) => {
      if (call === "read") reads += 1;
      return call === "read" && reads === 1 ? read : null;
    };
    await late.subscribe(ROOM, { since: `${room.epoch}:0` });
    await deliver({ events: [event(9)], last: 9 });
    endRead();
    await settle();
    const frames = late.socket.take();
    expect(frames.map(({ type }) => type)[0]).toBe("subscribed");
    expect(frames.filter(({ type }) => type === "subscribed")).toHaveLength(1);
    expect(frames.at(-1)).toMatchObject({ offset: 9 });
  });

  it("gets `temporarily_unavailable` if the room can't be reached, follows it not, and may try again", async () => {
    const { world, gateway } = await following();
    const late = await gateway.open(userOf("bob"));
    const repair = world.failing("join", "read");
    const [error] = await late.subscribe("project:2", { ref: 5 });
    expect(error).toMatchObject({ type: "error", code: "temporarily_unavailable", ref: 5 });
    expect(error).toMatchObject({ room: "project:2" });
    expect(late.known?.attachment.subscriptions.map(({ room }) => room)).not.toContain("project:2");
    repair();
    expect(await late.subscribe("project:2")).toMatchObject([{ type: "subscribed" }]);
    await world.room("project:2").publish({});
    expect(placesOf(late.socket.take())).toEqual([1]);
  });

  it("again starts anew: what its first subscription still reads is not sent (R4c)", async () => {
    const { world, gateway, room } = await following();
    await room.publish({}, {}, {});
    const late = await gateway.open(userOf("bob"));
    const reads: (() => void)[] = [];
    world.onCall = (call) =>
      call === "read" ? new Promise<void>((resolve) => reads.push(resolve)) : null;
    await late.subscribe(ROOM, { since: `${room.epoch}:0`, ref: 1 });
    await late.subscribe(ROOM, { since: `${room.epoch}:2`, ref: 2 });
    for (const resolve of reads) resolve();
    await settle();
    for (const resolve of reads) resolve();
    await settle();
    const frames = late.socket.take();
    const last = frames.findLastIndex(({ type }) => type === "subscribed");
    expect(frames[last]).toMatchObject({ ref: 2, offset: 2 });
    expect(placesOf(frames.slice(last + 1))).toEqual([3]);
  });
});

describe("a gateway that hibernates", () => {
  it("goes on after the last event that it has sent on, also if a delivery was lost meanwhile (R6)", async () => {
    const { world, gateway, client, room } = await following();
    await room.publish({}, {});
    expect(placesOf(client.socket.take())).toEqual([1, 2]);
    gateway.restart();
    world.onCall = (call) => {
      if (call === "deliver") throw new Error("lost");
    };
    await room.publish({});
    world.onCall = () => null;
    await vi.waitFor(() => expect(client.socket.frames).toHaveLength(1));
    await room.publish({});
    expect(placesOf(client.socket.take())).toEqual([3, 4]);
  });

  it("still knows each client's filter, and whether it wants batches", async () => {
    const world = new World();
    const gateway = world.gateway();
    const client = await gateway.open(userOf("ann"), { batch: true });
    await client.subscribe(ROOM, { filter: { types: ["step.*"] } });
    gateway.restart();
    await world.room(ROOM).publish({ type: "step.a" }, { type: "other.b" }, { type: "step.c" });
    expect(client.socket.messages.at(-1)).toContain('"type":"batch"');
    expect(client.socket.take().map(({ type }) => type)).toEqual(["step.a", "step.c"]);
  });

  it("follows nothing that a client had unsubscribed from", async () => {
    const { gateway, client, room, world } = await following();
    await client.send({ type: "unsubscribe", room: ROOM });
    gateway.restart();
    await room.publish({});
    expect(client.socket.take()).toEqual([]);
    expect([...world.room(ROOM).engine.gateways()]).toEqual([]);
  });

  it("keeps no position of rooms that nobody follows here any more", async () => {
    const { gateway, client } = await following();
    await client.send({ type: "unsubscribe", room: ROOM });
    expect(gateway.state.kv.get(`head:${ROOM}`)).toBeDefined();
    gateway.restart();
    expect(gateway.state.kv.get(`head:${ROOM}`)).toBeUndefined();
    expect(gateway.state.kv.get("head:user:ann")).toBeDefined();
  });
});

describe("a gateway without followers of a room", () => {
  it("is called once more, and then no longer; the next follower joins again", async () => {
    const { world, gateway, client, room } = await following();
    const calls: string[] = [];
    world.onCall = (call) => calls.push(call);
    await client.send({ type: "unsubscribe", room: ROOM });
    await vi.waitUntil(() => calls.includes("changePresence"));
    await room.publish({});
    expect(room.engine.gateways()).toEqual([]);
    expect(gateway.state.kv.get(`head:${ROOM}`)).toBeUndefined();
    calls.length = 0;
    await room.publish({});
    expect(calls).toEqual([]);
    const frames = await client.subscribe(ROOM);
    expect(placesOf(frames)).toEqual([["subscribed", 2]]);
    expect(calls).toContain("join");
    await room.publish({});
    expect(placesOf(client.socket.take())).toEqual([3]);
  });
});

describe("an event that is published again because its publisher got no answer", () => {
  it("reaches those who had not got it, once (R6, R9a)", async () => {
    const { world, client, room } = await following();
    world.onCall = (call) => {
      if (call === "deliver") throw new Error("the room stops here");
    };
    await room.publish({ id: "e1" });
    // The room's object stops after it has stored the event, before a call succeeded.
    room.deliveries.forget("gate");
    room.restart();
    world.onCall = () => null;
    expect(client.socket.take()).toEqual([]);
    expect(await room.publish({ id: "e1" })).toMatchObject([{ offset: 1, repeated: true }]);
    expect(placesOf(client.socket.take())).toEqual([1]);
    await room.publish({ id: "e1" });
    expect(client.socket.take()).toEqual([]);
  });
});
