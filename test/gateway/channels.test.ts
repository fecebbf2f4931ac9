import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import type { Env } from "../../src/env.ts";
import { openChannel } from "../../src/gateway/open-channel.ts";
import { readSocketRequest } from "../../src/objects/socket-request.ts";
import { settle } from "../support/fake-object.ts";
import { tokenOf } from "../support/tokens.ts";
import { SECRET, userOf, World } from "./world.ts";

const SPACE = "space:demo";
const JOB = "job:demo.01JCQ9X4T3N5V7W8Y2Z6A1B3C4";

/** The gateway's end of a socket to a space or a job, which a test sends frames over. */
class ChannelSocket extends EventTarget {
  readonly sent: unknown[] = [];
  isAccepted = false;
  isClosed = false;

  accept(): void {
    this.isAccepted = true;
  }

  send(text: string): void {
    this.sent.push(JSON.parse(text));
  }

  close(): void {
    this.isClosed = true;
  }

  receive(frame: object): Promise<void> {
    this.dispatchEvent(Object.assign(new Event("message"), { data: JSON.stringify(frame) }));
    return settle();
  }

  end(code: number, reason: string): Promise<void> {
    this.dispatchEvent(Object.assign(new Event("close"), { code, reason }));
    return settle();
  }

  break(): Promise<void> {
    this.dispatchEvent(new Event("error"));
    return settle();
  }
}

beforeEach(() => {
  vi.stubGlobal("WebSocket", ChannelSocket);
  vi.spyOn(console, "error").mockReturnValue();
});

afterEach(() => {
  vi.unstubAllGlobals();
  vi.restoreAllMocks();
});

/** A client of a gateway, and the sockets that the gateway opens for it. */
async function opened({ acks = false } = {}) {
  const world = new World();
  const sockets: ChannelSocket[] = [];
  const asked: { room: string; since: string | undefined }[] = [];
  world.openChannel = async (_client, address, since) => {
    asked.push({ room: address.kind === "space" ? address.name : address.id, since });
    const socket = new ChannelSocket();
    sockets.push(socket);
    return socket as unknown as WebSocket;
  };
  const gateway = world.gateway();
  const client = await gateway.open(userOf("ann"), { acks });
  const socketAt = (index: number): ChannelSocket => {
    const socket = sockets.at(index);
    if (!socket) throw new Error("no such socket");
    return socket;
  };
  return { world, gateway, client, sockets, socketAt, asked };
}

const CONNECTION = { type: "connection", epoch: "e", offset: 3, recovered: true };

describe("a space or a job that is followed over `/ws`", () => {
  it("has `subscribed` in the place of `connection`, and its address as `room` (R8)", async () => {
    const { client, socketAt } = await opened();
    await client.subscribe(JOB, { since: "e:3", ref: 5 });
    await socketAt(0).receive(CONNECTION);
    await socketAt(0).receive({ type: "output", offset: 4, epoch: "x", delta: "a" });
    await socketAt(0).receive({ type: "space.status", room: "lie" });
    expect(client.socket.take()).toEqual([
      { type: "subscribed", room: JOB, epoch: "e", offset: 3, recovered: true, ref: 5 },
      { type: "output", offset: 4, epoch: "x", delta: "a", room: JOB },
      { type: "space.status", room: JOB },
    ]);
    await socketAt(0).receive({ type: "connection", epoch: "f", offset: 0 });
    expect(client.socket.take()).toEqual([
      { type: "subscribed", room: JOB, epoch: "f", offset: 0, recovered: false },
    ]);
  });

  it("may be followed by a token that names neither: the space or the job decides (R8)", async () => {
    const { gateway, sockets, socketAt } = await opened();
    const client = await gateway.open(userOf("bob", { rooms: [], publish: [] }));
    for (const [index, room] of [SPACE, JOB].entries()) {
      expect(await client.subscribe(room)).toEqual([]);
      await socketAt(index).receive(CONNECTION);
      expect(client.socket.take()).toMatchObject([{ type: "subscribed", room }]);
    }
    expect(sockets).toHaveLength(2);
  });

  it("ends its subscription with the close code when it ends, once (R8)", async () => {
    const { client, socketAt } = await opened();
    await client.subscribe(JOB);
    await socketAt(0).receive(CONNECTION);
    client.socket.take();
    await socketAt(0).end(1000, "done");
    await socketAt(0).break();
    expect(client.socket.take()).toEqual([
      { type: "unsubscribed", room: JOB, code: 1000, reason: "done" },
    ]);
    expect(client.known?.attachment.subscriptions.map(({ room }) => room)).not.toContain(JOB);
  });

  it("ends with 1001 if it is lost: the client may subscribe again", async () => {
    const { client, socketAt } = await opened();
    await client.subscribe(SPACE);
    await socketAt(0).receive(CONNECTION);
    client.socket.take();
    await socketAt(0).break();
    expect(client.socket.take()).toMatchObject([{ type: "unsubscribed", room: SPACE, code: 1001 }]);
    await client.subscribe(SPACE);
    await socketAt(1).receive(CONNECTION);
    expect(client.socket.take()).toMatchObject([{ type: "subscribed", room: SPACE }]);
  });

  it("that refuses the client is reported with its reason, and isn't followed", async () => {
    const { world, client } = await opened();
    world.openChannel = async () => ({ code: "space_not_found", message: "There is none." });
    const [error] = await client.subscribe(SPACE, { ref: 1 });
    expect(error).toEqual({
      type: "error",
      code: "space_not_found",
      message: "There is none.",
      room: SPACE,
      ref: 1,
    });
    expect(client.known?.attachment.subscriptions).toHaveLength(2);
  });

  it("that can't be reached is `temporarily_unavailable`, and isn't followed", async () => {
    const { world, client } = await opened();
    world.openChannel = async () => Promise.reject(new Error("overloaded"));
    const [error] = await client.subscribe(SPACE, { ref: 1 });
    expect(error).toMatchObject({ code: "temporarily_unavailable", room: SPACE, ref: 1 });
    expect(client.known?.attachment.subscriptions).toHaveLength(2);
  });

  it("sends nothing more once the client has unsubscribed, and its socket is closed", async () => {
    const { client, socketAt } = await opened();
    await client.subscribe(JOB);
    await socketAt(0).receive(CONNECTION);
    client.socket.take();
    const frames = await client.send({ type: "unsubscribe", room: JOB, ref: 2 });
    expect(frames).toEqual([{ type: "unsubscribed", room: JOB, ref: 2 }]);
    expect(socketAt(0).isClosed).toBe(true);
    await socketAt(0).receive({ type: "output", offset: 4, delta: "a" });
    await socketAt(0).end(1000, "");
    expect(client.socket.take()).toEqual([]);
  });

  it("has its socket closed when the client closes, also if it was still being opened", async () => {
    const { world, client, socketAt, sockets } = await opened();
    await client.subscribe(JOB);
    await socketAt(0).receive(CONNECTION);
    const open = world.openChannel;
    const { promise: held, resolve: release } = Promise.withResolvers<void>();
    world.openChannel = async (...given) => {
      await held;
      return open(...given);
    };
    await client.subscribe(SPACE);
    await client.leave();
    expect(socketAt(0).isClosed).toBe(true);
    release();
    await settle();
    expect(sockets).toHaveLength(2);
    expect(socketAt(1).isClosed).toBe(true);
  });

  it("has one socket for each client, the newest: subscribing again closes the one before (R4c)", async () => {
    const { gateway, client, sockets, socketAt } = await opened();
    const other = await gateway.open(userOf("bob"));
    for (const [index, follower] of [client, other, client].entries()) {
      await follower.subscribe(JOB);
      await socketAt(index).receive(CONNECTION);
    }
    for (const { socket } of [client, other]) socket.take();
    expect(sockets.map(({ isClosed }) => isClosed)).toEqual([true, false, false]);
    for (const socket of sockets) await socket.receive({ type: "output", offset: 1, delta: "a" });
    expect(client.socket.take()).toHaveLength(1);
    expect(other.socket.take()).toHaveLength(1);
    await socketAt(0).end(1000, "");
    expect(client.socket.take()).toEqual([]);
    expect(client.known?.attachment.subscriptions.map(({ room }) => room)).toContain(JOB);
  });

  it("is sent acknowledgements only if it is a job and the client acknowledges (R15, R15c)", async () => {
    for (const acks of [true, false]) {
      const { client, socketAt } = await opened({ acks });
      for (const [index, room] of [JOB, SPACE].entries()) {
        await client.subscribe(room);
        await socketAt(index).receive(CONNECTION);
      }
      for (const room of [JOB, SPACE]) await client.send({ type: "ack", room, offset: 7 });
      expect(socketAt(0).sent).toEqual(acks ? [{ type: "ack", offset: 7 }] : []);
      expect(socketAt(1).sent).toEqual([]);
    }
  });

  it("is opened again at the client's position when the client sends a fresh token (R5, R11a)", async () => {
    const { client, socketAt, asked } = await opened();
    await client.subscribe(JOB, { ref: 1 });
    await socketAt(0).receive(CONNECTION);
    await socketAt(0).receive({ type: "output", offset: 8, delta: "a" });
    await socketAt(0).receive({ type: "note" });
    client.socket.take();
    const fresh = await tokenOf(SECRET, "ann", { rooms: ["project:1"] });
    const answered = client.authenticate(fresh);
    await vi.waitUntil(() => asked.length === 2);
    expect(asked.at(-1)?.since).toBe("e:8");
    expect(socketAt(0).isClosed).toBe(true);
    await socketAt(1).receive({ ...CONNECTION, offset: 8 });
    const [authenticated, subscribed] = await answered;
    expect(authenticated?.type).toBe("authenticated");
    expect(subscribed).toMatchObject({ type: "subscribed", room: JOB, recovered: true });
    expect(subscribed).not.toHaveProperty("ref");
  });

  it("is opened again after the gateway hibernated, from a snapshot", async () => {
    const { gateway, client, sockets, asked, socketAt } = await opened();
    await client.subscribe(SPACE);
    await socketAt(0).receive(CONNECTION);
    client.socket.take();
    gateway.restart();
    await settle();
    expect(sockets).toHaveLength(2);
    expect(asked.at(-1)).toEqual({ room: "demo", since: undefined });
    await socketAt(1).receive({ ...CONNECTION, recovered: false });
    expect(client.socket.take()).toMatchObject([{ type: "subscribed", room: SPACE }]);
  });
});

describe("the socket that a gateway opens at a space or a job", () => {
  const SOCKET = Object.assign(new Response("the socket"), { webSocket: "a socket" });
  /** Every space and every job exists. */
  const CATALOGUE = {
    DB: { prepare: () => ({ bind: () => ({ first: async () => ({ name: "demo" }) }) }) },
    JOB_INDEX: { getByName: () => ({ has: async () => true }) },
  };

  /** Opens a channel, and returns which object was asked for what. */
  async function asked(
    address: Parameters<typeof openChannel>[1],
    more: Partial<Parameters<typeof openChannel>[2]> = {},
  ) {
    const calls: { object: string; headers: Headers }[] = [];
    const stubs = (kind: string) => ({
      getByName: (name: string) => ({
        fetch: async (_url: string, { headers }: { headers: Headers }) => {
          calls.push({ object: `${kind} ${name}`, headers });
          return SOCKET;
        },
      }),
    });
    const env = { SPACE: stubs("space"), JOB: stubs("job"), ...CATALOGUE } as unknown as Env;
    const principal = userOf("ann");
    const request = { since: "e:1", principal, acks: true, ...more };
    expect(await openChannel(env, address, request)).toBe("a socket");
    const [call] = calls;
    if (!call) throw new Error("nothing was asked");
    return { object: call.object, ...readSocketRequest(call.headers, "subscriber", "backend-job") };
  }

  it("is that of a whole space, uncounted, for `space:<name>` (R15c)", async () => {
    expect(await asked({ kind: "space", name: "demo" })).toMatchObject({
      object: "space demo",
      kind: "subscriber",
      jobUlid: null,
      caller: { isAdmin: false },
      acks: false,
      since: "e:1",
    });
  });

  it("is that of one job of a space for an id with a dot (R15c)", async () => {
    expect(await asked({ kind: "job", id: "demo.01JCQ9X4T3N5V7W8Y2Z6A1B3C4" })).toMatchObject({
      object: "space demo",
      kind: "subscriber",
      jobUlid: "01JCQ9X4T3N5V7W8Y2Z6A1B3C4",
      caller: { isAdmin: false },
      acks: true,
      since: "e:1",
    });
  });

  it("of a job is counted only if the client acknowledges (R15c)", async () => {
    for (const id of ["demo.01JCQ9X4T3N5V7W8Y2Z6A1B3C4", "a"]) {
      expect(await asked({ kind: "job", id }, { acks: false })).toMatchObject({ acks: false });
    }
  });

  it("is that of a backend's job for any other id, with the client's own rights (B6a)", async () => {
    const principal = userOf("ann", { rooms: ["job:a"], publish: [] });
    expect(await asked({ kind: "job", id: "a" }, { principal })).toMatchObject({
      object: "job a",
      kind: "backend-job",
      principal,
      acks: true,
      since: "e:1",
    });
  });

  it("may be that of a private space only with the operator's key, whatever a token names (R8a, H1a)", async () => {
    const tokens = [["*"], ["space:*"], ["space:demo"]].map((rooms) => userOf("ann", { rooms }));
    for (const id of ["demo.01JCQ9X4T3N5V7W8Y2Z6A1B3C4", null]) {
      const address =
        id === null ? ({ kind: "space", name: "demo" } as const) : ({ kind: "job", id } as const);
      for (const principal of tokens) {
        expect(await asked(address, { principal })).toMatchObject({ caller: { isAdmin: false } });
      }
      const principal = { kind: "operator" } as const;
      expect(await asked(address, { principal })).toMatchObject({ caller: { isAdmin: true } });
    }
  });

  it("is none if the object refuses: the reason is returned", async () => {
    const refusal = { code: "space_not_found", detail: "There is none." };
    const stub = { fetch: async () => Response.json(refusal, { status: 404 }) };
    const env = { SPACE: { getByName: () => stub }, ...CATALOGUE } as unknown as Env;
    const request = { since: undefined, principal: userOf("ann"), acks: false };
    expect(await openChannel(env, { kind: "space", name: "demo" }, request)).toEqual({
      code: "space_not_found",
      message: "There is none.",
    });
  });
});
