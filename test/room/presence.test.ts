import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import { LIMITS } from "../../src/protocol/limits.ts";
import { RoomMembers } from "../../src/room/room-members.ts";
import { userOf, World } from "../gateway/world.ts";
import { FakeState, type Frame } from "../support/fake-object.ts";

const ROOM = "project:1";
const GRACE_MS = 6_500;

beforeEach(() => {
  vi.useFakeTimers({ toFake: ["Date"] });
});

afterEach(() => {
  vi.useRealTimers();
});

function changesOf(frames: readonly Frame[]): unknown[] {
  return frames
    .filter(({ type }) => type.startsWith("presence."))
    .map(({ type, user_id }) => `${user_id} ${type.slice("presence.".length)}`);
}

/** A room with a watcher, whose changes of presence `told` removes and returns. */
function watched(name = ROOM) {
  const room = new World().room(name);
  const watcher = room.open(userOf("watcher"), { presence: true });
  watcher.socket.take();
  const told = () => changesOf(watcher.socket.take());
  const pass = (ms: number) => {
    vi.advanceTimersByTime(ms);
    room.engine.presence.settle(Date.now());
  };
  return { room, told, pass, watcher };
}

describe("users at a room's own sockets", () => {
  it("join with their first socket and leave with their last (R10)", () => {
    const { room, told } = watched();
    const tabs = [room.open(userOf("ann")), room.open(userOf("ann"))];
    expect(told()).toEqual(["ann joined"]);
    expect(room.engine.presence.roster()).toMatchObject([
      { user_id: "ann", connections: 2 },
      { user_id: "watcher", connections: 1 },
    ]);
    tabs[0]?.leave(true);
    expect(told()).toEqual([]);
    tabs[1]?.leave(true);
    expect(told()).toEqual(["ann left"]);
  });

  it("are in the roster in the order in which they joined, each with that time (R10c)", () => {
    const { room } = watched();
    const start = Date.now();
    vi.advanceTimersByTime(1_000);
    room.open(userOf("zed"));
    vi.advanceTimersByTime(1_000);
    room.open(userOf("ann"));
    room.open(userOf("zed"));
    expect(room.engine.presence.roster()).toEqual(
      ["watcher", "zed", "ann"].map((user_id, seconds) => ({
        user_id,
        connections: user_id === "zed" ? 2 : 1,
        since: new Date(start + seconds * 1_000).toISOString(),
      })),
    );
  });

  it("who joined at the same time are in the order of their names (R10c)", () => {
    const { room } = watched();
    for (const name of ["zed", "ann", "bob"]) room.open(userOf(name));
    expect(room.present()).toEqual(["ann", "bob", "watcher", "zed"]);
  });

  it("are awaited when they drop, with an alarm, and left when the time is over (R10a)", () => {
    const { room, told, pass } = watched();
    const ann = room.open(userOf("ann"));
    expect(told()).toEqual(["ann joined"]);
    ann.leave(false);
    expect(room.engine.presence.dueAt()).toBe(room.alarms.at(-1));
    expect(room.alarms.at(-1)).toBeGreaterThanOrEqual(Date.now() + 5_000);
    pass(4_900);
    expect([told(), room.present()]).toEqual([[], ["ann", "watcher"]]);
    pass(1_200);
    expect([told(), room.present()]).toEqual([["ann left"], ["watcher"]]);
    expect(room.engine.presence.dueAt()).toBeNull();
  });

  it("who come back in time are not reported, and cost no write (R10a)", () => {
    const { room, told, pass } = watched();
    room.open(userOf("ann")).leave(false);
    told();
    const { writes } = room.state.kv;
    room.open(userOf("ann"));
    expect(room.state.kv.writes).toBe(writes);
    pass(GRACE_MS);
    expect([told(), room.present()]).toEqual([[], ["ann", "watcher"]]);
  });

  it("who leave on purpose while another tab of theirs is awaited have its time (R10b)", () => {
    const { room, told, pass } = watched();
    const tabs = [room.open(userOf("ann")), room.open(userOf("ann"))];
    told();
    tabs[0]?.leave(false);
    tabs[1]?.leave(true);
    expect(told()).toEqual([]);
    pass(GRACE_MS);
    expect(told()).toEqual(["ann left"]);
  });

  it("are counted again after hibernation, and leave then (R10)", () => {
    const { room, told } = watched();
    const tabs = [room.open(userOf("ann")), room.open(userOf("ann"))];
    told();
    const { writes } = room.state.kv;
    room.restart();
    expect(room.state.kv.writes).toBe(writes);
    tabs[0]?.leave(true);
    expect(told()).toEqual([]);
    tabs[1]?.leave(true);
    expect(told()).toEqual(["ann left"]);
  });

  it("whose sockets were lost when the object stopped are awaited, then reported (R10a)", () => {
    const { room, told, pass } = watched();
    const ann = room.open(userOf("ann"));
    told();
    ann.socket.close();
    room.restart();
    expect([told(), room.present()]).toEqual([[], ["ann", "watcher"]]);
    expect(room.engine.presence.isWaiting).toBe(true);
    pass(GRACE_MS);
    expect([told(), room.present()]).toEqual([["ann left"], ["watcher"]]);
  });

  it("who left on purpose while the object hibernated are reported at once (R10b)", () => {
    const { room, told } = watched();
    const ann = room.open(userOf("ann"));
    told();
    const late = room.sockets.of(ann.socket.end);
    ann.socket.close();
    room.restart();
    if (late) room.engine.presence.onLateLeave(late);
    expect([told(), room.present()]).toEqual([["ann left"], ["watcher"]]);
  });

  it("are nobody with the operator's key (R10d)", () => {
    const { room, told, pass } = watched();
    const operator = room.open({ kind: "operator" });
    expect([told(), room.present()]).toEqual([[], ["watcher"]]);
    room.restart();
    expect([told(), room.present()]).toEqual([[], ["watcher"]]);
    const kept = room.sockets.of(operator.socket.end);
    operator.leave(false);
    if (kept) room.engine.presence.onLateLeave(kept);
    pass(GRACE_MS);
    expect([told(), room.present()]).toEqual([[], ["watcher"]]);
  });

  it("are in `global` too, but nobody is told (R10)", () => {
    const { room, told } = watched("global");
    room.open(userOf("ann")).leave(true);
    expect(told()).toEqual([]);
  });

  it("are told only to those who asked for it (R10)", () => {
    const { room } = watched();
    const other = room.open(userOf("other"));
    other.socket.take();
    room.open(userOf("ann"));
    expect(other.socket.take()).toEqual([]);
  });
});

describe("users over gateways", () => {
  const ann = [{ userId: "ann", connections: 1 }];

  it("are there until the last gateway, and the room's own sockets, report otherwise (R10)", () => {
    const { room, told } = watched();
    const { engine } = room;
    engine.join("a", ann, false);
    engine.join("b", ann, false);
    const own = room.open(userOf("ann"));
    expect(told()).toEqual(["ann joined"]);
    expect(engine.presence.roster()[0]).toMatchObject({ user_id: "ann", connections: 3 });
    const gone = [{ userId: "ann", connections: 0 }];
    engine.presence.report("a", gone);
    own.leave(true);
    expect(told()).toEqual([]);
    engine.presence.report("b", gone);
    expect(told()).toEqual(["ann left"]);
  });

  it("keep the time at which they joined, whatever their number of sockets becomes (R10c)", () => {
    const { room } = watched();
    const since = new Date(Date.now()).toISOString();
    room.engine.join("a", ann, false);
    vi.advanceTimersByTime(60_000);
    room.engine.presence.report("a", [{ userId: "ann", connections: 2 }]);
    room.engine.join("b", ann, false);
    expect(room.engine.presence.roster()[0]).toEqual({ user_id: "ann", connections: 3, since });
  });

  it("are not taken from a gateway that has not joined", () => {
    const { room, told } = watched();
    room.engine.presence.report("a", ann);
    expect([told(), room.present()]).toEqual([[], ["watcher"]]);
  });

  it("whom a gateway no longer names when it joins again are awaited, then left (R10a)", () => {
    const { room, told, pass } = watched();
    room.engine.join("a", [...ann, { userId: "bob", connections: 1 }], false);
    told();
    room.engine.join("a", [{ userId: "bob", connections: 1 }], false);
    expect([told(), room.present()]).toEqual([[], ["ann", "bob", "watcher"]]);
    pass(3_000);
    // Being missed again gives no more time.
    room.engine.join("a", [{ userId: "bob", connections: 1 }], false);
    pass(3_500);
    expect([told(), room.present()]).toEqual([["ann left"], ["bob", "watcher"]]);
  });

  it("who are named again in time stay (R10a)", () => {
    const { room, told, pass } = watched();
    room.engine.join("a", ann, false);
    told();
    room.engine.join("a", [], false);
    room.engine.presence.report("a", ann);
    expect(room.engine.presence.isWaiting).toBe(false);
    pass(GRACE_MS);
    expect([told(), room.present()]).toEqual([[], ["ann", "watcher"]]);
  });

  it("of a gateway that is gone are awaited, or left at once if they had their time (R10a)", () => {
    const { room, told, pass } = watched();
    room.engine.join("a", ann, false);
    room.engine.join("b", [{ userId: "bob", connections: 1 }], false);
    told();
    room.engine.leave("a");
    room.engine.leave("b", true);
    expect([told(), room.present(), room.engine.gateways()]).toEqual([
      ["bob left"],
      ["ann", "watcher"],
      [],
    ]);
    pass(GRACE_MS);
    expect([told(), room.present()]).toEqual([["ann left"], ["watcher"]]);
  });

  it("are replaced by a gateway's answer: those it misses go at once only if it is sure (R10a)", () => {
    const { room, told, pass } = watched();
    const bob = [{ userId: "bob", connections: 2 }];
    room.engine.join("a", [...ann, ...bob], false);
    told();
    room.engine.presence.replaceAll("a", bob, false);
    expect([told(), room.present()]).toEqual([[], ["ann", "bob", "watcher"]]);
    room.engine.presence.replaceAll("a", bob, true);
    expect([told(), room.present()]).toEqual([["ann left"], ["bob", "watcher"]]);
    expect(room.engine.presence.isWaiting).toBe(false);
    pass(GRACE_MS);
    expect(told()).toEqual([]);
  });

  it("of a gateway that the room had forgotten are awaited after the object stopped (R10a)", () => {
    const { room, told, pass } = watched();
    room.engine.join("a", ann, false);
    room.engine.join("b", [{ userId: "bob", connections: 1 }], false);
    told();
    new RoomMembers(room.state.storage.kv, null).dropGateway("a");
    room.restart();
    pass(GRACE_MS);
    expect([told(), room.present()]).toEqual([["ann left"], ["bob", "watcher"]]);
  });
});

describe("changes of presence", () => {
  it("go to all gateways but the one that just joined, unless it has a watcher (R10)", async () => {
    const world = new World();
    const room = world.room(ROOM);
    const told: string[] = [];
    world.onCall = (call, _room, gateway, delivery) => {
      const { presence } = delivery as { presence: string[] };
      if (call === "deliver" && presence.length > 0) told.push(gateway);
      // The call lasts: how it is answered doesn't matter here.
      return new Promise(() => undefined);
    };
    room.engine.join("a", [{ userId: "ann", connections: 1 }], false);
    expect(told).toEqual([]);
    room.engine.join("b", [{ userId: "bob", connections: 1 }], true);
    expect(told.sort()).toEqual(["a", "b"]);
  });
});

describe("the members of rooms that share an object", () => {
  it("are apart: their epochs, gateways and users", () => {
    const { kv } = new FakeState().storage;
    const [one, two] = ["user:a", "user:ab"].map((name) => new RoomMembers(kv, name));
    if (!one || !two) throw new Error("no members");
    expect(one.epoch()).not.toBe(two.epoch());
    for (const members of [one, two]) members.addGateway("gate");
    one.change("gate", [{ userId: "ann", connections: 1 }], 5);
    expect(RoomMembers.rooms(kv)).toEqual(["user:a", "user:ab"]);
    expect([one.roster(), two.roster()]).toEqual([
      [{ userId: "ann", connections: 1, since: 5 }],
      [],
    ]);
    two.change("", [{ userId: "bob", connections: 1 }], 6);
    one.erase();
    expect([one.knownEpoch(), one.gateways(), one.roster()]).toEqual([null, [], []]);
    expect(two.gateways()).toEqual(["gate"]);
    expect(two.roster()).toHaveLength(1);
    expect(RoomMembers.rooms(kv)).toEqual(["user:ab"]);
    expect(new RoomMembers(kv, "user:ab").epoch()).toBe(two.epoch());
  });
});

describe("the list of who is in a crowded room", () => {
  it("comes in pages of bounded size, which together name everybody once, in order (R10f)", () => {
    const { room } = watched();
    const names = Array.from({ length: 4_000 }, (_, n) => `${"é:\u0001".repeat(n % 80)}user-${n}`);
    room.engine.join(
      "gate",
      names.map((userId) => ({ userId, connections: 2 })),
      false,
    );
    const { presence } = room.engine;
    const pages = [presence.page(null)];
    for (let next = pages[0]?.next; next; next = pages.at(-1)?.next)
      pages.push(presence.page(next));
    expect(pages.length).toBeGreaterThan(1);
    for (const { users, total, connections } of pages) {
      expect(Buffer.byteLength(JSON.stringify(users))).toBeLessThanOrEqual(
        LIMITS.presenceBytes + 2,
      );
      expect([total, connections]).toEqual([4_001, 8_001]);
    }
    expect(pages.flatMap(({ users }) => users)).toEqual(presence.roster());
  });
});
