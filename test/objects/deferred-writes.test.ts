import { evictDurableObject, runDurableObjectAlarm, runInDurableObject } from "cloudflare:test";
import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import { DEFER_MS } from "../../src/space/deferred-writes.ts";
import {
  call,
  connectWorker,
  expectStatus,
  type Frame,
  getJob,
  inRows,
  makeSpace,
  objectOf,
  submit,
  TestSocket,
} from "./support.ts";

const A_DAY_MS = 86_400_000;

type Space = { name: string; token: string };

/** Makes a space whose only job so far ran for `runMs`, with a worker that takes two jobs at once. */
async function makeSpaceOf(runMs: number) {
  const space = await makeSpace();
  const { socket: worker } = await connectWorker(space, { concurrency: 2 });
  const { id } = await submit(space.name);
  await worker.next("job");
  await finish(worker, id);
  await inRows(space, "UPDATE jobs SET dispatched_at = completed_at - ?", runMs);
  await evictDurableObject(objectOf(space));
  const client = await TestSocket.open(`/api/spaces/${space.name}/ws`);
  await client.next("space.status");
  return { space, worker, client };
}

async function finish(worker: TestSocket, job_id: string): Promise<void> {
  worker.send({ type: "result", job_id, attempt: 1, output: "done" });
  expect(await worker.next("ack")).toMatchObject({ job_id, of: "result" });
}

/** Submits a job and waits until the worker gets it; returns its id. */
async function handOver({ client, worker }: Sides, more: object = {}): Promise<string> {
  client.send({ type: "submit", ref: 1, input: {}, ...more });
  return String((await worker.next("job")).job_id);
}

/** Returns the stored statuses of all jobs but the first. */
async function stored(space: Space): Promise<unknown[]> {
  const rows = await inRows(space, "SELECT status FROM jobs ORDER BY ulid");
  return rows.slice(1).map(({ status }) => status);
}

/** Advances the clock and the timers of the space's object. */
function pass(space: Space, ms: number): Promise<unknown> {
  return runInDurableObject(objectOf(space), () => vi.advanceTimersByTime(ms));
}

type Sides = { client: TestSocket; worker: TestSocket };

const isAbout = (job_id: string) => (frame: Frame) => frame.job_id === job_id;
const isEnd = ({ status }: Frame) => status === "completed";

/** Opens another worker's socket, on which no worker has registered yet. */
async function dialAgain({ name, token }: Space): Promise<TestSocket> {
  const headers = { authorization: `Bearer ${token}` };
  const socket = await TestSocket.open(`/api/spaces/${name}/connect`, headers);
  await socket.next("hello");
  return socket;
}

beforeEach(() => {
  vi.useFakeTimers({ toFake: ["setTimeout", "clearTimeout", "Date"] });
});
afterEach(() => {
  vi.useRealTimers();
});

describe("a job of a space whose jobs end within milliseconds", () => {
  it("is stored once, with its result, and its submitter then gets every event from the first on (S9, S10)", async () => {
    const { space, ...sides } = await makeSpaceOf(1);
    const id = await handOver(sides);
    expect(await stored(space)).toEqual([]);
    expect(sides.client.unread.filter(isAbout(id))).toEqual([]);
    await finish(sides.worker, id);
    expect(await stored(space)).toEqual(["completed"]);
    const frames = (await sides.client.until(isEnd)).filter(isAbout(id));
    expect(frames.map(({ type, status, offset }) => [type, status, offset])).toEqual([
      ["accepted", undefined, undefined],
      ["progress", "queued", 1],
      ["progress", "processing", 2],
      ["progress", "completed", 3],
    ]);
    expect(await getJob(id)).toMatchObject({ status: "completed", result: "done", attempt: 1 });
  });

  it("is stored and accepted without its result if the result is late (S9)", async () => {
    const { space, ...sides } = await makeSpaceOf(1);
    const id = await handOver(sides);
    await pass(space, DEFER_MS);
    expect(await sides.client.next("accepted")).toMatchObject({ job_id: id, ref: 1 });
    expect(await stored(space)).toEqual(["processing"]);
    await finish(sides.worker, id);
    expect(await sides.client.next(isEnd)).toMatchObject({ job_id: id });
  });

  it("is not deferred longer because other jobs come", async () => {
    const { space, ...sides } = await makeSpaceOf(1);
    const first = await handOver(sides);
    await pass(space, DEFER_MS - 1);
    const second = await handOver(sides);
    expect(await stored(space)).toEqual([]);
    await pass(space, 1);
    expect(await sides.client.next("accepted")).toMatchObject({ job_id: first });
    expect(await stored(space)).toEqual(["processing"]);
    await pass(space, DEFER_MS - 1);
    expect(await sides.client.next("accepted")).toMatchObject({ job_id: second });
    expect(await stored(space)).toEqual(["processing", "processing"]);
  });

  it("stays deferred while a job that was stored before ends", async () => {
    const { space, ...sides } = await makeSpaceOf(1);
    const late = await handOver(sides);
    await pass(space, DEFER_MS);
    const quick = await handOver(sides);
    await finish(sides.worker, late);
    expect(await sides.client.next(isEnd)).toMatchObject({ job_id: late });
    expect(await stored(space)).toEqual(["completed"]);
    expect(sides.client.unread.filter(isAbout(quick))).toEqual([]);
    await finish(sides.worker, quick);
    expect(await sides.client.next("accepted")).toMatchObject({ job_id: quick });
    expect(await stored(space)).toEqual(["completed", "completed"]);
  });

  it("is accepted before a job that was submitted after it, even if that one ends first (S9c)", async () => {
    const { space, ...sides } = await makeSpaceOf(1);
    const [first, second] = [await handOver(sides), await handOver(sides)];
    await finish(sides.worker, second);
    const accepted = [await sides.client.next("accepted"), await sides.client.next("accepted")];
    expect(accepted.map(({ job_id }) => job_id)).toEqual([first, second]);
    expect(await stored(space)).toEqual(["processing", "completed"]);
  });

  it("stays deferred if a later job of another submitter ends first", async () => {
    const { space, ...sides } = await makeSpaceOf(1);
    const first = await handOver(sides);
    const submitted = submit(space.name);
    const { job_id: second } = await sides.worker.next("job");
    await finish(sides.worker, String(second));
    expect(await submitted).toMatchObject({ id: second, status: "completed" });
    expect(await stored(space)).toEqual(["completed"]);
    await finish(sides.worker, first);
    expect(await stored(space)).toEqual(["completed", "completed"]);
  });

  it("is accepted before its submitter's next `follow` is answered (S9c)", async () => {
    const { space, ...sides } = await makeSpaceOf(1);
    const known = await handOver(sides);
    await finish(sides.worker, known);
    await sides.client.next(isEnd);
    const id = await handOver(sides);
    sides.client.send({ type: "follow", job_id: known });
    const told = await sides.client.until("connection");
    expect(told[0]).toMatchObject({ type: "accepted", job_id: id });
    expect(told.at(-1)).toMatchObject({ job_id: known });
    expect(await stored(space)).toEqual(["completed", "processing"]);
  });

  it("is accepted before a later submit is refused (S9c)", async () => {
    const { space, ...sides } = await makeSpaceOf(1);
    await handOver(sides);
    sides.client.send({ type: "submit", ref: 2, input: {}, requires: ["gpu"] });
    sides.client.send({ type: "submit", ref: 3, input: 3 });
    await pass(space, DEFER_MS - 1);
    expect(sides.client.unread).toEqual([]);
    await pass(space, 1);
    const told = await sides.client.until(({ ref }) => ref === 3);
    expect(told.map(({ type, ref }) => [type, ref])).toEqual([
      ["accepted", 1],
      ["error", 2],
      ["error", 3],
    ]);
  });

  it.each([
    ["sends output", { type: "output", delta: "a" }],
    ["fails", { type: "fail", code: "oom", message: "no room", retryable: false }],
    ["rejects it", { type: "reject", reason: "no room" }],
  ])("is stored as soon as its worker %s", async (_, frame) => {
    const { space, ...sides } = await makeSpaceOf(1);
    const job_id = await handOver(sides);
    sides.worker.send({ ...frame, job_id, attempt: 1 });
    expect(await sides.client.next("accepted")).toMatchObject({ job_id });
    expect(await stored(space)).toHaveLength(1);
  });

  it("is stored together with a later job that has to wait for a free worker", async () => {
    const { space, ...sides } = await makeSpaceOf(1);
    const running = [await handOver(sides), await handOver(sides)];
    sides.client.send({ type: "submit", ref: 3, input: {} });
    const accepted = await sides.client.until(({ ref }) => ref === 3);
    expect(accepted.filter(({ type }) => type === "accepted")).toMatchObject([
      { job_id: running[0], queue_position: null },
      { job_id: running[1], queue_position: null },
      { queue_position: 1 },
    ]);
    expect(await stored(space)).toEqual(["processing", "processing", "queued"]);
  });

  it("is stored before another worker gets its `hello`", async () => {
    const { space, ...sides } = await makeSpaceOf(1);
    const id = await handOver(sides);
    await dialAgain(space);
    expect(await sides.client.next("accepted")).toMatchObject({ job_id: id });
    expect(await stored(space)).toEqual(["processing"]);
  });

  it("is stored, and canceled, if its submitter leaves and asked for that (S11)", async () => {
    const { space, ...sides } = await makeSpaceOf(1);
    const job_id = await handOver(sides, { cancel_on_disconnect: true });
    sides.client.close();
    expect(await sides.worker.next("cancel")).toMatchObject({ job_id });
    expect(await stored(space)).toEqual(["processing"]);
    sides.worker.send({ type: "fail", job_id, attempt: 1, code: "canceled", message: "" });
    await sides.worker.next("ack");
    expect(await getJob(job_id)).toMatchObject({ status: "canceled" });
  });

  it("sets no alarm, because the monitor asks a space with a worker on its own", async () => {
    const { space, ...sides } = await makeSpaceOf(1);
    await runDurableObjectAlarm(objectOf(space));
    const alarm = () => runInDurableObject(objectOf(space), (_, { storage }) => storage.getAlarm());
    const before = await alarm();
    await finish(sides.worker, await handOver(sides));
    expect(await alarm()).toBe(before);
    expect(Number(before) - Date.now()).toBeGreaterThan(A_DAY_MS / 2);
  });

  it("answers a submit by HTTP once it is stored (H5)", async () => {
    const { space, ...sides } = await makeSpaceOf(1);
    const submitted = submit(space.name);
    const { job_id } = await sides.worker.next("job");
    expect(await stored(space)).toEqual([]);
    await pass(space, DEFER_MS);
    expect(await submitted).toMatchObject({ id: job_id, status: "processing" });
    expect(await stored(space)).toEqual(["processing"]);
  });

  it("is one job for two submits with the same idempotency key (S15)", async () => {
    const { space, ...sides } = await makeSpaceOf(1);
    const id = await handOver(sides, { idempotency_key: "once" });
    sides.client.send({ type: "submit", ref: 2, input: {}, idempotency_key: "once" });
    await finish(sides.worker, id);
    const frames = await sides.client.until(({ ref }) => ref === 2);
    expect(frames.filter(({ type }) => type === "accepted")).toMatchObject([
      { ref: 1, job_id: id },
      { ref: 2, job_id: id },
    ]);
    expect(await stored(space)).toEqual(["completed"]);
  });

  it("never existed if the object crashes meanwhile, and nobody got a frame about it (S9, W25a)", async () => {
    const { space, ...sides } = await makeSpaceOf(1);
    const job_id = await handOver(sides);
    await runInDurableObject(objectOf(space), (_object, state) => state.abort("a crash")).catch(
      () => undefined,
    );
    await sides.client.closed;
    expect(sides.client.unread.filter(isAbout(job_id))).toEqual([]);
    const { registered } = await connectWorker(space, { resume: [{ job_id, attempt: 1 }] });
    expect(registered).toMatchObject({ resumed: [], dropped: [{ job_id, attempt: 1 }] });
    await expectStatus(404, await call("GET", `/api/jobs/${job_id}`));
    expect(await stored(space)).toEqual([]);
  });

  it("is stored at once if its webhook gets the event `start`", async () => {
    const { space, ...sides } = await makeSpaceOf(1);
    const webhook = { url: "http://127.0.0.1:9/", events: ["start"] };
    const id = await handOver(sides, { webhook });
    expect(await sides.client.next("accepted")).toMatchObject({ job_id: id });
    expect(await stored(space)).toEqual(["processing"]);
  });
});

describe("a job that is not stored yet", () => {
  it.each([
    ["reads it", (id: string) => getJob(id)],
    ["reads its webhook deliveries", (id: string) => call("GET", `/api/jobs/${id}/webhooks`)],
    ["cancels it", (id: string) => call("POST", `/api/jobs/${id}/cancel`)],
  ])("is stored before somebody %s", async (_, ask) => {
    const { space, ...sides } = await makeSpaceOf(1);
    const id = await handOver(sides);
    await ask(id);
    expect(await stored(space)).toEqual(["processing"]);
  });

  it("reaches a client that follows it meanwhile with each event once", async () => {
    const { space, ...sides } = await makeSpaceOf(1);
    const id = await handOver(sides);
    const viewer = await TestSocket.open(`/api/jobs/${id}/ws`);
    await viewer.next("progress");
    expect(await stored(space)).toEqual(["processing"]);
    const next = await handOver(sides);
    sides.client.send({ type: "follow", job_id: next });
    await sides.client.next("connection");
    expect(await stored(space)).toEqual(["processing", "processing"]);
    await finish(sides.worker, id);
    const rest = await viewer.until(isEnd);
    expect(rest.map(({ offset }) => offset)).toEqual([3]);
  });

  it("is stored before its worker can resume it on another socket", async () => {
    const { space, ...sides } = await makeSpaceOf(1);
    const again = await dialAgain(space);
    const job_id = await handOver(sides);
    const resume = [{ job_id, attempt: 1 }];
    again.send({ type: "register", worker_id: "worker-1", concurrency: 2, resume });
    expect(await again.next("registered")).toMatchObject({ resumed: resume });
    expect(await stored(space)).toEqual(["processing"]);
  });

  it("is stored before it is dispatched again", async () => {
    const { space, ...sides } = await makeSpaceOf(1);
    const again = await dialAgain(space);
    await handOver(sides);
    again.send({ type: "register", worker_id: "worker-1", concurrency: 2 });
    expect(await again.next("job")).toMatchObject({ attempt: 2 });
    expect(await stored(space)).toEqual(["processing"]);
  });

  it("is stored in time even if the clock is set back", async () => {
    const { space, ...sides } = await makeSpaceOf(1);
    await handOver(sides);
    await runInDurableObject(objectOf(space), () => vi.setSystemTime(Date.now() - 60_000));
    await pass(space, DEFER_MS);
    expect(await stored(space)).toEqual(["processing"]);
  });

  it("is not in the space's report to the monitor", async () => {
    const { space, ...sides } = await makeSpaceOf(1);
    const id = await handOver(sides);
    const report = await objectOf(space).getReport();
    expect(report?.recent.map((job) => job.id)).not.toContain(id);
    expect(await stored(space)).toEqual([]);
  });
});

describe("a job of a space whose jobs take longer", () => {
  it("is stored and accepted at once (S9)", async () => {
    const { space, ...sides } = await makeSpaceOf(DEFER_MS);
    const id = await handOver(sides);
    expect(await sides.client.next("accepted")).toMatchObject({ job_id: id });
    expect(await stored(space)).toEqual(["processing"]);
  });
});
