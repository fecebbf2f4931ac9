import { evictAllDurableObjects, evictDurableObject, runDurableObjectAlarm } from "cloudflare:test";
import { afterEach, describe, expect, it, vi } from "vitest";
import { RoomObject } from "../../src/room/room-object.ts";
import {
  connectUser,
  freshRoom,
  gateways,
  hibernateGateways,
  objectOf,
  publish,
  roomOf,
  subscribe,
  userToken,
} from "./rooms-support.ts";
import { type Frame, OPERATOR, TestSocket } from "./support.ts";

const ANY = { rooms: ["*"], publish: ["*"] };
/** The close code of a page that is reloaded or closed; after other losses of a connection there is none at all. */
const GOING_AWAY = 1001;

afterEach(() => {
  vi.restoreAllMocks();
});

async function openDirect(room: string, userId: string, presence = false): Promise<TestSocket> {
  const token = await userToken(userId, ANY);
  const query = `token=${token}${presence ? "&presence=1" : ""}`;
  const socket = await TestSocket.open(`/api/rooms/${room}/ws?${query}`);
  await socket.next("connection");
  return socket;
}

async function follow(room: string, userId: string): Promise<TestSocket> {
  const socket = await connectUser(userId, ANY);
  await subscribe(socket, room);
  return socket;
}

const OVER = [
  ["over a gateway", follow],
  ["at the room itself", openDirect],
] as const;

function isAbout(userId: string) {
  return ({ type, user_id }: Frame) => type.startsWith("presence.") && user_id === userId;
}

/** Sets the clock forward by more than the time that dropped users have, and lets the alarms go off. */
async function passGrace(room: string, times = 1): Promise<void> {
  const now = Date.now() + times * 6_500;
  vi.spyOn(Date, "now").mockImplementation(() => now);
  for (const gateway of gateways()) await runDurableObjectAlarm(gateway).catch(() => false);
  await runDurableObjectAlarm(objectOf(room));
}

/** The presence frames that a watcher got before this event of the room reached it. */
async function presenceBefore(watcher: TestSocket, room: string): Promise<unknown[]> {
  const { offset } = await publish(room, "step.done");
  const frames = await watcher.until((frame) => frame.offset === offset);
  return frames
    .filter(({ type }) => type.startsWith("presence."))
    .map(({ type, user_id }) => [type, user_id]);
}

async function present(room: string): Promise<string[]> {
  return (await roomOf(room).presence()).users.map(({ user_id }) => user_id).sort();
}

describe.each(OVER)("a user whose socket drops, %s,", (_where, open) => {
  it("and who comes back in time is reported neither as gone nor as new (R10a)", async () => {
    const room = freshRoom();
    const watcher = await openDirect(room, "watcher", true);
    const first = await open(room, "ann");
    await watcher.next(isAbout("ann"));
    first.close(GOING_AWAY);
    await first.closed;
    expect(await present(room)).toEqual(["ann", "watcher"]);
    await open(room, "ann");
    await passGrace(room);
    expect(await present(room)).toEqual(["ann", "watcher"]);
    expect(await presenceBefore(watcher, room)).toEqual([]);
  });

  it("and who does not come back is reported as gone, once the time is over (R10a, R10c)", async () => {
    const room = freshRoom();
    const watcher = await openDirect(room, "watcher", true);
    const socket = await open(room, "ann");
    await watcher.next(isAbout("ann"));
    socket.close(GOING_AWAY);
    await socket.closed;
    expect(await presenceBefore(watcher, room)).toEqual([]);
    expect(await present(room)).toEqual(["ann", "watcher"]);
    await passGrace(room);
    expect(await watcher.next(isAbout("ann"))).toMatchObject({ type: "presence.left" });
    expect(await present(room)).toEqual(["watcher"]);
  });

  it("and who leaves on purpose is reported as gone at once (R10b)", async () => {
    const room = freshRoom();
    const watcher = await openDirect(room, "watcher", true);
    const socket = await open(room, "ann");
    await watcher.next(isAbout("ann"));
    socket.close(1000);
    expect(await watcher.next(isAbout("ann"))).toMatchObject({ type: "presence.left" });
  });

  it("has the time also if another tab of theirs is closed on purpose meanwhile (R10b)", async () => {
    const room = freshRoom();
    const watcher = await openDirect(room, "watcher", true);
    const tabs = [await open(room, "ann"), await open(room, "ann")];
    await watcher.next(isAbout("ann"));
    tabs[0]?.close(GOING_AWAY);
    await tabs[0]?.closed;
    tabs[1]?.close(1000);
    await tabs[1]?.closed;
    expect(await presenceBefore(watcher, room)).toEqual([]);
    await open(room, "ann");
    await passGrace(room);
    expect(await presenceBefore(watcher, room)).toEqual([]);
    expect(await present(room)).toEqual(["ann", "watcher"]);
  });

  it("is still awaited after the room and the gateways lost their memory (R10a)", async () => {
    const room = freshRoom();
    const watcher = await openDirect(room, "watcher", true);
    const [back, gone] = [await open(room, "ann"), await open(room, "bo")];
    await watcher.next(isAbout("bo"));
    for (const socket of [back, gone]) {
      socket.close(GOING_AWAY);
      await socket.closed;
    }
    await hibernateGateways();
    await evictDurableObject(objectOf(room));
    expect(await present(room)).toEqual(["ann", "bo", "watcher"]);
    await open(room, "ann");
    await passGrace(room);
    expect(await watcher.next(isAbout("bo"))).toMatchObject({ type: "presence.left" });
    expect(await present(room)).toEqual(["ann", "watcher"]);
    expect(await presenceBefore(watcher, room)).toEqual([]);
  });
});

describe("a user in a room", () => {
  it("who drops at one gateway and comes back at another is not reported (R10a)", async () => {
    const room = freshRoom();
    const watcher = await openDirect(room, "watcher", true);
    const chosen = vi.spyOn(Math, "random").mockReturnValue(0);
    const socket = await follow(room, "ann");
    await watcher.next(isAbout("ann"));
    socket.close(GOING_AWAY);
    await socket.closed;
    chosen.mockReturnValue(0.3);
    await follow(room, "ann");
    await passGrace(room);
    expect(await present(room)).toEqual(["ann", "watcher"]);
    expect(await presenceBefore(watcher, room)).toEqual([]);
  });

  it("who comes back after all objects stopped is not reported, and who does not is (R10a)", async () => {
    const room = freshRoom();
    vi.spyOn(Math, "random").mockReturnValue(0);
    for (const user of ["ann", "bo"]) await follow(room, user);
    for (const user of ["cy", "di"]) await openDirect(room, user);
    await expect.poll(() => present(room)).toEqual(["ann", "bo", "cy", "di"]);
    await evictAllDurableObjects({ webSockets: "close" });
    const watcher = await openDirect(room, "watcher", true);
    await follow(room, "ann");
    await openDirect(room, "cy");
    expect(await present(room)).toEqual(["ann", "bo", "cy", "di", "watcher"]);
    await passGrace(room);
    await passGrace(room, 2);
    const changes = await presenceBefore(watcher, room);
    expect(changes.sort()).toEqual([
      ["presence.joined", "watcher"],
      ["presence.left", "bo"],
      ["presence.left", "di"],
    ]);
    expect(await present(room)).toEqual(["ann", "cy", "watcher"]);
  });

  it("who was there over two gateways is there until the last of them reports otherwise (R10)", async () => {
    const room = freshRoom();
    const watcher = await openDirect(room, "watcher", true);
    const over = roomOf(room);
    await over.join("grace-test-3", [{ userId: "ann", connections: 1 }], false);
    await over.join("grace-test-4", [{ userId: "ann", connections: 1 }], false);
    await watcher.next(isAbout("ann"));
    await over.changePresence("grace-test-3", [{ userId: "ann", connections: 0 }]);
    expect(await presenceBefore(watcher, room)).toEqual([]);
    await over.changePresence("grace-test-4", [{ userId: "ann", connections: 0 }]);
    expect(await watcher.next(isAbout("ann"))).toMatchObject({ type: "presence.left" });
  });

  it("is none if the socket was opened with the operator's key (R10d)", async () => {
    const room = freshRoom();
    const watcher = await openDirect(room, "watcher", true);
    await TestSocket.open(`/api/rooms/${room}/ws`, OPERATOR);
    const over = await TestSocket.open("/ws", OPERATOR);
    await over.next("connection.established");
    await subscribe(over, room);
    over.close();
    expect(await present(room)).toEqual(["watcher"]);
    expect(await presenceBefore(watcher, room)).toEqual([["presence.joined", "watcher"]]);
  });

  it("who unsubscribes is reported at once (R10b)", async () => {
    const room = freshRoom();
    const watcher = await openDirect(room, "watcher", true);
    const socket = await follow(room, "ann");
    await watcher.next(isAbout("ann"));
    socket.send({ type: "unsubscribe", room });
    expect(await watcher.next(isAbout("ann"))).toMatchObject({ type: "presence.left" });
  });

  it("who drops and comes back at the same gateway costs the room no call and no write (R10a)", async () => {
    const room = freshRoom();
    vi.spyOn(Math, "random").mockReturnValue(0);
    const socket = await follow(room, "ann");
    await expect.poll(() => present(room)).toEqual(["ann"]);
    const reports = vi.spyOn(RoomObject.prototype, "changePresence");
    const joins = vi.spyOn(RoomObject.prototype, "join");
    socket.close(GOING_AWAY);
    await socket.closed;
    await follow(room, "ann");
    await expect.poll(() => present(room)).toEqual(["ann"]);
    const about = [...reports.mock.calls, ...joins.mock.calls].filter(([name]) => name === room);
    expect(about).toEqual([]);
  });
});
