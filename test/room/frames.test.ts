import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import { LIMITS } from "../../src/protocol/limits.ts";
import { SECRET, userOf, World } from "../gateway/world.ts";
import { settle } from "../support/fake-object.ts";
import { tokenOf } from "../support/tokens.ts";

const ROOM = "project:1";
const EVENT = { type: "step.done", data: {} };

beforeEach(() => {
  vi.spyOn(console, "error").mockReturnValue();
});

afterEach(() => {
  vi.useRealTimers();
  vi.restoreAllMocks();
});

/** A client on the socket of a room; its first frame is read already. */
function opened(rights: Parameters<typeof userOf>[1] = {}, more: object = {}) {
  const room = new World().room(ROOM);
  const client = room.open(userOf("ann", rights), more);
  client.socket.take();
  const send = async (frame: object | string) => {
    await client.send(frame);
    return client.socket.take();
  };
  return { room, client, socket: client.socket, send };
}

function token(userId: string, claims: object = {}, expiresInS = 3_600): Promise<string> {
  return tokenOf(SECRET, userId, { ...claims }, expiresInS);
}

describe("a frame on the socket of one room", () => {
  it("that can't be read gets its error; three in a row close the socket with 4400 (R14b)", async () => {
    const { send, socket } = opened();
    expect(await send("{")).toMatchObject([{ type: "error", room: ROOM, code: "malformed_frame" }]);
    await send({ type: "subscribe", room: ROOM });
    expect(socket.closed).toBeNull();
    expect(await send("{")).toMatchObject([{ type: "error", code: "malformed_frame" }]);
    expect(socket.closed?.code).toBe(4400);
  });

  it("that is well formed ends the row of malformed ones (R14b)", async () => {
    const { send, socket } = opened();
    for (let round = 0; round < 4; round += 1) {
      for (const frame of ["{", "{", { type: "ping" }]) await send(frame);
    }
    expect(socket.closed).toBeNull();
    for (const _ of [1, 2, 3]) await send("{");
    expect(socket.closed?.code).toBe(4400);
  });

  it("counts as malformed also after the room hibernated (R14b)", async () => {
    const { room, send, socket } = opened();
    for (const _ of [1, 2]) await send("{");
    room.restart();
    await send("{");
    expect(socket.closed?.code).toBe(4400);
  });

  it("that is too large closes the socket with 1009 at once", async () => {
    const { send, socket } = opened();
    await send({ type: "ping", x: "x".repeat(LIMITS.frameBytes) });
    expect(socket.closed?.code).toBe(1009);
  });

  it("is not read any more once the socket is being closed (R14b)", async () => {
    const { room, client, socket } = opened();
    const { promise: held, resolve: release } = Promise.withResolvers<void>();
    const { engine } = room;
    const publish = engine.publish.bind(engine);
    vi.spyOn(engine, "publish").mockImplementation(async (events, length) => {
      await held;
      return publish(events, length);
    });
    const sent = [client.send({ type: "publish", event: EVENT })];
    for (const _ of [1, 2, 3]) sent.push(client.send("{"));
    sent.push(client.send({ type: "ping" }));
    await settle();
    expect(socket.take()).toEqual([]);
    release();
    await Promise.all(sent);
    expect(socket.taken("pong")).toEqual([]);
    expect(socket.closed?.code).toBe(4400);
  });

  it("`ping` is answered with its `ref`, the text `ping` not by the room (R12)", async () => {
    const { send, socket } = opened();
    const [pong] = await send({ type: "ping", ref: 7 });
    expect(pong).toMatchObject({ type: "pong", ref: 7 });
    expect(Date.parse(String(pong?.timestamp))).not.toBeNaN();
    expect(await send("ping")).toEqual([]);
    expect(socket.closed).toBeNull();
  });

  it("`ack` is not answered (R15)", async () => {
    const { send } = opened({}, { acks: true });
    expect(await send({ type: "ack", offset: 1 })).toEqual([]);
  });

  it("more than 1,000 at once close the socket with 4429 (R14a)", async () => {
    vi.useFakeTimers({ toFake: ["Date"] });
    const { room, client, socket, send } = opened();
    const subscriber = room.sockets.of(socket.end);
    if (!subscriber) throw new Error("not open");
    for (let n = 0; n < 1_000; n += 1) await room.handler.onMessage(subscriber, '{"type":"ping"}');
    expect(socket.take()).toHaveLength(1_000);
    expect(await send({ type: "ping" })).toMatchObject([{ type: "error", code: "rate_limited" }]);
    expect(socket.closed?.code).toBe(4429);
    expect(room.sockets.has(subscriber)).toBe(false);
    client.leave();
  });
});

describe("`authenticate` that is sent fast on the socket of one room", () => {
  it("counts as ten frames each, because the token is checked (R14a)", async () => {
    vi.useFakeTimers({ toFake: ["Date"] });
    const { room, socket, send } = opened();
    const subscriber = room.sockets.of(socket.end);
    if (!subscriber) throw new Error("not open");
    const frame = JSON.stringify({ type: "authenticate", token: "x" });
    for (let n = 0; n < 100; n += 1) await room.handler.onMessage(subscriber, frame);
    expect(socket.closed).toBeNull();
    socket.take();
    expect(await send({ type: "ping" })).toMatchObject([{ code: "rate_limited" }]);
    expect(socket.closed?.code).toBe(4429);
  });
});

describe("`publish` on the socket of one room", () => {
  it("is answered with the event's place, and reaches the others and the publisher (R9)", async () => {
    const { room, send } = opened();
    const other = room.open(userOf("bob"));
    other.socket.take();
    const frames = await send({ type: "publish", event: { ...EVENT, id: "e1" }, ref: 1 });
    expect(frames).toMatchObject([
      { type: "step.done", room: ROOM, id: "e1", offset: 1 },
      { type: "published", room: ROOM, id: "e1", offset: 1, ref: 1 },
    ]);
    expect(other.socket.take()).toMatchObject([{ type: "step.done", id: "e1", offset: 1 }]);
  });

  it("without the right is `not_allowed`, and stores nothing", async () => {
    const { room, send, socket } = opened({ publish: ["project:2", "agent:*"] });
    const [error] = await send({ type: "publish", event: EVENT, ref: 1 });
    expect(error).toMatchObject({ type: "error", code: "not_allowed", room: ROOM, ref: 1 });
    expect([room.engine.logEnd.last, socket.closed]).toEqual([0, null]);
  });
});

describe("`authenticate` on the socket of one room", () => {
  it("extends the socket's time, and changes its rights, also after hibernation (R11a)", async () => {
    const { room, send, socket } = opened({ publish: [] });
    const fresh = await token("ann", { rooms: [ROOM], publish: [ROOM] }, 7_200);
    const [answer] = await send({ type: "authenticate", token: fresh, ref: "r" });
    expect(answer).toMatchObject({ type: "authenticated", user_id: "ann", ref: "r" });
    expect(Date.parse(String(answer?.expires_at))).toBeGreaterThan(Date.now() + 7_000_000);
    room.restart();
    const frames = await send({ type: "publish", event: EVENT });
    expect(frames.map(({ type }) => type)).toContain("published");
    room.handler.expire(Date.now() + 3_700_000);
    expect(socket.closed).toBeNull();
  });

  it("with a token that may not follow the room closes the socket: it hears nothing more (R11a)", async () => {
    const { room, send, socket } = opened();
    const fresh = await token("ann", { rooms: ["project:2", "agent:*"] });
    const [error] = await send({ type: "authenticate", token: fresh, ref: 3 });
    expect(error).toMatchObject({ type: "error", code: "not_allowed", room: ROOM, ref: 3 });
    expect(socket.closed?.code).toBe(4403);
    await room.publish({});
    expect(socket.take()).toEqual([]);
    expect(room.present()).toEqual([]);
  });

  it.each([
    ["another user's", () => token("bob", { rooms: ["*"] }), "not_allowed"],
    ["an expired one", () => token("ann", { rooms: ["*"] }, -60), "not_authenticated"],
    ["no token", async () => "x", "not_authenticated"],
  ])("with %s changes nothing (R11a)", async (_what, made, code) => {
    const { room, send, socket } = opened();
    const before = room.sockets.all()[0]?.attachment.principal;
    const [error] = await send({ type: "authenticate", token: await made(), ref: 4 });
    expect(error).toMatchObject({ type: "error", code, room: ROOM, ref: 4 });
    expect(socket.closed).toBeNull();
    expect(room.sockets.all()[0]?.attachment.principal).toEqual(before);
  });
});

describe("the token of a socket of one room", () => {
  it("is warned of once, 30 seconds before it expires, and closes the socket then (R11)", () => {
    const now = Date.now();
    const { room, socket } = opened({ expiresAt: now + 100_000 });
    room.handler.expire(now + 69_999);
    expect(socket.take()).toEqual([]);
    room.handler.expire(now + 70_000);
    const expires_at = new Date(now + 100_000).toISOString();
    expect(socket.take()).toEqual([{ type: "connection.expiring", expires_at }]);
    room.restart();
    room.handler.expire(now + 99_999);
    expect(socket.take()).toEqual([]);
    room.handler.expire(now + 100_000);
    expect(socket.take()).toMatchObject([{ type: "connection.error", code: "not_authenticated" }]);
    expect(socket.closed?.code).toBe(4401);
    expect(room.present()).toEqual(["ann"]);
  });
});

describe("the socket of one room", () => {
  it("begins with the room's position, then what was missed through the filter (R3a, R4b)", async () => {
    const { room } = opened();
    await room.publish({ type: "a.x" }, { type: "a.x" }, { type: "b.x" }, { type: "a.x" });
    const since = `${room.epoch}:1`;
    const late = room.open(userOf("bob"), { filter: { types: ["a.*"] } }, since);
    const [connection, ...missed] = late.socket.take();
    expect(connection).toMatchObject({ type: "connection", room: ROOM, epoch: room.epoch });
    expect(connection).toMatchObject({ offset: 1, recovered: true });
    expect(Date.parse(String(connection?.timestamp))).not.toBeNaN();
    expect(missed.map(({ type, offset }) => [type, offset])).toEqual([
      ["a.x", 2],
      ["a.x", 4],
    ]);
  });

  it.each([null, "other:1", "EPOCH:9"])(
    "from %j begins after the newest event (R4b)",
    async (since) => {
      const { room } = opened();
      await room.publish({}, {});
      const late = room.open(userOf("bob"), {}, since?.replace("EPOCH", room.epoch) ?? null);
      expect(late.socket.take()).toMatchObject([{ offset: 2, recovered: false }]);
      await room.publish({});
      expect(late.socket.take()).toMatchObject([{ offset: 3 }]);
    },
  );

  it("gets live only what its filter lets through, and events of one turn in one batch (R7, R13)", async () => {
    const { room } = opened();
    const some = room.open(userOf("bob"), { filter: { types: ["a.*"] } });
    const batched = room.open(userOf("cyd"), { batch: true });
    for (const { socket } of [some, batched]) socket.take();
    await room.publish({ type: "a.x" }, { type: "b.x" }, { type: "a.y" });
    expect(some.socket.take().map(({ type }) => type)).toEqual(["a.x", "a.y"]);
    expect(batched.socket.messages.at(-1)).toContain('"type":"batch"');
    expect(batched.socket.take().map(({ offset }) => offset)).toEqual([1, 2, 3]);
  });

  it("that acknowledges is closed when it is more than 1 MiB behind, and no other is (R15a)", async () => {
    const { room, socket } = opened();
    const slow = room.open(userOf("bob"), { acks: true });
    const quick = room.open(userOf("cyd"), { acks: true });
    const data = { text: "x".repeat(200_000) };
    for (let n = 1; n <= 7; n += 1) {
      await room.publish({ data });
      await quick.send({ type: "ack", offset: n });
    }
    expect(slow.socket.frames.at(-1)).toMatchObject({ code: "too_slow", room: ROOM });
    expect(slow.socket.closed?.code).toBe(4429);
    expect(slow.socket.taken("step.done")).toHaveLength(6);
    expect(quick.socket.taken("step.done")).toHaveLength(7);
    expect(socket.taken("step.done")).toHaveLength(7);
    expect(room.present()).toEqual(["ann", "bob", "cyd"]);
    await room.publish({});
    expect(slow.socket.take()).toEqual([]);
  });

  it("that acknowledges gets only what its filter lets through, and is counted that alone (R15a)", async () => {
    const { room } = opened();
    const client = room.open(userOf("bob"), { acks: true, filter: { types: ["a.*"] } });
    client.socket.take();
    const data = { text: "x".repeat(200_000) };
    for (let n = 0; n < 9; n += 1) await room.publish({ type: "b.x", data });
    await room.publish({ type: "a.x", data });
    expect(client.socket.take().map(({ offset }) => offset)).toEqual([10]);
    expect(client.socket.closed).toBeNull();
  });
});
