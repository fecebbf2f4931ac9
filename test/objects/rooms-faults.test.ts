import { runInDurableObject } from "cloudflare:test";
import { env } from "cloudflare:workers";
import { afterEach, describe, expect, it, vi } from "vitest";
import { GatewayObject } from "../../src/gateway/gateway-object.ts";
import { RoomObject } from "../../src/room/room-object.ts";
import { makeJob, receiveSoFar, report } from "./backend-jobs-support.ts";
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
import { call, OPERATOR, TestSocket } from "./support.ts";

const ANY = { rooms: ["*"], publish: ["*"] };

afterEach(() => {
  vi.restoreAllMocks();
});

function failing(): Promise<never> {
  return Promise.reject(new Error("overloaded"));
}

async function getPresence(room: string) {
  const response = await call("GET", `/api/rooms/${room}/presence`, undefined, OPERATOR);
  return response.json<{ users: { user_id: string; connections: number }[] }>();
}

describe("a gateway to which delivery failed", () => {
  it("gets the events as soon as delivery works again, even if nothing else happens in the room (R6)", async () => {
    const room = freshRoom();
    const socket = await connectUser("ann", ANY);
    await subscribe(socket, room);
    const deliver = vi.spyOn(GatewayObject.prototype, "deliver").mockImplementation(failing);
    for (const n of [1, 2]) await publish(room, "step.done", { n });
    await vi.waitUntil(() => deliver.mock.calls.length > 2);
    deliver.mockRestore();
    const frames = await socket.until(({ offset, type }) => type === "step.done" && offset === 2);
    expect(frames.map(({ offset }) => offset)).toEqual([1, 2]);
  });

  it("reads all the events that it missed, even thousands (R6)", async () => {
    const room = freshRoom();
    const socket = await connectUser("bob", ANY);
    await subscribe(socket, room);
    const deliver = vi.spyOn(GatewayObject.prototype, "deliver").mockImplementation(failing);
    const events = Array.from({ length: 900 }, (_, n) => ({ type: "step.done", data: { n } }));
    for (const _ of [1, 2]) await call("POST", `/api/rooms/${room}/events`, { events }, OPERATOR);
    await vi.waitUntil(() => deliver.mock.calls.length > 2);
    deliver.mockRestore();
    await publish(room, "step.done", { n: -1 });
    const frames = await socket.until(({ offset }) => offset === 1_801);
    expect(frames.map(({ offset }) => offset)).toEqual(
      Array.from({ length: 1_801 }, (_, at) => at + 1),
    );
  });
});

describe("a room that restarts", () => {
  it("still delivers to its gateways, and its history can be read again (R4b, R6)", async () => {
    const room = freshRoom();
    const socket = await connectUser("cyd", ANY);
    const { epoch } = await subscribe(socket, room);
    await publish(room, "step.done", { n: 1 });
    await socket.next("step.done");
    await runInDurableObject(objectOf(room), (_room, state) => state.abort("test")).catch(
      () => null,
    );
    await publish(room, "step.done", { n: 2 });
    expect(await socket.next("step.done")).toMatchObject({ offset: 2 });
    const again = await subscribe(socket, room, { since: `${epoch}:1` });
    expect(again).toMatchObject({ recovered: true, offset: 1 });
    expect(await socket.next("step.done")).toMatchObject({ offset: 2 });
  });
});

describe("a client of a gateway", () => {
  it("that subscribes to a room twice at once gets every event once after the last `subscribed` (R4c)", async () => {
    const room = freshRoom();
    for (const n of [1, 2, 3]) await publish(room, "step.done", { n });
    const { epoch } = await roomOf(room).history(null, 1);
    const socket = await connectUser("dan", ANY);
    for (const _ of [1, 2]) socket.send({ type: "subscribe", room, since: `${epoch}:0` });
    await publish(room, "step.done", { n: 4 });
    const frames = await socket.until(({ offset }) => offset === 4);
    const last = frames.findLastIndex(
      (frame) => frame.type === "subscribed" && frame.room === room,
    );
    expect(frames.slice(last + 1).map(({ offset }) => offset)).toEqual([1, 2, 3, 4]);
  });

  it("that subscribes to a job twice at once gets its events, and leaves no socket behind when it closes", async () => {
    const id = await makeJob();
    const room = `job:${id}`;
    const socket = await connectUser("eve", ANY);
    for (const ref of [1, 2]) socket.send({ type: "subscribe", room, ref });
    await socket.next(({ type, room: of }) => type === "progress" && of === room);
    await report(id, "output", { delta: "x" });
    await socket.next("output");
    await report(id, "output", { delta: "y" });
    expect(await socket.next("output")).toMatchObject({ delta: "y" });
    socket.close();
    const sockets = () =>
      runInDurableObject(env.JOB.getByName(id), (_job, state) => state.getWebSockets().length);
    await vi.waitUntil(async () => (await sockets()) === 0);
  });

  it("that names a newer position than its gateway knows gets no event twice (R4b, R6)", async () => {
    const room = freshRoom();
    const socket = await connectUser("fay", ANY);
    const { epoch } = await subscribe(socket, room);
    const deliver = vi.spyOn(GatewayObject.prototype, "deliver").mockImplementation(failing);
    for (const n of [1, 2, 3]) await publish(room, "step.done", { n });
    const again = await subscribe(socket, room, { since: `${epoch}:2` });
    expect(again).toMatchObject({ recovered: true, offset: 2 });
    deliver.mockRestore();
    await publish(room, "step.done", { n: 4 });
    const frames = await socket.until(({ offset }) => offset === 4);
    expect(frames.map(({ offset }) => offset)).toEqual([3, 4]);
  });

  it("whose own room can't be reached gets an error, and can subscribe to it later", async () => {
    const join = vi.spyOn(RoomObject.prototype, "join").mockImplementation(failing);
    const socket = await connectUser("gus");
    const failed = await socket.next(({ type, room }) => type === "error" && room === "user:gus");
    expect(failed).toMatchObject({ code: "temporarily_unavailable" });
    join.mockRestore();
    await subscribe(socket, "user:gus");
    await publish("user:gus", "step.done", { n: 1 });
    expect(await socket.next("step.done")).toMatchObject({ room: "user:gus" });
  });

  it("that publishes to a room that can't be reached gets an error with its `ref`", async () => {
    const socket = await connectUser("hal", ANY);
    vi.spyOn(RoomObject.prototype, "publish").mockImplementation(failing);
    const room = freshRoom();
    socket.send({ type: "publish", room, event: { type: "a.b" }, ref: "r" });
    expect(await socket.next("error")).toMatchObject({ code: "temporarily_unavailable", ref: "r" });
  });

  it("that subscribes with more than its socket can keep gets `too_many_rooms`, and can still subscribe to others (R14)", async () => {
    const socket = await connectUser("ida", ANY);
    const where = Object.fromEntries(
      Array.from({ length: 19 }, (_, n) => [`field${n}`, "漢".repeat(480)]),
    );
    socket.send({ type: "subscribe", room: freshRoom(), filter: { where }, ref: 1 });
    expect(await socket.next("error")).toMatchObject({ code: "too_many_rooms", ref: 1 });
    const room = freshRoom();
    await subscribe(socket, room);
    await publish(room, "step.done", { n: 1 });
    expect(await socket.next("step.done")).toMatchObject({ room });
  });

  it("that leaves before it gets a frame is present in no room", async () => {
    const before = gateways();
    for (let n = 0; n < 5; n += 1) {
      const socket = await TestSocket.open(`/ws?token=${await userToken("jo")}`);
      socket.close();
      await socket.closed;
    }
    const users = await vi.waitUntil(async () => {
      const found = await Promise.all(before.map((gateway) => gateway.present("user:jo")));
      return found.every((user) => user === null) ? found : undefined;
    });
    expect(users).toHaveLength(before.length);
    expect((await getPresence("user:jo")).users).toEqual([]);
  });

  it("that leaves while its gateway hibernates is reported as having left (R10)", async () => {
    const room = freshRoom();
    const token = await userToken("watcher", ANY);
    const watcher = await TestSocket.open(`/api/rooms/${room}/ws?token=${token}&presence=1`);
    await watcher.next("connection");
    const guest = await connectUser("kay", ANY);
    await subscribe(guest, room);
    await watcher.next(({ type, user_id }) => type === "presence.joined" && user_id === "kay");
    await hibernateGateways();
    guest.close();
    await watcher.next(({ type, user_id }) => type === "presence.left" && user_id === "kay");
    expect((await getPresence(room)).users).toMatchObject([{ user_id: "watcher" }]);
  });

  it("with a fresh token keeps what that token names, private jobs too, and loses the rest (R5, R11a)", async () => {
    const id = await makeJob({ visibility: "private" });
    const room = `job:${id}`;
    const rights = { rooms: [room] };
    const socket = await connectUser("lea", rights);
    await subscribe(socket, room);
    socket.send({ type: "authenticate", token: await userToken("lea", rights) });
    expect(await socket.next("subscribed")).toMatchObject({ room, recovered: true });
    await report(id, "output", { delta: "for lea" });
    expect(await socket.next("output")).toMatchObject({ delta: "for lea" });
    socket.send({ type: "authenticate", token: await userToken("lea") });
    expect(await socket.next("error")).toMatchObject({ room, code: "not_allowed" });
    await report(id, "output", { delta: "for others" });
    expect((await receiveSoFar(socket)).filter(({ type }) => type === "output")).toEqual([]);
  });
});

describe("the room `global`", () => {
  it("reports nobody as present (R10)", async () => {
    await connectUser("mo");
    const token = await userToken("nia");
    const response = await call("GET", "/api/rooms/global/presence", undefined, {
      authorization: `Bearer ${token}`,
    });
    expect(await response.json()).toMatchObject({ users: [] });
  });
});

describe("a room with followers and without events", () => {
  it("has no tables", async () => {
    const room = freshRoom();
    const socket = await connectUser("oz", ANY);
    await subscribe(socket, room);
    const tables = await runInDurableObject(objectOf(room), (_room, { storage }) =>
      storage.sql.exec("SELECT name FROM sqlite_master WHERE name = 'channel_log'").toArray(),
    );
    expect(tables).toEqual([]);
  });
});
