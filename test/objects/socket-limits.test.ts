import { runInDurableObject } from "cloudflare:test";
import { env } from "cloudflare:workers";
import { describe, expect, it, onTestFinished, vi } from "vitest";
import { indexOf } from "../../src/backend-job/job-index.ts";
import { MessageTurns } from "../../src/objects/message-turns.ts";
import { LIMITS } from "../../src/protocol/limits.ts";
import { makeKey, makeMember, withKey } from "./accounts-support.ts";
import {
  bearer,
  follow,
  followCaughtUp,
  objectOf as jobObjectOf,
  makeJob,
  report,
} from "./backend-jobs-support.ts";
import { monitor } from "./monitor-support.ts";
import {
  connectUser,
  freshRoom,
  gateways,
  objectOf as roomObjectOf,
  userToken,
} from "./rooms-support.ts";
import {
  call,
  connectWorker,
  expectStatus,
  type Frame,
  makeSpace,
  OPERATOR,
  objectOf,
  submit,
  TestSocket,
} from "./support.ts";

const { socketsPerOwner } = LIMITS;

/** A socket, the object that keeps it, and where in it that socket's frames are counted. */
interface Door {
  socket: TestSocket;
  object: DurableObjectStub;
  limiter: readonly string[];
}

const SPACE_LIMITER = ["engine", "intake", "limits", "clients"];

async function openRoomSocket(): Promise<Door> {
  const room = freshRoom();
  const token = await userToken("ann", { rooms: ["project:*"] });
  const headers = { authorization: `Bearer ${token}` };
  const socket = await TestSocket.open(`/api/rooms/${room}/ws`, headers);
  return {
    socket,
    object: roomObjectOf(room),
    limiter: ["rooms", room, "handler", "frameLimiter"],
  };
}

async function openJobSocket(): Promise<Door> {
  const space = await makeSpace({ offline: "queue" });
  const socket = await TestSocket.open(`/ws/${(await submit(space.name)).id}?acks=1`);
  return { socket, object: objectOf(space), limiter: SPACE_LIMITER };
}

/** The socket of a job that acknowledges, with the offsets of 15 pieces of output that it was sent. */
async function openStreamed() {
  const space = await makeSpace({ offline: "queue" });
  const { socket: worker } = await connectWorker(space);
  const { id } = await submit(space.name);
  const socket = await TestSocket.open(`/ws/${id}?acks=1`);
  const { attempt } = await worker.next("job");
  const offsets = [];
  for (let n = 0; n < 15; n += 1) {
    worker.send({ type: "output", job_id: id, attempt, delta: "x" });
    offsets.push((await socket.next("output")).offset);
  }
  return { socket, object: objectOf(space), offsets };
}

async function openPlainJobSocket(): Promise<Door> {
  const space = await makeSpace({ offline: "queue" });
  const socket = await TestSocket.open(`/ws/${(await submit(space.name)).id}`);
  return { socket, object: objectOf(space), limiter: SPACE_LIMITER };
}

async function openPlainViewer(): Promise<Door> {
  const id = await makeJob();
  const socket = await followCaughtUp(id);
  return { socket, object: jobObjectOf(id), limiter: ["handler", "clients"] };
}

async function openSpaceSocket(): Promise<Door> {
  const space = await makeSpace({ offline: "queue" });
  const socket = await TestSocket.open(`/api/spaces/${space.name}/ws`);
  await socket.next("space.status");
  return { socket, object: objectOf(space), limiter: SPACE_LIMITER };
}

async function openWatcher(): Promise<Door> {
  const socket = await TestSocket.open("/ws/monitor", OPERATOR);
  return { socket, object: monitor(), limiter: ["watchers", "frameLimiter"] };
}

async function openViewer(): Promise<Door> {
  const id = await makeJob();
  const socket = await followCaughtUp(id, "?acks=1");
  return { socket, object: jobObjectOf(id), limiter: ["handler", "clients"] };
}

async function openWaiting(): Promise<Door> {
  const id = `missing-${crypto.randomUUID()}`;
  const socket = await followCaughtUp(id);
  return {
    socket,
    object: indexOf(env, id),
    limiter: ["waiting", "jobs", id, "handler", "clients"],
  };
}

async function openWorker(): Promise<Door> {
  const space = await makeSpace();
  const { socket } = await connectWorker(space);
  return { socket, object: objectOf(space), limiter: ["engine", "intake", "limits", "workers"] };
}

async function openGateway(): Promise<Door> {
  const socket = await connectUser("ann");
  for (const object of gateways()) {
    const isIt = await runInDurableObject(object, (instance) =>
      Reflect.get(instance, "sockets").all().some(isOfAnn),
    );
    if (isIt) return { socket, object, limiter: ["handler", "frameLimiter"] };
  }
  throw new Error("no gateway has the socket");
}

function isOfAnn({ attachment }: { attachment: { principal: { userId?: string } } }): boolean {
  return attachment.principal.userId === "ann";
}

const NO_JOB = `demo.${"0".repeat(26)}`;

/** So that a test need not send as much, nor as fast, as the limits really allow. */
async function allowOnly(burst: number, object: DurableObjectStub, limiter: readonly string[]) {
  await runInDurableObject(object, (instance) => {
    const found: object = limiter.reduce(
      (part, name) => (part instanceof Map ? part.get(name) : Reflect.get(part, name)),
      instance,
    );
    Reflect.set(found, "rate", { burst, perSecond: 0.001 });
    const buckets = Reflect.get(found, "buckets");
    Reflect.set(found, "buckets", buckets instanceof Map ? new Map() : new WeakMap());
  });
}

async function expectRefused(socket: TestSocket, count: number, frame: object | string) {
  for (let n = 0; n < count; n += 1) socket.send(frame);
  const error = await socket.next(({ type, code }) => type === "error" && code === "rate_limited");
  expect(error.message).toMatch(/^Too many frames: \d+ a second at most\.$/);
  expect(await socket.closed).toEqual({ code: 4429, reason: error.message });
}

/** The `ref` of each frame that a message answers. */
function answersTo(frame: Frame): unknown[] {
  return Array.isArray(frame.frames) ? frame.frames.map(({ ref }) => ref) : [frame.ref];
}

describe("a socket that is sent too many frames gets `rate_limited` and close 4429:", () => {
  it.each([
    ["of a space: `cancel`", openSpaceSocket, { type: "cancel", job_id: NO_JOB }],
    ["of a space: the text `pong`", openSpaceSocket, "pong"],
    ["of a space: read checks", openSpaceSocket, { type: "read_check", token: "x" }],
    ["of a space: `ack`, which isn't a frame of it", openSpaceSocket, { type: "ack", offset: 1 }],
    ["of a job: the text `pong`", openJobSocket, "pong"],
    ["of a room: `ping`", openRoomSocket, { type: "ping" }],
    ["of many rooms: `ack`", openGateway, { type: "ack", room: "global", offset: 1 }],
    ["of many rooms: read checks", openGateway, { type: "read_check", token: "x" }],
    ["of the monitor: `ping`", openWatcher, { type: "ping" }],
    ["of a job of a backend: `pong`", openViewer, { type: "pong" }],
    ["of a job of a backend: the text `pong`", openViewer, "pong"],
  ])("%s (S20, R14a, B9b, M5a)", async (_, open, frame) => {
    const { socket, object, limiter } = await open();
    await allowOnly(2, object, limiter);
    await expectRefused(socket, 3, frame);
  });

  it("of a job: an `ack` counts as a tenth of a frame (S20a)", async () => {
    const { socket, object, offsets } = await openStreamed();
    await allowOnly(3, object, SPACE_LIMITER);
    for (const offset of offsets) socket.send({ type: "ack", offset });
    // With a frame for each it would have been closed before.
    socket.send({ type: "cancel" });
    expect(await socket.next(({ status }) => status === "canceled")).toBeTruthy();
  });

  it("of a job of a backend: an `ack` counts as a tenth of a frame (B9b)", async () => {
    const { socket, object, limiter } = await openViewer();
    const id = object.name ?? "";
    const offsets = [];
    for (let n = 0; n < 15; n += 1) {
      await report(id, "output", { delta: "x" });
      offsets.push((await socket.next("output")).offset);
    }
    await allowOnly(3, object, limiter);
    for (const offset of offsets) socket.send({ type: "ack", offset });
    socket.send({ type: "ping" });
    await socket.next("pong");
    await expectRefused(socket, 1, { type: "ping" });
  });

  it.each([
    ["of a job", openJobSocket],
    ["of a job of a backend", openViewer],
  ])("%s: an `ack` that says nothing new counts as a frame (S20a, B9b)", async (_, open) => {
    const { socket, object, limiter } = await open();
    await allowOnly(2, object, limiter);
    await expectRefused(socket, 4, { type: "ack", offset: 1 });
  });

  it.each([
    ["of a job", openPlainJobSocket],
    ["of a job of a backend", openPlainViewer],
  ])("%s: an `ack` without `?acks=1` counts as a frame (S20a, B9b)", async (_, open) => {
    const { socket, object, limiter } = await open();
    await allowOnly(2, object, limiter);
    await expectRefused(socket, 3, { type: "ack", offset: 1 });
  });

  it.each([
    ["of a space", openSpaceSocket],
    ["of a room", openRoomSocket],
    ["of many rooms", openGateway],
    ["of the monitor", openWatcher],
    ["of a job of a backend", openViewer],
    ["of a worker", openWorker],
  ])("%s: a long message counts as many frames, before it is read (S20c)", async (_, open) => {
    const { socket, object, limiter } = await open();
    await allowOnly(10, object, limiter);
    const parse = vi.spyOn(JSON, "parse");
    onTestFinished(() => parse.mockRestore());
    const long = { type: "ping", mark: "x".repeat(11 * LIMITS.countedLength) };
    await expectRefused(socket, 1, long);
    const read = parse.mock.calls.filter(([text]) => String(text).includes(long.mark));
    expect(read.length).toBeLessThanOrEqual(open === openWorker ? 1 : 0);
  });

  it("a batch counts as the frames in it (S20)", async () => {
    const space = await makeSpace({ offline: "queue" });
    const socket = await TestSocket.open(`/api/spaces/${space.name}/ws?batch=1`);
    const frames = Array.from({ length: LIMITS.batchFrames }, (_, ref) => ({
      type: "cancel",
      job_id: NO_JOB,
      ref,
    }));
    await expectRefused(socket, 1, { type: "batch", frames });
  });

  it("the operator's, which may send ten times as many (S20a)", async () => {
    const space = await makeSpace({ offline: "queue" });
    const socket = await TestSocket.open(`/api/spaces/${space.name}/ws?batch=1`, OPERATOR);
    const frames = Array.from({ length: LIMITS.batchFrames }, (_, ref) => ({
      type: "cancel",
      job_id: NO_JOB,
      ref,
    }));
    socket.send({ type: "batch", frames });
    // They are answered in slices: the last answer means that none of them still waits for its turn.
    await socket.next((frame) => answersTo(frame).includes(LIMITS.batchFrames - 1));
    await allowOnly(1, objectOf(space), ["engine", "intake", "limits", "operators"]);
    await expectRefused(socket, 1, { type: "batch", frames });
  });

  it("that of a backend which reports a job, at a rate of its own (B9c)", async () => {
    const id = await makeJob();
    const backend = await follow(id, "", await bearer({ publish: ["job:*"] }));
    await allowOnly(2, jobObjectOf(id), ["handler", "clients"]);
    await allowOnly(10, jobObjectOf(id), ["handler", "backends"]);
    await expectRefused(backend, 11, { type: "progress", progress: 2 });
  });

  it("a worker's, at a rate that no output reaches; its attempt waits for it (W30e)", async () => {
    const space = await makeSpace({ offline: "queue" });
    const { id } = await submit(space.name);
    const path = `/api/spaces/${space.name}/connect`;
    const worker = await TestSocket.open(path, { authorization: `Bearer ${space.token}` });
    worker.send({ type: "register", worker_id: "w" });
    const { attempt } = await worker.next("job");
    await allowOnly(2, objectOf(space), ["engine", "intake", "limits", "workers"]);
    await expectRefused(worker, 3, { type: "output", job_id: id, attempt, delta: "x" });
    const again = await TestSocket.open(path, { authorization: `Bearer ${space.token}` });
    again.send({ type: "register", worker_id: "w", resume: [{ job_id: id, attempt }] });
    expect(await again.next("registered")).toMatchObject({ resumed: [{ job_id: id, attempt }] });
  });

  it("what it sent with them is not handled any more", async () => {
    const space = await makeSpace({ offline: "queue" });
    const { id } = await submit(space.name);
    const socket = await TestSocket.open(`/api/spaces/${space.name}/ws`);
    await allowOnly(2, objectOf(space), SPACE_LIMITER);
    for (let n = 0; n < 3; n += 1) socket.send({ type: "cancel", job_id: NO_JOB });
    socket.send({ type: "cancel", job_id: id });
    expect((await socket.closed).code).toBe(4429);
    const job = await (await call("GET", `/api/jobs/${id}`)).json();
    expect(job).toMatchObject({ status: "queued" });
  });

  it.each([
    ["of a space", openSpaceSocket, { type: "cancel", job_id: NO_JOB }],
    ["of a job", openPlainJobSocket, { type: "ack", offset: 1 }],
    ["of a room", openRoomSocket, { type: "ping" }],
    ["of many rooms", openGateway, { type: "ping" }],
    ["of the monitor", openWatcher, { type: "ping" }],
    ["of a job of a backend", openPlainViewer, { type: "ping" }],
    ["of a job of a backend that waits", openWaiting, { type: "ping" }],
    ["of a worker", openWorker, { type: "load", load: 0.5 }],
  ])("%s: what it sent with them is not even read as JSON", async (_, open, frame) => {
    const { socket, object, limiter } = await open();
    await allowOnly(2, object, limiter);
    const ignore = vi.spyOn(MessageTurns.prototype, "onIgnored");
    onTestFinished(() => ignore.mockRestore());
    for (let n = 0; n < 3; n += 1) socket.send(frame);
    const after = { ...frame, mark: crypto.randomUUID() };
    const parse = vi.spyOn(JSON, "parse");
    onTestFinished(() => parse.mockRestore());
    for (let n = 0; n < 50; n += 1) socket.send(after);
    expect((await socket.closed).code).toBe(4429);
    // The Worker in front of a job that nobody has made yet throws most of it away itself.
    const ignored = open === openWaiting ? 0 : 50;
    await vi.waitUntil(() => ignore.mock.calls.length >= ignored);
    const read = parse.mock.calls.filter(([text]) => String(text).includes(after.mark));
    expect(read).toEqual([]);
  });
});

describe("the sockets that one owner has open at one object", () => {
  it("are limited for an address, but not for others and the operator (H22)", async () => {
    const space = await makeSpace({ offline: "queue" });
    const path = `/api/spaces/${space.name}/ws`;
    const from = (address: string, more = {}) =>
      TestSocket.open(path, { "cf-connecting-ip": address, ...more });
    await runInDurableObject(objectOf(space), (object) => {
      const connections = Reflect.get(object, "connections");
      // As if it had that many.
      Reflect.get(connections, "owners").set("address 192.0.2.1", socketsPerOwner);
      Reflect.get(connections, "owners").set("address 2001:db8:0:0", socketsPerOwner - 1);
    });
    await expect(from("192.0.2.1")).rejects.toThrow(/^429: .*sockets open here/);
    (await from("192.0.2.2")).close();
    (await from("192.0.2.1", OPERATOR)).close();
    // Of IPv6 the first half counts: whoever has one address has all that begin with it.
    const last = await from("2001:db8::1");
    await expect(from("2001:DB8:0:0:5::2")).rejects.toThrow(/^429/);
    last.close();
    await expect.poll(() => from("2001:db8::3").then(() => "opened", String)).toBe("opened");
  });

  it("are limited for a key and for a user, and not for others at their address (H22)", async () => {
    const space = await makeSpace({ offline: "queue" });
    const member = await makeMember();
    const { id, key } = await makeKey(member, { scopes: ["jobs:read"] });
    const open = (headers: Record<string, string>) =>
      TestSocket.open(`/api/spaces/${space.name}/ws`, {
        "cf-connecting-ip": "192.0.2.31",
        ...headers,
      });
    await runInDurableObject(objectOf(space), (object) => {
      const owners = Reflect.get(Reflect.get(object, "connections"), "owners");
      owners.set(`key ${id}`, socketsPerOwner);
      owners.set("user ann", socketsPerOwner);
      owners.set("address 192.0.2.31", socketsPerOwner - 1);
    });
    const ann = await userToken("ann");
    await expect(open({ authorization: `Bearer ${key}` })).rejects.toThrow(/^429/);
    await expect(open({ authorization: `Bearer ${ann}` })).rejects.toThrow(/^429/);
    (await open({ authorization: `Bearer ${await userToken("bob")}` })).close();
    (await open({})).close();
  });

  it("are limited for a user, who is told so over the socket (R2)", async () => {
    const room = freshRoom();
    const token = await userToken("ann", { rooms: ["project:*"] });
    const open = () =>
      TestSocket.open(`/api/rooms/${room}/ws`, { authorization: `Bearer ${token}` });
    const first = await open();
    await runInDurableObject(roomObjectOf(room), (object) => {
      Reflect.get(object, "rooms").get(room).sockets.owners.set("user ann", socketsPerOwner);
    });
    const refused = await open();
    expect(await refused.next("connection.error")).toMatchObject({ code: "rate_limited" });
    expect((await refused.closed).code).toBe(4429);
    first.close();
    const again = async () => (await (await open()).next(() => true)).type;
    await expect.poll(again).toBe("connection");
  });

  it("are limited for a user at a gateway (R2)", async () => {
    const opened = [];
    for (const gateway of gateways()) {
      await runInDurableObject(gateway, (object) => {
        Reflect.get(object, "sockets").owners.set("user many", socketsPerOwner);
      });
      opened.push(gateway);
    }
    const token = await userToken("many");
    const refused = await TestSocket.open("/ws", { authorization: `Bearer ${token}` });
    expect(await refused.next("connection.error")).toMatchObject({ code: "rate_limited" });
    for (const gateway of opened) {
      await runInDurableObject(gateway, (object) => {
        Reflect.get(object, "sockets").owners.delete("user many");
      });
    }
  });

  it("are limited for a viewer of a backend's job, whether that exists yet or not (B8c)", async () => {
    const id = `missing-${crypto.randomUUID()}`;
    const open = () => follow(id, "", { "cf-connecting-ip": "192.0.2.7" });
    const owner = "address 192.0.2.7";
    const refusal = async () => {
      const refused = await open();
      expect(await refused.next("connection.error")).toMatchObject({ code: "rate_limited" });
      return (await refused.closed).code;
    };
    await open();
    await runInDurableObject(indexOf(env, id), (object) => {
      Reflect.get(object, "waiting").find(id).sockets.owners.set(owner, socketsPerOwner);
    });
    expect(await refusal()).toBe(4429);
    await expectStatus(201, await call("POST", "/api/jobs", { id }, OPERATOR));
    await runInDurableObject(jobObjectOf(id), (object) => {
      Reflect.get(object, "sockets").owners.set(owner, socketsPerOwner);
    });
    expect(await refusal()).toBe(4429);
  });
});

describe("events and reports over HTTP", () => {
  it("are counted one by one, for each user and room (R14d)", async () => {
    const room = freshRoom();
    const token = await userToken("ann", { publish: ["project:*"] });
    await TestSocket.open(`/api/rooms/${room}/ws`, OPERATOR);
    await allowOnly(20, roomObjectOf(room), ["publishers"]);
    const events = Array.from({ length: 15 }, () => ({ type: "step.done" }));
    const publish = () =>
      call("POST", `/api/rooms/${room}/events`, { events }, { authorization: `Bearer ${token}` });
    await expectStatus(201, await publish());
    const refused = await publish();
    expect(Number(refused.headers.get("retry-after"))).toBeGreaterThanOrEqual(1);
    await expectStatus(429, refused);
    expect(await refused.json()).toMatchObject({ code: "rate_limited" });
    const byOperator = await call("POST", `/api/rooms/${room}/events`, { events }, OPERATOR);
    await expectStatus(201, byOperator);
  });

  it("are counted for each key by itself (R14d)", async () => {
    const room = freshRoom();
    await TestSocket.open(`/api/rooms/${room}/ws`, OPERATOR);
    await allowOnly(20, roomObjectOf(room), ["publishers"]);
    const admin = await makeMember("admin");
    const events = Array.from({ length: 15 }, () => ({ type: "step.done" }));
    for (let n = 0; n < 2; n += 1) {
      const key = withKey(await makeKey(admin, { scopes: ["rooms:publish:project:*"] }));
      const publish = () => call("POST", `/api/rooms/${room}/events`, { events }, key);
      await expectStatus(201, await publish());
      const refused = await expectStatus(429, await publish());
      expect(Number(refused.headers.get("retry-after"))).toBeGreaterThanOrEqual(1);
    }
  });
});

describe("reports of a job over HTTP", () => {
  it("are counted for the job (B9c)", async () => {
    const id = await makeJob();
    await allowOnly(1, jobObjectOf(id), ["reports"]);
    await expectStatus(200, await report(id, "progress", { progress: 1 }));
    const refused = await expectStatus(429, await report(id, "progress", { progress: 2 }));
    expect(Number(refused.headers.get("retry-after"))).toBeGreaterThanOrEqual(1);
  });
});

describe("a worker", () => {
  it("is sent no more jobs than it reads, and goes on when it has shown that (W11b)", async () => {
    const space = await makeSpace({ offline: "queue", concurrency: 100 });
    const { socket: worker } = await connectWorker(space, { concurrency: 100 });
    const input = { text: "x".repeat(500_000) };
    for (let n = 0; n < 30; n += 1) await submit(space.name, { input });
    const received = worker.unread.filter(({ type }) => type === "job");
    expect(received.length).toBeGreaterThan(10);
    expect(received.length).toBeLessThan(20);
    const check = worker.unread.findLast(({ type }) => type === "read_check");
    worker.send(check ?? {});
    const jobs = () => worker.unread.filter(({ type }) => type === "job").length;
    await expect.poll(jobs).toBe(30);
  });
});
