import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import { settle } from "../support/fake-object.ts";
import { tokenOf } from "../support/tokens.ts";
import { ClientInWorld, SECRET, userOf, World } from "./world.ts";

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

/** The same token as `userOf` describes, as text. */
function token(userId: string, claims: object = {}, expiresInS = 3_600): Promise<string> {
  return tokenOf(SECRET, userId, { ...claims }, expiresInS);
}

describe("a socket of `/ws` that is opened", () => {
  it("names the user's own rooms first, then is subscribed to them (R3)", async () => {
    const world = new World();
    const gateway = world.gateway();
    const client = new ClientInWorld(gateway, userOf("ann"), { batch: false, acks: false });
    await client.opened;
    const frames = client.socket.take();
    expect(frames.map(({ type, room }) => [type, room])).toEqual([
      ["connection.established", undefined],
      ["subscribed", "global"],
      ["subscribed", "user:ann"],
    ]);
    expect(frames[0]).toMatchObject({ user_id: "ann", rooms: ["global", "user:ann"] });
    expect(frames[0]?.connection_id).toBe(client.known?.attachment.id);
  });

  it("with the operator's key is subscribed to `global` alone, and names no user (R3)", async () => {
    const gateway = new World().gateway();
    const client = new ClientInWorld(gateway, { kind: "operator" }, { batch: false, acks: false });
    await client.opened;
    const frames = client.socket.take();
    expect(frames.map(({ type, room }) => [type, room])).toEqual([
      ["connection.established", undefined],
      ["subscribed", "global"],
    ]);
    expect(frames[0]).toMatchObject({ user_id: null, rooms: ["global"] });
  });

  it("with a key follows only what the key's scopes name (R3)", async () => {
    const owner = { userId: "ann", keyId: "k1", role: "member", expiresAt: null } as const;
    const followed = async (scopes: string[], space: string | null = null) => {
      const principal = { kind: "key", ...owner, scopes, space } as const;
      const gateway = new World().gateway();
      const client = new ClientInWorld(gateway, principal, { batch: false, acks: false });
      await client.opened;
      const [first, ...others] = client.socket.take();
      expect(others.map(({ room }) => room)).toEqual(first?.rooms);
      return first?.rooms;
    };
    expect(await followed(["jobs:read"])).toEqual([]);
    expect(await followed(["rooms:read:global"])).toEqual(["global"]);
    expect(await followed(["rooms:read:*"])).toEqual(["global", "user:ann"]);
    expect(await followed(["rooms:read:*"], "demo")).toEqual([]);
  });

  it("gets what happens after `connection.established`, though a room takes long to reach (R3)", async () => {
    const world = new World();
    const waits: unknown[] = [];
    const { promise: waited, resolve: endWait } = Promise.withResolvers<void>();
    vi.spyOn(scheduler, "wait").mockImplementation(async (ms) => {
      waits.push(ms);
      await waited;
    });
    const { promise: joined, resolve: endJoin } = Promise.withResolvers<void>();
    world.onCall = (call, room) => (call === "join" && room === "user:ann" ? joined : null);
    const client = new ClientInWorld(world.gateway(), userOf("ann"), { batch: false, acks: false });
    await settle();
    expect([client.socket.take(), waits]).toEqual([[], [2_000]]);
    endWait();
    await settle();
    expect(client.socket.take().map(({ type, room }) => [type, room])).toEqual([
      ["connection.established", undefined],
      ["subscribed", "global"],
    ]);
    endJoin();
    await client.opened;
    expect(client.socket.take()).toMatchObject([{ type: "subscribed", room: "user:ann" }]);
  });

  it("waits for its rooms before `connection.established` as long as they answer soon (R3)", async () => {
    const world = new World();
    const { promise: joined, resolve: endJoin } = Promise.withResolvers<void>();
    world.onCall = (call) => (call === "join" ? joined : null);
    const client = new ClientInWorld(world.gateway(), userOf("ann"), { batch: false, acks: false });
    await settle();
    expect(client.socket.take()).toEqual([]);
    endJoin();
    await client.opened;
    expect(client.socket.frames[0]).toMatchObject({ type: "connection.established" });
  });
});

describe("`authenticate` on `/ws`", () => {
  it("ends the subscriptions that the fresh token doesn't name, and keeps the others (R11a)", async () => {
    const { world, client } = await opened();
    for (const room of [ROOM, "agent:1"]) await client.subscribe(room);
    const fresh = await token("ann", { rooms: ["agent:*"] });
    const frames = await client.authenticate(fresh, 4);
    expect(frames).toMatchObject([
      { type: "authenticated", user_id: "ann", ref: 4 },
      { type: "error", code: "not_allowed", room: ROOM },
    ]);
    await world.room(ROOM).publish({});
    await world.room("agent:1").publish({});
    expect(client.socket.take().map(({ room }) => room)).toEqual(["agent:1"]);
  });

  it("changes what the client may do from then on, also after hibernation (R11a)", async () => {
    const { gateway, client } = await opened();
    const fresh = await token("ann", { rooms: ["agent:*"], publish: ["agent:1"] }, 7_200);
    const [authenticated] = await client.authenticate(fresh);
    const expiresAt = Date.parse(String(authenticated?.expires_at));
    expect(expiresAt).toBeGreaterThan(Date.now() + 7_000_000);
    gateway.restart();
    expect(client.known?.attachment.principal).toMatchObject({ expiresAt });
    expect(await client.subscribe(ROOM)).toMatchObject([{ code: "not_allowed" }]);
    const [error] = await client.send({ type: "publish", room: ROOM, event: EVENT });
    expect(error).toMatchObject({ code: "not_allowed" });
  });

  it("with a bad token changes nothing (R11a)", async () => {
    const { client } = await opened();
    const before = client.known?.attachment.principal;
    for (const bad of ["x", await token("bob"), await token("ann", {}, -60)]) {
      const frames = await client.authenticate(bad, 1);
      expect(frames).toMatchObject([{ type: "error", ref: 1 }]);
    }
    expect(client.known?.attachment.principal).toEqual(before);
    expect(client.socket.closed).toBeNull();
  });
});

describe("the token of a socket of `/ws`", () => {
  it("is warned of once, 30 seconds before it expires, and closes the socket then (R11)", async () => {
    const now = Date.now();
    const { gateway, client } = await opened({ expiresAt: now + 100_000 });
    gateway.handler.expire(now + 69_999);
    expect(client.socket.take()).toEqual([]);
    gateway.handler.expire(now + 70_000);
    const expires_at = new Date(now + 100_000).toISOString();
    expect(client.socket.take()).toEqual([{ type: "connection.expiring", expires_at }]);
    gateway.restart();
    gateway.handler.expire(now + 99_999);
    expect(client.socket.take()).toEqual([]);
    gateway.handler.expire(now + 100_000);
    expect(client.socket.take()).toMatchObject([
      { type: "connection.error", code: "not_authenticated" },
    ]);
    expect(client.socket.closed?.code).toBe(4401);
  });

  it("is warned of again once a fresh one is about to expire (R11)", async () => {
    const now = Date.now();
    const { gateway, client } = await opened({ expiresAt: now + 20_000 });
    gateway.handler.expire(now);
    expect(client.socket.take()).toHaveLength(1);
    await client.authenticate(await token("ann", {}, 60));
    gateway.handler.expire(now + 20_000);
    expect(client.socket.closed).toBeNull();
    gateway.handler.expire(now + 45_000);
    expect(client.socket.take()).toMatchObject([{ type: "connection.expiring" }]);
  });

  it("leaves its user awaited when it expires, as after any drop (R10a)", async () => {
    const now = Date.now();
    const { gateway, client } = await opened({ expiresAt: now + 1_000 });
    await client.subscribe(ROOM);
    gateway.handler.expire(now + 1_000);
    expect(gateway.present(ROOM)).toEqual([{ userId: "ann", connections: 1 }]);
  });
});

describe("a client of `/ws` that acknowledges", () => {
  const LARGE = { text: "x".repeat(200_000) };

  it("is closed when more than 1 MiB is not acknowledged, and told of which room (R15a)", async () => {
    const world = new World();
    const gateway = world.gateway();
    const client = await gateway.open(userOf("ann"), { acks: true });
    await client.subscribe(ROOM);
    for (let n = 0; n < 6; n += 1) await world.room(ROOM).publish({ data: LARGE });
    expect(client.socket.take()).toHaveLength(6);
    await world.room(ROOM).publish({ data: LARGE });
    expect(client.socket.take()).toMatchObject([{ type: "error", code: "too_slow", room: ROOM }]);
    expect(client.socket.closed?.code).toBe(4429);
    await world.room(ROOM).publish({});
    expect(client.socket.take()).toEqual([]);
  });

  it("goes on as long as it acknowledges, and starts at zero when it subscribes again (R15, R15b)", async () => {
    const world = new World();
    const client = await world.gateway().open(userOf("ann"), { acks: true });
    await client.subscribe(ROOM);
    const room = world.room(ROOM);
    for (let n = 1; n <= 12; n += 1) {
      await room.publish({ data: LARGE });
      if (n % 5 === 0) await client.send({ type: "ack", room: ROOM, offset: n });
    }
    await client.subscribe(ROOM);
    for (let n = 0; n < 6; n += 1) await room.publish({ data: LARGE });
    expect(client.socket.closed).toBeNull();
    expect(client.socket.taken("step.done")).toHaveLength(6);
  });

  it("isn't counted what it gets to catch up (R15b)", async () => {
    const world = new World();
    const room = world.room(ROOM);
    for (let n = 0; n < 9; n += 1) await room.publish({ data: LARGE });
    const client = await world.gateway().open(userOf("ann"), { acks: true });
    await client.subscribe(ROOM, { since: `${room.epoch}:0` });
    await room.publish({ data: LARGE });
    expect(client.socket.closed).toBeNull();
    expect(client.socket.taken("step.done")).toHaveLength(1);
  });
});
