import { evictDurableObject, runInDurableObject } from "cloudflare:test";
import { afterEach, describe, expect, it, vi } from "vitest";
import {
  connectUser,
  expireEvents,
  freshRoom,
  neighbourOf,
  objectOf,
  passTime,
  publish,
  roomOf,
  subscribe,
  userToken,
} from "./rooms-support.ts";
import { type Frame, TestSocket } from "./support.ts";

const ANY = { rooms: ["*"], publish: ["*"] };
const HOUR_MS = 3_600_000;

afterEach(() => {
  vi.restoreAllMocks();
});

async function openDirect(room: string, userId: string): Promise<TestSocket> {
  const token = await userToken(userId, ANY);
  const socket = await TestSocket.open(`/api/rooms/${room}/ws?token=${token}`);
  await socket.next("connection");
  return socket;
}

function alarmOf(room: string): Promise<number | null> {
  return runInDurableObject(objectOf(room), (_room, { storage }) => storage.getAlarm());
}

/** Returns the stored keys, and the log's table, of the object that stores a room; also those of its other rooms. */
function storedNames(room: string): Promise<unknown[]> {
  const query = "SELECT name FROM sqlite_master WHERE name = 'channel_log'";
  return runInDurableObject(objectOf(room), (_room, { storage }) => [
    ...[...storage.kv.list()].map(([key]) => key),
    ...storage.sql
      .exec<{ name: string }>(query)
      .toArray()
      .map(({ name }) => name),
  ]);
}

/** Returns the name of a room in whose object no other test has stored anything. */
async function roomInFreshObject(): Promise<string> {
  for (;;) {
    const room = freshRoom("user");
    if ((await storedNames(room)).length === 0) return room;
  }
}

describe("rooms that share an object", () => {
  it("send their events to their own sockets and gateways only", async () => {
    const room = freshRoom("user");
    const next = neighbourOf(room);
    const [direct, nextDirect] = [await openDirect(room, "ann"), await openDirect(next, "bo")];
    const over = await connectUser("cy", ANY);
    await subscribe(over, room);
    await publish(next, "step.done", { n: 1 });
    await publish(room, "step.done", { n: 2 });
    expect(await direct.next("step.done")).toMatchObject({ room, offset: 1, data: { n: 2 } });
    expect(await over.next("step.done")).toMatchObject({ room, offset: 1, data: { n: 2 } });
    expect(await nextDirect.next("step.done")).toMatchObject({ room: next, data: { n: 1 } });
    expect((await roomOf(next).presence()).users.map(({ user_id }) => user_id)).toEqual(["bo"]);
  });

  it("still know their sockets after the object hibernated, and which users have left", async () => {
    const room = freshRoom("user");
    const next = neighbourOf(room);
    const [ann, bo] = [await openDirect(room, "ann"), await openDirect(room, "bo")];
    const other = await openDirect(next, "cy");
    await evictDurableObject(objectOf(room));
    bo.close();
    await expect
      .poll(async () => (await roomOf(room).presence()).users.map(({ user_id }) => user_id))
      .toEqual(["ann"]);
    await evictDurableObject(objectOf(room));
    await publish(room, "step.done", { n: 1 });
    await publish(next, "step.done", { n: 2 });
    expect(await ann.next("step.done")).toMatchObject({ room, data: { n: 1 } });
    expect(await other.next("step.done")).toMatchObject({ room: next, data: { n: 2 } });
  });

  it("report that a user left whose socket closed while the object hibernated (R10)", async () => {
    const room = await roomInFreshObject();
    const watcher = await connectUser("dot", ANY);
    await subscribe(watcher, room, { presence: true });
    const ann = await openDirect(room, "ann");
    const isAnns = ({ user_id }: Frame) => user_id === "ann";
    expect(await watcher.next(isAnns)).toMatchObject({ type: "presence.joined", room });
    await evictDurableObject(objectOf(room));
    ann.close();
    expect(await watcher.next(isAnns)).toMatchObject({ type: "presence.left", room });
  });

  it("close sockets whose tokens expire while the object hibernates (R11)", async () => {
    const room = freshRoom("user");
    const socket = await openDirect(room, "ann");
    await openDirect(neighbourOf(room), "bo");
    await evictDurableObject(objectOf(room));
    await passTime(HOUR_MS, [objectOf(room)]);
    expect(await socket.closed).toMatchObject({ code: 4401 });
  });

  it("are erased one by one: an unused room goes, a room with followers stays", async () => {
    const room = freshRoom("user");
    const next = neighbourOf(room);
    const direct = await openDirect(room, "ann");
    const { epoch } = await roomOf(room).history(null, 1);
    await publish(next, "step.done", { n: 1 }, "once");
    await expireEvents(room);
    expect(await roomOf(next).history(null, 1)).toMatchObject({ epoch: "", last: 0 });
    expect(await roomOf(room).history(null, 1)).toMatchObject({ epoch });
    expect(await publish(next, "step.done", { n: 2 }, "once")).toMatchObject({ repeated: false });
    await publish(room, "step.done", { n: 3 });
    expect(await direct.next("step.done")).toMatchObject({ data: { n: 3 } });
  });

  it("leave nothing behind once all are erased, and no alarm", async () => {
    const room = await roomInFreshObject();
    const next = neighbourOf(room);
    for (const name of [room, next]) await publish(name, "step.done", { n: 1 });
    expect(await alarmOf(room)).not.toBe(null);
    await expireEvents(room);
    expect([await storedNames(room), await alarmOf(room)]).toEqual([[], null]);
    expect(await publish(room, "step.done", { n: 2 })).toMatchObject({ offset: 1 });
    expect(await alarmOf(room)).not.toBe(null);
  });

  it("need no table for a user who only connects", async () => {
    const room = await roomInFreshObject();
    const userId = room.slice("user:".length);
    await connectUser(userId);
    expect(await roomOf(room).presence()).toMatchObject({ users: [{ user_id: userId }] });
    expect(await storedNames(room)).not.toContain("channel_log");
  });
});
