import { evictDurableObject } from "cloudflare:test";
import { describe, expect, it } from "vitest";
import { FLOW_WINDOW_BYTES } from "../../src/channel/flow.ts";
import { follow as followJob, isOver, makeJob, reportOk } from "./backend-jobs-support.ts";
import {
  freshRoom,
  hibernateGateways,
  objectOf,
  publish,
  subscribe,
  userToken,
} from "./rooms-support.ts";
import { call, expectStatus, OPERATOR, TestSocket } from "./support.ts";

const ANY = { rooms: ["*"], publish: ["*"] };
const text = "x".repeat(250_000);
/** So many unacknowledged events are allowed; one more cuts the socket off. */
const WINDOW_EVENTS = Math.ceil(FLOW_WINDOW_BYTES / text.length);

async function connect(query: string): Promise<TestSocket> {
  const token = await userToken("ann", ANY);
  const socket = await TestSocket.open(`/ws${query}`, { authorization: `Bearer ${token}` });
  await socket.next("connection.established");
  return socket;
}

async function connectTo(room: string, query: string): Promise<TestSocket> {
  const token = await userToken("ann", ANY);
  const headers = { authorization: `Bearer ${token}` };
  return TestSocket.open(`/api/rooms/${room}/ws${query}`, headers);
}

async function publishMany(room: string, count: number, data: object = { text }): Promise<void> {
  for (let n = 0; n < count; n += 1) await publish(room, "step.done", data);
}

/** Returns once the edge has handled every frame that the socket sent before. */
async function waitUntilHandled(socket: TestSocket): Promise<void> {
  const ref = crypto.randomUUID();
  socket.send({ type: "ping", ref });
  await socket.next((frame) => frame.ref === ref);
}

describe("a subscriber of rooms without `?acks=1`", () => {
  it("gets each of 200 events published at once, over /ws and over the room's own socket (R6)", async () => {
    const room = freshRoom();
    const socket = await connect("");
    await subscribe(socket, room);
    const own = await connectTo(room, "");
    await own.next("connection");
    const events = Array.from({ length: 50 }, () => ({ type: "step.done", data: {} }));
    const posts = [1, 2, 3, 4].map(async () =>
      expectStatus(201, await call("POST", `/api/rooms/${room}/events`, { events }, OPERATOR)),
    );
    await Promise.all(posts);
    for (const subscriber of [socket, own]) {
      const got = await subscriber.until((frame) => frame.offset === 200);
      const offsets = got.filter(({ type }) => type === "step.done").map(({ offset }) => offset);
      expect(offsets).toEqual(Array.from({ length: 200 }, (_, index) => index + 1));
    }
  });

  it("is not cut off, however much it is sent (R15)", async () => {
    const room = freshRoom();
    const socket = await connect("");
    await subscribe(socket, room);
    await publishMany(room, WINDOW_EVENTS + 2);
    await socket.next((frame) => frame.offset === WINDOW_EVENTS + 2);
    await waitUntilHandled(socket);
  });
});

describe("a subscriber of rooms that acknowledges", () => {
  it("is cut off with `too_slow` when it falls behind, and goes on from its position without a gap (R15a, R4b)", async () => {
    const room = freshRoom();
    const socket = await connect("?acks=1");
    const { epoch } = await subscribe(socket, room);
    await publishMany(room, WINDOW_EVENTS + 1);
    const frames = await socket.until("error");
    expect(frames.at(-1)).toMatchObject({ code: "too_slow", room });
    expect(frames.slice(0, -1).map(({ offset }) => offset)).toEqual(
      Array.from({ length: WINDOW_EVENTS }, (_, index) => index + 1),
    );
    expect((await socket.closed).code).toBe(4429);
    const back = await connect("?acks=1");
    const since = `${epoch}:${WINDOW_EVENTS}`;
    expect(await subscribe(back, room, { since })).toMatchObject({ recovered: true });
    await publishMany(room, 1);
    const rest = await back.until((frame) => frame.offset === WINDOW_EVENTS + 2);
    expect(rest.map(({ offset }) => offset)).toEqual([WINDOW_EVENTS + 1, WINDOW_EVENTS + 2]);
  });

  it("is limited over all its rooms together, and an acknowledgement counts for its own room (R15, R15a)", async () => {
    const [first, second] = [freshRoom(), freshRoom()];
    const socket = await connect("?acks=1");
    for (const room of [first, second]) await subscribe(socket, room);
    await publishMany(first, WINDOW_EVENTS - 1);
    await publishMany(second, 1);
    await socket.next((frame) => frame.room === second && frame.offset === 1);
    socket.send({ type: "ack", room: first, offset: 1 });
    await waitUntilHandled(socket);
    await publishMany(second, 1);
    await socket.next((frame) => frame.room === second && frame.offset === 2);
    await publishMany(second, 1);
    expect(await socket.next("error")).toMatchObject({ code: "too_slow", room: second });
    expect((await socket.closed).code).toBe(4429);
  });

  it("is not cut off while it keeps up, and its count starts again at zero after hibernation (R15a)", async () => {
    const room = freshRoom();
    const socket = await connect("?acks=1");
    await subscribe(socket, room);
    for (let offset = 1; offset <= 2 * WINDOW_EVENTS; offset += 1) {
      await publishMany(room, 1);
      await socket.next((frame) => frame.offset === offset);
      socket.send({ type: "ack", room, offset });
      await waitUntilHandled(socket);
    }
    await publishMany(room, WINDOW_EVENTS);
    await socket.next((frame) => frame.offset === 3 * WINDOW_EVENTS);
    await hibernateGateways();
    await publishMany(room, WINDOW_EVENTS);
    await socket.next((frame) => frame.offset === 4 * WINDOW_EVENTS);
    await publishMany(room, 1);
    expect((await socket.closed).code).toBe(4429);
  });

  it("isn't counted the events that it catches up with, nor those of a room that it unsubscribed from (R15b)", async () => {
    const room = freshRoom();
    await publishMany(room, 2 * WINDOW_EVENTS);
    const { epoch } = await subscribe(await connect(""), room);
    const socket = await connect("?acks=1");
    await subscribe(socket, room, { since: `${epoch}:0` });
    await socket.next((frame) => frame.offset === 2 * WINDOW_EVENTS);
    await publishMany(room, WINDOW_EVENTS);
    await socket.next((frame) => frame.offset === 3 * WINDOW_EVENTS);
    socket.send({ type: "unsubscribe", room });
    await socket.next("unsubscribed");
    await subscribe(socket, room);
    await publishMany(room, WINDOW_EVENTS);
    await socket.next((frame) => frame.offset === 4 * WINDOW_EVENTS);
    await waitUntilHandled(socket);
  });

  it("on the socket of one room is cut off in the same way, and goes on from its position (R15a, R3a)", async () => {
    const room = freshRoom();
    const socket = await connectTo(room, "?acks=1");
    const { epoch } = await socket.next("connection");
    await publishMany(room, 1);
    await socket.next("step.done");
    socket.send({ type: "ack", offset: 1 });
    await waitUntilHandled(socket);
    await publishMany(room, WINDOW_EVENTS);
    await socket.next((frame) => frame.offset === WINDOW_EVENTS + 1);
    await evictDurableObject(objectOf(room));
    await publishMany(room, WINDOW_EVENTS);
    await socket.next((frame) => frame.offset === 2 * WINDOW_EVENTS + 1);
    await publishMany(room, 1);
    expect(await socket.next("error")).toMatchObject({ code: "too_slow" });
    expect((await socket.closed).code).toBe(4429);
    const back = await connectTo(room, `?acks=1&since=${epoch}:${2 * WINDOW_EVENTS + 1}`);
    expect(await back.next("connection")).toMatchObject({ recovered: true });
    expect(await back.next("step.done")).toMatchObject({ offset: 2 * WINDOW_EVENTS + 2 });
  });

  it("isn't counted the events that its filter leaves out (R15a)", async () => {
    const room = freshRoom();
    const filter = encodeURIComponent(JSON.stringify({ where: { wanted: true } }));
    const [socket, own] = [
      await connect("?acks=1"),
      await connectTo(room, `?acks=1&filter=${filter}`),
    ];
    await subscribe(socket, room, { filter: { where: { wanted: true } } });
    await own.next("connection");
    await publishMany(room, 2 * WINDOW_EVENTS);
    await publishMany(room, 1, { wanted: true });
    for (const subscriber of [socket, own]) {
      expect(await subscriber.next("step.done")).toMatchObject({ offset: 2 * WINDOW_EVENTS + 1 });
      await waitUntilHandled(subscriber);
    }
  });
});

describe("a job that is followed over /ws with `?acks=1`", () => {
  it("is counted separately, and without acknowledgements only its own subscription ends (R15c)", async () => {
    const id = await makeJob();
    const room = `job:${id}`;
    const socket = await connect("?acks=1");
    const { epoch } = await subscribe(socket, room);
    await socket.next("progress");
    await reportOk(id, "output", { delta: text });
    const { offset } = await socket.next("output");
    socket.send({ type: "ack", room, offset });
    for (let piece = 0; piece < WINDOW_EVENTS; piece += 1) {
      await waitUntilHandled(socket);
      await reportOk(id, "output", { delta: text });
    }
    const got = await socket.until((frame) => frame.offset === Number(offset) + WINDOW_EVENTS);
    expect(got.some(({ type }) => type === "unsubscribed")).toBe(false);
    await reportOk(id, "output", { delta: text });
    expect(await socket.next("unsubscribed")).toMatchObject({ room, code: 4429 });
    const since = `${epoch}:${Number(offset) + WINDOW_EVENTS}`;
    expect(await subscribe(socket, room, { since })).toMatchObject({ recovered: true });
    await reportOk(id, "complete");
    const rest = await socket.until(isOver);
    expect(rest.map((frame) => frame.offset)).toEqual([
      Number(offset) + WINDOW_EVENTS + 1,
      Number(offset) + WINDOW_EVENTS + 2,
    ]);
    expect(await (await followJob(id)).next(isOver)).toMatchObject({ status: "completed" });
  });
});
