import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import { LIMITS } from "../../src/protocol/limits.ts";
import { settle } from "../support/fake-object.ts";
import { userOf, World } from "./world.ts";

const ROOM = "project:1";
const EVENT = { type: "step.done", data: {} };

beforeEach(() => {
  vi.spyOn(console, "error").mockReturnValue();
});

afterEach(() => {
  vi.useRealTimers();
  vi.restoreAllMocks();
});

async function opened(rights: Parameters<typeof userOf>[1] = {}) {
  const world = new World();
  const gateway = world.gateway();
  const client = await gateway.open(userOf("ann", rights));
  return { world, gateway, client };
}

describe("a frame on `/ws`", () => {
  it("that can't be read gets its error; three in a row close the socket with 4400 (R14b)", async () => {
    const { client } = await opened();
    expect(await client.send("{")).toMatchObject([{ type: "error", code: "malformed_frame" }]);
    expect(await client.send({ type: "nonsense" })).toMatchObject([{ type: "error" }]);
    expect(client.socket.closed).toBeNull();
    expect(await client.send("{")).toMatchObject([{ type: "error" }]);
    expect(client.socket.closed?.code).toBe(4400);
  });

  it("that is well formed ends the row of malformed ones (R14b)", async () => {
    const { client } = await opened();
    for (let round = 0; round < 4; round += 1) {
      await client.send("{");
      await client.send("{");
      await client.send({ type: "ping" });
    }
    expect(client.socket.closed).toBeNull();
    for (const _ of [1, 2, 3]) await client.send("{");
    expect(client.socket.closed?.code).toBe(4400);
  });

  it("counts as malformed also after the gateway hibernated (R14b)", async () => {
    const { gateway, client } = await opened();
    for (const _ of [1, 2]) await client.send("{");
    gateway.restart();
    await client.send("{");
    expect(client.socket.closed?.code).toBe(4400);
  });

  it("that is too large closes the socket with 1009 at once", async () => {
    const { client } = await opened();
    const [error] = await client.send({ type: "ping", x: "x".repeat(LIMITS.frameBytes) });
    expect(error).toMatchObject({ type: "error", code: "frame_too_large" });
    expect(client.socket.closed?.code).toBe(1009);
  });

  it("is not read any more once the socket is being closed (R14b)", async () => {
    const { world, client } = await opened();
    const { promise: held, resolve: release } = Promise.withResolvers<void>();
    world.onCall = (call) => (call === "publish" ? held : null);
    await client.send({ type: "publish", room: ROOM, event: EVENT });
    for (const _ of [1, 2, 3]) await client.send("{");
    expect(client.socket.closed).toBeNull();
    expect(await client.send({ type: "ping" })).toEqual([]);
    release();
    await settle();
    const types = client.socket.take().map(({ type }) => type);
    expect(types).toEqual(["published", "error", "error", "error"]);
    expect(client.socket.closed?.code).toBe(4400);
  });

  it("`ping` is answered with its `ref`, at once (R12)", async () => {
    const { client } = await opened();
    const [pong] = await client.send({ type: "ping", ref: 7 });
    expect(pong).toMatchObject({ type: "pong", ref: 7 });
    expect(Date.parse(String(pong?.timestamp))).not.toBeNaN();
    expect(await client.send("ping")).toEqual([]);
    expect(client.socket.closed).toBeNull();
  });
});

describe("`ack` on `/ws`", () => {
  it("is not answered, for whichever channel (R15)", async () => {
    const { client } = await opened();
    for (const room of [ROOM, "space:a", "nowhere"]) {
      expect(await client.send({ type: "ack", room, offset: 1 })).toEqual([]);
    }
  });
});

describe("a client of `/ws` that sends fast", () => {
  beforeEach(() => {
    vi.useFakeTimers({ toFake: ["Date"] });
  });

  it("may send 1,000 frames at once, and not one more (R14a)", async () => {
    const { client, gateway } = await opened();
    const { known } = client;
    if (!known) throw new Error("not open");
    for (let n = 0; n < 1_000; n += 1) void gateway.handler.onMessage(known, '{"type":"ping"}');
    await settle();
    expect(client.socket.take()).toHaveLength(1_000);
    expect(await client.send({ type: "ping" })).toMatchObject([
      { type: "error", code: "rate_limited" },
    ]);
    expect(client.socket.closed?.code).toBe(4429);
  });

  it.each(["subscribe", "unsubscribe", "authenticate"])(
    "has each `%s` counted as ten frames (R14a)",
    async (type) => {
      const { client, gateway } = await opened();
      const { known } = client;
      if (!known) throw new Error("not open");
      const more = type === "authenticate" ? { token: "x" } : { room: "nowhere" };
      const frame = JSON.stringify({ type, ...more });
      for (let n = 0; n < 100; n += 1) void gateway.handler.onMessage(known, frame);
      await settle();
      expect(client.socket.closed).toBeNull();
      client.socket.take();
      expect(await client.send({ type: "ping" })).toMatchObject([{ code: "rate_limited" }]);
    },
  );

  it("may send malformed frames no faster (R14a)", async () => {
    const { client, gateway } = await opened();
    const { known } = client;
    if (!known) throw new Error("not open");
    for (let n = 0; n < 999; n += 1) void gateway.handler.onMessage(known, '{"type":"ping"}');
    await client.send("{");
    expect(await client.send("{")).toMatchObject([{ code: "rate_limited" }]);
  });

  it("and whose frames wait for answers is closed when they are too many to keep (R14c)", async () => {
    const { world, client } = await opened();
    const { promise: held, resolve: release } = Promise.withResolvers<void>();
    world.onCall = (call) => (call === "publish" ? held : null);
    const data = { text: "x".repeat(262_000) };
    for (let n = 0; n < 32; n += 1) {
      expect(await client.send({ type: "publish", room: ROOM, event: { ...EVENT, data } })).toEqual(
        [],
      );
    }
    const [error] = await client.send({ type: "publish", room: ROOM, event: { ...EVENT, data } });
    expect(error).toMatchObject({ type: "error", code: "rate_limited" });
    expect(client.socket.closed?.code).toBe(4429);
    release();
    await settle();
    expect(client.socket.frames).toEqual([]);
  });
});

describe("`subscribe` on `/ws`", () => {
  it.each(["", "space:", "job:", "nowhere", "Project:1", "room:1", "*"])(
    "to %j is `room_not_found` or malformed, and changes nothing (R4a)",
    async (room) => {
      const { client } = await opened();
      const [error] = await client.subscribe(room, { ref: 1 });
      expect(error?.type).toBe("error");
      if (room !== "") expect(error).toMatchObject({ code: "room_not_found", room, ref: 1 });
      expect(client.known?.attachment.subscriptions).toHaveLength(2);
    },
  );

  it("to a room that the token doesn't name is `not_allowed`, and changes nothing", async () => {
    const { client } = await opened({ rooms: ["project:*"] });
    const [error] = await client.subscribe("agent:1", { ref: "a" });
    expect(error).toMatchObject({ type: "error", code: "not_allowed", room: "agent:1", ref: "a" });
    expect(client.known?.attachment.subscriptions).toHaveLength(2);
  });

  it("goes to 100 channels and no more, until one is left (R14)", async () => {
    const { client } = await opened();
    for (let n = 0; n < 98; n += 1) {
      expect((await client.subscribe(`project:${n}`))[0]?.type).toBe("subscribed");
    }
    const [error] = await client.subscribe("project:98", { ref: 3 });
    expect(error).toMatchObject({ type: "error", code: "too_many_rooms", ref: 3 });
    expect(error).toMatchObject({ room: "project:98" });
    await client.send({ type: "unsubscribe", room: "project:0" });
    expect((await client.subscribe("project:98"))[0]?.type).toBe("subscribed");
  });

  it("with what a socket can't keep is `too_many_rooms` (R14)", async () => {
    const { client } = await opened();
    const types = Array.from({ length: 50 }, (_, n) => `step.${n}${"x".repeat(100)}`);
    const first = await client.subscribe("project:1", { filter: { types } });
    expect(first[0]?.type).toBe("subscribed");
    const second = await client.subscribe("project:2", { filter: { types } });
    expect(second[0]?.type).toBe("subscribed");
    const third = await client.subscribe("project:3", { filter: { types } });
    expect(third[0]).toMatchObject({ code: "too_many_rooms" });
  });

  it("again replaces the filter and the wish for presence (R4c)", async () => {
    const { world, client } = await opened();
    await client.subscribe(ROOM, { filter: { types: ["a.*"] }, presence: true });
    await client.subscribe(ROOM, { filter: { types: ["b.*"] } });
    await world.room(ROOM).publish({ type: "a.x" }, { type: "b.x" });
    world.room(ROOM).open(userOf("bob"));
    await settle();
    expect(client.socket.take().map(({ type }) => type)).toEqual(["b.x"]);
  });
});

describe("`unsubscribe` on `/ws`", () => {
  it("is answered, also if the client doesn't follow the room (R4d)", async () => {
    const { client } = await opened();
    const frames = await client.send({ type: "unsubscribe", room: ROOM, ref: 9 });
    expect(frames).toEqual([{ type: "unsubscribed", room: ROOM, ref: 9 }]);
  });

  it("ends no other subscription, nor that of another client", async () => {
    const { world, gateway, client } = await opened();
    const other = await gateway.open(userOf("bob"));
    for (const follower of [client, other]) await follower.subscribe(ROOM);
    await client.subscribe("project:2");
    await client.send({ type: "unsubscribe", room: ROOM });
    await world.room(ROOM).publish({});
    await world.room("project:2").publish({});
    expect(client.socket.take().map(({ room }) => room)).toEqual(["project:2"]);
    expect(other.socket.take().map(({ room }) => room)).toEqual([ROOM]);
  });
});

describe("`publish` on `/ws`", () => {
  it("is stored and answered with the place of the event (R9)", async () => {
    const { world, client } = await opened();
    const [published] = await client.send({
      type: "publish",
      room: ROOM,
      event: { ...EVENT, id: "e1" },
      ref: 1,
    });
    expect(published).toEqual({ type: "published", room: ROOM, id: "e1", offset: 1, ref: 1 });
    const again = await client.send({ type: "publish", room: ROOM, event: { ...EVENT, id: "e1" } });
    expect(again).toMatchObject([{ type: "published", offset: 1 }]);
    expect(world.room(ROOM).engine.logEnd.last).toBe(1);
  });

  it("to a room that `publish` doesn't name is `not_allowed`, even if `rooms` does", async () => {
    const { world, client } = await opened({ rooms: ["*"], publish: ["agent:*"] });
    const [error] = await client.send({ type: "publish", room: ROOM, event: EVENT, ref: 2 });
    expect(error).toMatchObject({ type: "error", code: "not_allowed", room: ROOM, ref: 2 });
    expect(world.room(ROOM).engine.logEnd.last).toBe(0);
  });

  it("that fails now is `temporarily_unavailable`: the client may send it again", async () => {
    const { world, client } = await opened();
    const repair = world.failing("publish");
    const [error] = await client.send({ type: "publish", room: ROOM, event: EVENT, ref: 2 });
    expect(error).toMatchObject({ code: "temporarily_unavailable", room: ROOM, ref: 2 });
    repair();
    const [published] = await client.send({ type: "publish", room: ROOM, event: EVENT });
    expect(published).toMatchObject({ type: "published", offset: 1 });
  });

  it("then `unsubscribe` brings the client its own event first, and what came before (R4d)", async () => {
    const { world, client } = await opened();
    await client.subscribe(ROOM);
    world.onCall = (call) => (call === "deliver" ? new Promise(() => undefined) : null);
    await client.send({ type: "publish", room: ROOM, event: EVENT });
    const frames = await client.send({ type: "unsubscribe", room: ROOM });
    expect(frames.map(({ type }) => type)).toEqual(["step.done", "unsubscribed"]);
  });
});
