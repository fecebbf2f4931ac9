import { evictDurableObject, runInDurableObject } from "cloudflare:test";
import { env } from "cloudflare:workers";
import { afterEach, describe, expect, it, vi } from "vitest";
import type { GatewaySockets } from "../../src/gateway/gateway-sockets.ts";
import { socketHeaders } from "../../src/objects/socket-request.ts";
import {
  bearer,
  followCaughtUp,
  freshId,
  objectOf as jobObjectOf,
  makeJob,
  reportOk,
  setClockAhead,
} from "./backend-jobs-support.ts";
import {
  connectUser,
  freshRoom,
  gateways,
  hibernateGateways,
  publish,
  objectOf as roomObjectOf,
  subscribe,
  userToken,
} from "./rooms-support.ts";
import { call, expectStatus, makeSpace, OPERATOR, TestSocket } from "./support.ts";

/**
 * Makes the tokens of an object's sockets expire now, without the alarm that closes the sockets: it may be late.
 * The object reads it from the sockets after hibernation.
 *
 * @param sentTo the offset up to which throttled sockets were sent everything, if some of it is to be held back
 */
async function expireTokens(stub: DurableObjectStub, sentTo?: number): Promise<void> {
  await runInDurableObject(stub, async (_object, ctx) => {
    await ctx.storage.deleteAlarm();
    for (const socket of ctx.getWebSockets()) {
      const kept = socket.deserializeAttachment();
      if (kept.principal) kept.principal.expiresAt = Date.now() - 1;
      else if (kept.expiresAt !== null) kept.expiresAt = Date.now() - 1;
      if (sentTo !== undefined) kept.throttled.sentTo = sentTo;
      socket.serializeAttachment(kept);
    }
  });
  await evictDurableObject(stub);
}

/**
 * The same for a gateway, in memory: its sockets to spaces and jobs keep it from hibernating.
 *
 * @param areRenewed the clients have fresh tokens by now, but what they follow was opened with the expired ones
 */
async function expireAtGateways(areRenewed = false): Promise<void> {
  for (const gateway of gateways()) {
    await runInDurableObject(gateway, async (object, { storage }) => {
      await storage.deleteAlarm();
      const sockets = Reflect.get(object, "sockets") as GatewaySockets;
      for (const { attachment } of sockets.all()) {
        const { principal } = attachment;
        if (principal.kind !== "user") continue;
        if (areRenewed) attachment.principal = { ...principal };
        principal.expiresAt = Date.now() - 1;
      }
    });
  }
}

afterEach(() => {
  vi.restoreAllMocks();
});

describe("a socket of a private job whose token has expired", () => {
  it("while it waited for the job, hears nothing of it but why it is closed (B7b)", async () => {
    const id = freshId();
    const viewer = await followCaughtUp(id, "", await bearer({ rooms: [`job:${id}`] }, 60));
    const backend = await followCaughtUp(id, "", await bearer({ publish: [`job:${id}`] }, 60));
    const invited = await followCaughtUp(id, "", OPERATOR);
    setClockAhead(61_000);
    const body = { id, visibility: "private", input: { secret: 1 }, message: "secret" };
    await expectStatus(201, await call("POST", "/api/jobs", body, OPERATOR));
    for (const socket of [viewer, backend]) {
      expect((await socket.closed).code).toBe(4401);
      expect(await socket.next(() => true)).toMatchObject({
        type: "error",
        code: "not_authenticated",
      });
    }
    expect(await invited.next("progress")).toMatchObject({ message: "secret" });
  });

  it("gets no event, although the alarm that closes it is late (B7b)", async () => {
    const id = await makeJob({ visibility: "private" });
    const viewer = await followCaughtUp(id, "", await bearer({ rooms: ["*"] }));
    const backend = await followCaughtUp(id, "", await bearer({ publish: ["*"] }));
    await expireTokens(jobObjectOf(id));
    await reportOk(id, "cancel", { reason: "secret" });
    for (const socket of [viewer, backend]) {
      expect((await socket.closed).code).toBe(4401);
      expect(await socket.next(() => true)).toMatchObject({
        type: "error",
        code: "not_authenticated",
      });
    }
  });

  it("gets nothing of what was held back for it before the object hibernated (B7b)", async () => {
    const id = await makeJob({ visibility: "private" });
    const viewer = await followCaughtUp(id, "?max_rate=20", await bearer({ rooms: ["*"] }));
    for (const delta of ["a", "b"]) await reportOk(id, "output", { delta });
    await viewer.next(({ delta }) => delta === "b");
    await expireTokens(jobObjectOf(id), 2);
    await call("GET", `/api/jobs/${id}`, undefined, OPERATOR);
    expect((await viewer.closed).code).toBe(4401);
    expect(await viewer.next(() => true)).toMatchObject({
      type: "error",
      code: "not_authenticated",
    });
  });

  it("is not told the cancel of a public job either, if it can't report any more (B7b)", async () => {
    const id = await makeJob();
    const backend = await followCaughtUp(id, "", await bearer({ publish: ["*"] }));
    const other = await followCaughtUp(id, "", await bearer({ publish: ["*"] }));
    await expireTokens(jobObjectOf(id));
    const fresh = await followCaughtUp(id, "", await bearer({ publish: ["*"] }));
    await reportOk(id, "cancel", { reason: "no budget" });
    expect((await fresh.until("progress")).map(({ type }) => type)).toEqual(["cancel", "progress"]);
    for (const socket of [backend, other]) {
      expect((await socket.until("progress")).map(({ type }) => type)).toEqual(["progress"]);
    }
  });

  it("is refused what it asks for over /ws as well (B7b)", async () => {
    const id = freshId();
    const client = await connectUser("ann", { rooms: [`job:${id}`] });
    expect(await subscribe(client, `job:${id}`)).toMatchObject({ offset: 0 });
    await client.next("progress");
    await expireAtGateways(true);
    const body = { id, visibility: "private", message: "secret" };
    await expectStatus(201, await call("POST", "/api/jobs", body, OPERATOR));
    expect(await client.until("unsubscribed")).toMatchObject([
      { type: "error", code: "not_authenticated" },
      { code: 4401 },
    ]);
  });
});

describe("a socket of rooms whose token has expired", () => {
  it("gets no event of its room, and what it sends closes it with 4401 (R11d)", async () => {
    const room = freshRoom();
    const claims = { rooms: [room], publish: [room] };
    const token = await userToken("ann", claims);
    const path = `/api/rooms/${room}/ws?presence=1&token=${token}`;
    const viewer = await TestSocket.open(path);
    await viewer.next("connection");
    const other = await TestSocket.open(`/api/rooms/${room}/ws`, OPERATOR);
    await other.next("connection");
    await expireTokens(roomObjectOf(room));
    await publish(room, "step.done", { n: 1 });
    await other.next("step.done");
    viewer.send({ type: "publish", event: { type: "step.done", data: { n: 2 } }, ref: 1 });
    expect((await viewer.closed).code).toBe(4401);
    const frames = await viewer.until("connection.error");
    expect(frames.filter(({ type }) => type === "step.done")).toEqual([]);
    await publish(room, "step.done", { n: 3 });
    expect(await other.next("step.done")).toMatchObject({ data: { n: 3 } });
  });

  it("gets no event over /ws, not of a space either, and can't be renewed any more (R11d)", async () => {
    const room = freshRoom();
    const space = await makeSpace({ offline: "queue" });
    const client = await connectUser("eve", { rooms: [room] });
    await subscribe(client, room);
    await subscribe(client, `space:${space.name}`);
    await client.next("space.status");
    await expireAtGateways();
    await publish(room, "step.done", { n: 1 });
    const submit = { input: {} };
    await call("POST", `/api/spaces/${space.name}/jobs`, submit, OPERATOR);
    client.send({ type: "authenticate", token: await userToken("eve"), ref: 1 });
    expect((await client.closed).code).toBe(4401);
    const types = (await client.until("connection.error")).map(({ type }) => type);
    expect(types).toEqual(["connection.error"]);
  });

  it("gets every event before that, also after the gateway hibernated (R6)", async () => {
    const room = freshRoom();
    const client = await connectUser("zoe", { rooms: [room] });
    await subscribe(client, room);
    await hibernateGateways();
    await publish(room, "step.done", { n: 1 });
    expect(await client.next("step.done")).toMatchObject({ data: { n: 1 } });
  });
});

describe("a worker's token that is revoked while its worker dials", () => {
  function dial(name: string, tokenId: string, checkedAt: number): Promise<Response> {
    const origin = "https://edge.test";
    const headers = socketHeaders({ kind: "worker", origin, tokenId, checkedAt });
    return env.SPACE.getByName(name).fetch("https://space/socket", { headers });
  }

  it("opens no socket, although it was good when it was checked (H4a)", async () => {
    const space = await makeSpace();
    const checkedAt = Date.now();
    const path = `/api/spaces/${space.name}/tokens/${space.tokenId}`;
    await expectStatus(204, await call("DELETE", path, undefined, OPERATOR));
    const answer = await dial(space.name, space.tokenId, checkedAt);
    expect([answer.webSocket, await answer.json()]).toMatchObject([
      null,
      { code: "temporarily_unavailable" },
    ]);
  });

  it("opens none in a new space of the name of its deleted one (H4a)", async () => {
    const space = await makeSpace();
    const checkedAt = Date.now();
    await call("DELETE", `/api/spaces/${space.name}`, undefined, OPERATOR);
    await expect.poll(() => Date.now()).toBeGreaterThan(checkedAt);
    await call("POST", "/api/spaces", { name: space.name }, OPERATOR);
    expect((await dial(space.name, space.tokenId, checkedAt)).webSocket).toBeNull();
    const { webSocket } = await dial(space.name, space.tokenId, Date.now());
    expect(webSocket).not.toBeNull();
    webSocket?.accept();
    webSocket?.close();
  });
});
