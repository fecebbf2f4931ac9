import { beforeEach, describe, expect, inject, it, onTestFinished } from "vitest";
import { WebSocket } from "ws";
import { operatorKey, secret } from "../../scripts/local.ts";
import { Broadcaster } from "../../src/client/broadcaster.ts";
import {
  type ClientOptions,
  DialoutClient,
  type Gap,
  isEvent,
  JobFailed,
  type JobProgress,
  type RoomEvent,
  type SpaceStatus,
} from "../../src/client/index.ts";
import { freePort } from "../support/port.ts";
import { tokenOf } from "../support/tokens.ts";
import { EdgeClient } from "./client.ts";
import { makeState, removeState, runEdge } from "./edge.ts";

const TEXT = "Ada Lovelace wrote the first program in London. It is a wonderful piece of work!";
const url = inject("edgeUrl");
const edge = new EdgeClient(url);

function clientOf(options: ClientOptions = {}): DialoutClient {
  const client = new DialoutClient({ url, ...options });
  onTestFinished(() => client.close());
  return client;
}

function userToken(claims: object, seconds = 600): Promise<string> {
  return tokenOf(secret("JWT_SECRET"), "ada", { ...claims }, seconds);
}

async function all<T>(items: AsyncIterable<T>): Promise<T[]> {
  const read: T[] = [];
  for await (const item of items) read.push(item);
  return read;
}

describe("the client with a space", () => {
  let space: { name: string; token: string };

  beforeEach(async () => {
    space = await edge.makeSpace({ enable_file_upload: true });
  });

  it("submits a job, reads its text piece by piece, and gets its result", async () => {
    await edge.startWorker(space, ["demo"]);
    const job = await clientOf().space(space.name).submit({ prompt: TEXT });
    const pieces = await all(job.output());
    expect(pieces.length).toBeGreaterThan(1);
    const resource = await job.get();
    expect(pieces.join("")).toBe(resource.output);
    expect(await job.result()).toEqual(resource.result);
    const events = await all(job.events());
    expect(events.at(-1)).toMatchObject({ type: "progress", status: "completed" });
  });

  it("sends files, and several jobs at once", async () => {
    await edge.startWorker(space, ["exec", "--", "cat"]);
    const files = { notes: new File(["some notes"], "notes.txt", { type: "text/plain" }) };
    const handle = clientOf().space(space.name);
    const job = await handle.submit({ n: 1 }, { files, priority: 2 });
    expect(await job.get()).toMatchObject({
      priority: 2,
      input: { n: 1 },
      files: [{ field: "notes", name: "notes.txt", content_type: "text/plain", size: 10 }],
    });
    const submitted = await handle.submitMany([
      { input: { n: 2 } },
      { input: { prompt: 3 as never } },
      { input: { n: 4 }, job_timeout_s: 9 },
    ]);
    expect(submitted.map(({ ok }) => ok)).toEqual([true, false, true]);
    await Promise.all(submitted.map((answer) => answer.ok && answer.job.result()));
  });

  it("reports why a job is refused, and why one ended without a result", async () => {
    const handle = clientOf().space(space.name);
    await expect(handle.submit({})).rejects.toMatchObject({ code: "worker_not_connected" });
    await edge.startWorker(space, ["exec", "--", "sleep", "60"]);
    const job = await handle.submit({});
    const result = job.result().catch((error) => error);
    await job.cancel();
    const error = await result;
    expect(error).toBeInstanceOf(JobFailed);
    expect(error).toMatchObject({ code: "canceled", jobId: job.id });
    const nowhere = clientOf().space("no-such-space").watch({});
    expect(await nowhere.closed).toMatchObject({ code: "space_not_found" });
    await expect(
      clientOf()
        .job(`${job.id.slice(0, -3)}ZZZ`)
        .result(),
    ).rejects.toMatchObject({
      code: "job_not_found",
    });
  });

  it("uses a public space with a user's token, and a private one with the operator's key (S2)", async () => {
    const worker = await edge.startWorker(space, ["demo"]);
    const user = clientOf({ token: await userToken({ rooms: ["project:*"] }) });
    const job = await user.space(space.name).submit({ prompt: TEXT });
    expect(await job.result()).toMatchObject({});
    expect((await user.space(space.name).statuses().next()).value).toMatchObject({
      worker: "connected",
    });
    await worker.stop();
    const path = `/api/spaces/${space.name}`;
    await edge.asOperator("PATCH", path, { visibility: "private", offline: "queue" });
    const refused = user.space(space.name).watch({});
    expect(await refused.closed).toMatchObject({ code: expect.stringMatching(/not_/) });
    const operator = clientOf({ token: operatorKey() }).space(space.name);
    expect((await operator.statuses().next()).value).toMatchObject({ worker: "disconnected" });
    const secret = await operator.submit({ prompt: TEXT });
    expect((await secret.events().next()).value).toMatchObject({ status: "queued" });
  });

  it("reports when the worker connects and disconnects", async () => {
    const seen: SpaceStatus["worker"][] = [];
    clientOf()
      .space(space.name)
      .watch({ onStatus: ({ worker }) => seen.push(worker) });
    await expect.poll(() => seen).toEqual(["disconnected"]);
    const worker = await edge.startWorker(space, ["demo"]);
    await expect.poll(() => seen.at(-1)).toBe("connected");
    await worker.stop();
    await expect.poll(() => seen.at(-1)).toBe("disconnected");
  });
});

describe("the client with a backend's job", () => {
  it("shows its reports to followers, even to one that follows before the job is made (B8)", async () => {
    const id = `job-${crypto.randomUUID()}`;
    const reporter = clientOf({ token: await userToken({ publish: [`job:${id}`] }) });
    const made = { id, input: { video: 7 }, message: "Waiting" };
    const texts: unknown[] = [];
    const progress: JobProgress[] = [];
    const handle = clientOf().job(id);
    const following = handle.follow({
      onOutput: ({ delta }) => texts.push(delta),
      onProgress: (frame) => progress.push(frame),
    });
    await expect.poll(() => progress.at(-1)?.status).toBe("pending");
    const job = await reporter.createJob(made);
    expect((await reporter.createJob(made)).id).toBe(id);
    expect(await job.progress({ progress: 40, message: "Cutting" })).toMatchObject({
      progress: 40,
    });
    await job.output("a ");
    await job.output("cat");
    expect(await job.complete({ path: "/cat.mp4" })).toMatchObject({ status: "completed" });
    expect(await following.closed).toBeNull();
    expect(texts).toEqual(["a ", "cat"]);
    expect(progress.map(({ message }) => message)).toContain("Cutting");
    expect(progress.at(-1)?.result).toEqual({ path: "/cat.mp4" });
    expect(await handle.result()).toEqual({ path: "/cat.mp4" });
  });

  it("can fail it with a code of its own, and can't make one without a token (B3, B6)", async () => {
    const reporter = clientOf({ token: await userToken({ publish: ["job:*"] }) });
    const job = await reporter.createJob();
    await job.fail("The disk is full.", "disk_full");
    const failure = { code: "disk_full", message: "The disk is full." };
    await expect(job.handle.result()).rejects.toMatchObject(failure);
    await expect(clientOf().createJob()).rejects.toMatchObject({ code: "not_authenticated" });
  });
});

describe("the client with rooms", () => {
  const roomOf = (kind = "project") => `${kind}:${crypto.randomUUID()}`;
  const broadcaster = () => new Broadcaster({ url, token: operatorKey() });

  it("receives what a backend publishes, and who joins and leaves (R6, R10)", async () => {
    const id = crypto.randomUUID();
    const client = clientOf({ token: await userToken({ rooms: ["project:*"] }) });
    const room = client.room(`project:${id}`);
    const present: string[] = [];
    const events = room.events();
    room.subscribe({ onPresence: ({ type, user_id }) => present.push(`${type} ${user_id}`) });
    const users = async () => (await room.presence()).users;
    await expect.poll(users, { timeout: 10_000 }).toHaveLength(1);
    const sent = await broadcaster().broadcastProjectUpdated(id, { name: "Engine" });
    const { value } = await events.next();
    if (!value || value.type === "gap" || !isEvent(value, "project.updated")) {
      throw new Error("expected an event");
    }
    expect(value).toMatchObject({ id: sent.id, data: { project_id: id, name: "Engine" } });
    expect((await room.history()).events).toMatchObject([{ id: sent.id }]);
    const bo = clientOf({
      token: await tokenOf(secret("JWT_SECRET"), "bo", { rooms: [`project:${id}`] }),
    });
    const visit = bo.room(`project:${id}`).subscribe({});
    await expect.poll(() => present).toContain("presence.joined bo");
    visit.close();
    await expect.poll(() => present).toContain("presence.left bo");
    await expect(
      room.publish({ type: "project.updated", data: { project_id: 1 } }),
    ).rejects.toMatchObject({ code: "not_allowed" });
  });

  it("receives 1,500 events that were published while it was away, each once and in order", async () => {
    const room = clientOf({ token: operatorKey() }).room(roomOf());
    const first = await room.publish({ type: "step.done", data: { n: 0 } });
    const { epoch } = await room.history();
    for (const from of [1, 1_001]) {
      const events = Array.from({ length: from === 1 ? 1_000 : 500 }, (_, index) => {
        return { type: "step.done", data: { n: from + index } };
      });
      await edge.asOperator("POST", `/api/rooms/${encodeURIComponent(room.name)}/events`, {
        events,
      });
    }
    const received: (RoomEvent | Gap)[] = [];
    const since = `${epoch}:${first.offset}`;
    const subscription = room.subscribe({
      since,
      fillGaps: true,
      onEvent: (event) => received.push(event),
      onGap: (gap) => received.push(gap),
    });
    await expect.poll(() => received.length, { timeout: 20_000 }).toBeGreaterThanOrEqual(1_000);
    await room.publish({ type: "step.done", data: { n: 1_501 } });
    await expect.poll(() => received.length, { timeout: 20_000 }).toBe(1_501);
    subscription.close();
    expect(received.map((event) => (event.type === "gap" ? "gap" : event.data.n))).toEqual(
      Array.from({ length: 1_501 }, (_, index) => index + 1),
    );
  });

  it("begins with the newest events while others are published, each once and in order (R18b)", async () => {
    const room = clientOf({ token: operatorKey() }).room(roomOf());
    const publish = (n: number) => room.publish({ type: "step.done", data: { n } });
    for (let n = 1; n <= 30; n += 1) await publish(n);
    const received: (RoomEvent | Gap)[] = [];
    const onItem = (item: RoomEvent | Gap) => void received.push(item);
    const following = room.subscribe({ last: 20, onEvent: onItem, onGap: onItem });
    for (let n = 31; n <= 80; n += 1) await publish(n);
    const numbers = () => received.map((item) => (item.type === "gap" ? "gap" : item.data.n));
    await expect.poll(() => numbers().at(-1), { timeout: 20_000 }).toBe(80);
    following.close();
    const first = Number(numbers()[0]);
    expect(received.length).toBeGreaterThanOrEqual(20);
    expect(numbers()).toEqual(Array.from({ length: 81 - first }, (_, index) => first + index));
    const { events, next } = await room.history({ last: 2 });
    expect(events.map(({ data }) => data.n)).toEqual([79, 80]);
    const before = await room.history({ last: 1, before: next });
    expect(before.events.map(({ data }) => data.n)).toEqual([78]);
    const back = await all(room.pastEvents({ order: "desc" }));
    expect(back.map((item) => "data" in item && item.data.n)).toEqual(
      Array.from({ length: 80 }, (_, index) => 80 - index),
    );
  });

  it("knows who is in a room, and learns of each user who comes and goes (R10)", async () => {
    const name = roomOf();
    const tokenFor = (user: string) => tokenOf(secret("JWT_SECRET"), user, { rooms: [name] });
    const lists: string[] = [];
    clientOf({ token: await tokenFor("ada") })
      .room(name)
      .watchPresence({
        onUsers: (users) => lists.push(users.map(({ user_id }) => user_id).join()),
      });
    await expect.poll(() => lists.at(-1)).toBe("ada");
    const visit = clientOf({ token: await tokenFor("bo") })
      .room(name)
      .subscribe({});
    await expect.poll(() => lists.at(-1)).toBe("ada,bo");
    visit.close();
    await expect.poll(() => lists.at(-1)).toBe("ada");
  });

  it("does not learn of a user whose connection is cut and who comes back, but of who stays away (R10a)", async () => {
    const name = roomOf();
    const tokenFor = (user: string) => tokenOf(secret("JWT_SECRET"), user, { rooms: [name] });
    const about: string[] = [];
    const room = clientOf({ token: await tokenFor("ada") }).room(name);
    room.subscribe({ onPresence: ({ type, user_id }) => user_id === "bo" && about.push(type) });
    const present = Promise.withResolvers<void>();
    room.watchPresence({ onUsers: (users) => users.length > 0 && present.resolve() });
    await present.promise;
    const protocols = ["dialout.v1", `dialout.token.${await tokenFor("bo")}`];
    const visit = async () => {
      const socket = new WebSocket(`${url.replace("http", "ws")}/ws`, protocols);
      await new Promise((resolve) => socket.once("open", resolve));
      socket.send(JSON.stringify({ type: "subscribe", room: name, ref: 1 }));
      await new Promise<void>((resolve) => {
        socket.on("message", (data) => {
          const { type, ref } = JSON.parse(String(data));
          if (type === "subscribed" && ref === 1) resolve();
        });
      });
      return socket;
    };
    const first = await visit();
    await expect.poll(() => about, { timeout: 20_000 }).toEqual(["presence.joined"]);
    first.terminate();
    const second = await visit();
    second.terminate();
    const cutAt = Date.now();
    await expect
      .poll(() => about, { timeout: 20_000 })
      .toEqual(["presence.joined", "presence.left"]);
    expect(Date.now() - cutAt).toBeGreaterThan(4_000);
  });

  it("is refused a room that its token does not name, and receives events of the others", async () => {
    const client = clientOf({ token: await userToken({ rooms: ["agent:7"] }) });
    const refused = client.room("project:42").subscribe({});
    const events = client.room("user:ada").events();
    expect(await refused.closed).toMatchObject({ code: "not_allowed" });
    await broadcaster().publish("user:ada", "note.added", { text: "hello" });
    expect((await events.next()).value).toMatchObject({ type: "note.added" });
    const anonymous = clientOf().room("global").subscribe({});
    expect(await anonymous.closed).toMatchObject({ code: "not_authenticated" });
  });

  it("keeps its socket when its token expires, by sending a fresh one (R11)", async () => {
    let given = 0;
    const token = () => {
      given += 1;
      return userToken({ rooms: ["project:*"] }, 8);
    };
    const room = clientOf({ token }).room(roomOf());
    const links: string[] = [];
    const texts: unknown[] = [];
    room.subscribe({
      onEvent: ({ data }) => texts.push(data.text),
      onLink: (state) => links.push(state),
    });
    // By the fourth token the first has expired: a fresh one is requested every 5 seconds.
    await expect.poll(() => given, { timeout: 60_000 }).toBe(4);
    await broadcaster().publish(room.name, "note.added", { text: "still here" });
    await expect.poll(() => texts).toEqual(["still here"]);
    expect(links).toEqual(["open"]);
  });
});

describe("the client when the edge is killed", () => {
  it("continues its jobs and rooms after the restart and misses nothing (C9)", async () => {
    const state = await makeState();
    const port = await freePort();
    let running = await runEdge(state, port);
    onTestFinished(async () => {
      await running.program.stop();
      await removeState(state);
    });
    const client = clientOf({ url: running.url, token: operatorKey() });
    const room = client.room("project:42");
    const numbers: unknown[] = [];
    const gaps: Gap[] = [];
    const links: string[] = [];
    room.subscribe({
      onEvent: ({ data }) => numbers.push(data.n),
      onGap: (gap) => gaps.push(gap),
      onLink: (link) => links.push(link),
    });
    const job = await client.createJob();
    const output = all(job.handle.output());
    const result = job.handle.result();
    await expect.poll(() => links.at(-1)).toBe("open");
    await room.publish({ type: "step.done", data: { n: 1 } });
    await job.output("a ");
    await expect.poll(() => numbers).toEqual([1]);
    await running.program.killAll();
    await expect.poll(() => links.at(-1)).toBe("lost");
    running = await runEdge(state, port);
    await room.publish({ type: "step.done", data: { n: 2 } });
    await job.output("cat");
    await job.complete("done");
    await expect.poll(() => numbers, { timeout: 30_000 }).toEqual([1, 2]);
    expect(gaps).toEqual([]);
    expect((await output).join("")).toBe("a cat");
    expect(await result).toBe("done");
  });
});
