import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import type { PresenceChange } from "../../src/room/calls.ts";
import { settle } from "../support/fake-object.ts";
import { userOf, World } from "./world.ts";

const ROOM = "project:1";
/** Later than any user is awaited who drops now. */
const GRACE_MS = 6_500;

beforeEach(() => {
  vi.useFakeTimers({ toFake: ["setTimeout", "clearTimeout", "Date"] });
  vi.spyOn(console, "error").mockReturnValue();
});

afterEach(() => {
  vi.useRealTimers();
  vi.restoreAllMocks();
});

/** A world that records the calls about presence. */
function watchedWorld() {
  const world = new World();
  const calls: [string, PresenceChange[]][] = [];
  world.onCall = (call, room, _gateway, changes) => {
    if (room === ROOM && (call === "join" || call === "changePresence")) {
      calls.push([call, structuredClone(changes as PresenceChange[])]);
    }
  };
  return { world, calls };
}

async function pass(ms: number): Promise<void> {
  vi.advanceTimersByTime(ms);
  await settle();
}

/** The alarm of every gateway goes off. */
async function settleGateways(world: World): Promise<void> {
  for (const { handler } of world.gateways.values()) {
    await handler.subscriptions.settlePresence(Date.now());
  }
  await settle();
}

describe("the users who follow a room over a gateway", () => {
  it("are reported with the join, and not once more", async () => {
    const { world, calls } = watchedWorld();
    const ann = await world.gateway().open(userOf("ann"));
    await ann.subscribe(ROOM);
    await pass(100);
    expect(calls).toEqual([["join", [{ userId: "ann", connections: 1 }]]]);
    expect(world.room(ROOM).present()).toEqual(["ann"]);
  });

  it("are reported together if they come within a moment, with their number of sockets", async () => {
    const { world, calls } = watchedWorld();
    const gateway = world.gateway();
    for (const name of ["ann", "bob", "cyd", "bob"]) {
      const client = await gateway.open(userOf(name));
      await client.subscribe(ROOM);
    }
    expect(calls).toHaveLength(1);
    await pass(49);
    expect(calls).toHaveLength(1);
    await pass(1);
    expect(calls.slice(1)).toEqual([
      [
        "changePresence",
        [
          { userId: "bob", connections: 2 },
          { userId: "cyd", connections: 1 },
        ],
      ],
    ]);
    expect(gateway.present(ROOM)).toEqual([
      { userId: "ann", connections: 1 },
      { userId: "bob", connections: 2 },
      { userId: "cyd", connections: 1 },
    ]);
  });

  it("are gone at once if they unsubscribe or close on purpose (R10b)", async () => {
    const { world, calls } = watchedWorld();
    const gateway = world.gateway();
    const [ann, bob] = [await gateway.open(userOf("ann")), await gateway.open(userOf("bob"))];
    for (const client of [ann, bob]) await client.subscribe(ROOM);
    await pass(50);
    await ann.send({ type: "unsubscribe", room: ROOM });
    await bob.leave(true);
    await pass(50);
    expect(calls.at(-1)).toEqual([
      "changePresence",
      [
        { userId: "ann", connections: 0 },
        { userId: "bob", connections: 0 },
      ],
    ]);
    expect(world.room(ROOM).present()).toEqual([]);
  });

  it("are awaited if their socket drops, and then reported as gone (R10a)", async () => {
    const { world, calls } = watchedWorld();
    const gateway = world.gateway();
    const ann = await gateway.open(userOf("ann"));
    await ann.subscribe(ROOM);
    await ann.leave(false);
    await pass(100);
    await settleGateways(world);
    expect(calls).toHaveLength(1);
    expect(gateway.present(ROOM)).toEqual([{ userId: "ann", connections: 1 }]);
    expect(gateway.alarms.at(-1)).toBeGreaterThanOrEqual(Date.now() + 4_900);
    await pass(GRACE_MS);
    await settleGateways(world);
    expect(calls.at(-1)).toEqual(["changePresence", [{ userId: "ann", connections: 0 }]]);
    expect(gateway.present(ROOM)).toBeNull();
  });

  it("cost no call if they come back in time, and are then as they were (R10a)", async () => {
    const { world, calls } = watchedWorld();
    const gateway = world.gateway();
    const ann = await gateway.open(userOf("ann"));
    await ann.subscribe(ROOM);
    await ann.leave(false);
    await pass(1_000);
    const again = await gateway.open(userOf("ann"));
    await again.subscribe(ROOM);
    await pass(1_000);
    expect(calls).toHaveLength(1);
    await pass(GRACE_MS);
    await settleGateways(world);
    expect(world.room(ROOM).present()).toEqual(["ann"]);
    expect(gateway.present(ROOM)).toEqual([{ userId: "ann", connections: 1 }]);
  });

  it("are reported later if the room can't be reached now", async () => {
    const { world } = watchedWorld();
    const gateway = world.gateway();
    const [ann, bob] = [await gateway.open(userOf("ann")), await gateway.open(userOf("bob"))];
    await ann.subscribe(ROOM);
    const repair = world.failing("changePresence");
    await bob.subscribe(ROOM);
    await pass(100);
    expect(world.room(ROOM).present()).toEqual(["ann"]);
    repair();
    await pass(GRACE_MS);
    await settleGateways(world);
    expect(world.room(ROOM).present()).toEqual(["ann", "bob"]);
  });

  it("are none for the operator's key (R10d)", async () => {
    const { world, calls } = watchedWorld();
    const gateway = world.gateway();
    const client = await gateway.open({ kind: "operator" });
    await client.subscribe(ROOM);
    await pass(100);
    expect(calls).toEqual([["join", []]]);
    expect(gateway.present(ROOM)).toEqual([]);
    await client.leave(false);
    await settleGateways(world);
    expect(gateway.present(ROOM)).toBeNull();
  });

  it("are still counted after the gateway hibernated, and leave then (R10)", async () => {
    const { world, calls } = watchedWorld();
    const gateway = world.gateway();
    const tabs = [await gateway.open(userOf("ann")), await gateway.open(userOf("ann"))];
    for (const tab of tabs) await tab.subscribe(ROOM);
    await pass(100);
    gateway.restart();
    await pass(100);
    expect(calls).toHaveLength(2);
    expect(gateway.present(ROOM)).toEqual([{ userId: "ann", connections: 2 }]);
    await tabs[0]?.leave(true);
    await pass(100);
    expect(calls.at(-1)).toEqual(["changePresence", [{ userId: "ann", connections: 1 }]]);
    await tabs[1]?.leave(true);
    await pass(100);
    expect(calls.at(-1)).toEqual(["changePresence", [{ userId: "ann", connections: 0 }]]);
  });

  it("are reported as gone if their socket closes while the gateway hibernates (R10)", async () => {
    const { world, calls } = watchedWorld();
    const gateway = world.gateway();
    const [ann, bob] = [await gateway.open(userOf("ann")), await gateway.open(userOf("bob"))];
    for (const client of [ann, bob]) await client.subscribe(ROOM);
    await pass(100);
    const late = [ann, bob].map(({ known }) => known);
    for (const { socket } of [ann, bob]) socket.close();
    gateway.restart();
    for (const [index, client] of late.entries()) {
      if (client) gateway.handler.subscriptions.onLateClose(client, index === 0);
    }
    await pass(100);
    expect(calls.at(-1)).toEqual(["changePresence", [{ userId: "ann", connections: 0 }]]);
    expect(world.room(ROOM).present()).toEqual(["bob"]);
    await pass(GRACE_MS);
    await settleGateways(world);
    expect(world.room(ROOM).present()).toEqual([]);
  });
});

describe("the room `global`", () => {
  it("is told of no user, whether they come, stay, drop or leave (R10)", async () => {
    const world = new World();
    const told: unknown[] = [];
    world.onCall = (call, room, _gateway, changes) => {
      if (room === "global" && (call === "join" || call === "changePresence")) told.push(changes);
    };
    const gateway = world.gateway();
    const clients = [];
    for (const name of ["ann", "bob", "cyd"]) clients.push(await gateway.open(userOf(name)));
    await clients[0]?.leave(true);
    await clients[1]?.leave(false);
    await pass(GRACE_MS);
    await settleGateways(world);
    expect(gateway.present("global")).toEqual([]);
    expect(told).toEqual([[]]);
    const stored = [...world.room("global").state.kv.rows.keys()];
    expect(stored.filter((key) => key.startsWith("present:"))).toEqual([]);
  });

  it("is not kept waiting for anybody: a gateway where all dropped follows it no more", async () => {
    const world = new World();
    const gateway = world.gateway();
    const ann = await gateway.open(userOf("ann"));
    await ann.leave(false);
    expect(gateway.present("global")).toBeNull();
    expect(gateway.present("user:ann")).toEqual([{ userId: "ann", connections: 1 }]);
  });
});

describe("a gateway that joins a room again", () => {
  it("after it stopped replaces the users that the room had from it (R10a)", async () => {
    const { world } = watchedWorld();
    const ann = await world.gateway().open(userOf("ann"));
    await ann.subscribe(ROOM);
    const room = world.room(ROOM);
    const watcher = room.open(userOf("watcher"), { presence: true });
    watcher.socket.take();
    world.gateways.delete("gate");
    const bob = await world.gateway().open(userOf("bob"));
    await bob.subscribe(ROOM);
    expect(watcher.socket.take()).toMatchObject([{ type: "presence.joined", user_id: "bob" }]);
    expect(room.present()).toEqual(["ann", "bob", "watcher"]);
    await pass(GRACE_MS);
    room.engine.presence.settle(Date.now());
    expect(watcher.socket.take()).toMatchObject([{ type: "presence.left", user_id: "ann" }]);
    expect(room.present()).toEqual(["bob", "watcher"]);
  });

  it("has the users checked whom it awaited before, once their time is over (R10a)", async () => {
    const { world } = watchedWorld();
    const gateway = world.gateway();
    const [ann, bob] = [await gateway.open(userOf("ann")), await gateway.open(userOf("bob"))];
    for (const client of [ann, bob]) await client.subscribe(ROOM);
    await pass(100);
    await bob.leave(false);
    gateway.restart();
    await pass(1_000);
    await settleGateways(world);
    expect(world.room(ROOM).present()).toEqual(["ann", "bob"]);
    await pass(GRACE_MS);
    await settleGateways(world);
    expect(world.room(ROOM).present()).toEqual(["ann"]);
    expect(gateway.present(ROOM)).toEqual([{ userId: "ann", connections: 1 }]);
  });

  it("has everybody checked if all its sockets were lost, and forgets their rooms then", async () => {
    const { world } = watchedWorld();
    const gateway = world.gateway();
    const ann = await gateway.open(userOf("ann"));
    await ann.subscribe(ROOM);
    ann.socket.close();
    gateway.restart();
    expect(world.room(ROOM).present()).toEqual(["ann"]);
    expect(gateway.alarms.at(-1)).toBe(Date.now() + 5_000);
    await pass(GRACE_MS);
    await settleGateways(world);
    expect(world.room(ROOM).present()).toEqual([]);
    expect(world.room(ROOM).engine.gateways()).toEqual([]);
    expect(gateway.state.kv.get(`head:${ROOM}`)).toBeUndefined();
  });
});

describe("a watcher over a gateway", () => {
  it("is told who joins and leaves, but no other client is (R10)", async () => {
    const { world } = watchedWorld();
    const gateway = world.gateway();
    const watcher = await gateway.open(userOf("watcher"));
    const other = await gateway.open(userOf("other"));
    await other.subscribe(ROOM);
    await watcher.subscribe(ROOM, { presence: true });
    await pass(50);
    watcher.socket.take();
    other.socket.take();
    const ann = await gateway.open(userOf("ann"));
    await ann.subscribe(ROOM);
    await pass(50);
    const frames = watcher.socket.take();
    expect(frames).toMatchObject([{ type: "presence.joined", room: ROOM, user_id: "ann" }]);
    expect(other.socket.take()).toEqual([]);
  });

  it("is told who came with it, if the gateway joins the room for it (R10)", async () => {
    const { world } = watchedWorld();
    const watcher = await world.gateway().open(userOf("watcher"));
    const frames = await watcher.subscribe(ROOM, { presence: true });
    expect(frames.map(({ type, user_id }) => [type, user_id])).toContainEqual([
      "presence.joined",
      "watcher",
    ]);
  });

  it("gets no frames about presence without asking for them, those of its own join included", async () => {
    const { world } = watchedWorld();
    const client = await world.gateway().open(userOf("ann"));
    const frames = await client.subscribe(ROOM);
    expect(frames.map(({ type }) => type)).toEqual(["subscribed"]);
  });
});
