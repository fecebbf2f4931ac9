import { evictDurableObject, runDurableObjectAlarm, runInDurableObject } from "cloudflare:test";
import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import { DEFER_MS } from "../../src/space/jobs/deferred-writes.ts";
import { LEASE_S } from "../../src/space/workers/leases.ts";
import {
  call,
  connectWorker,
  expectStatus,
  type Frame,
  getJob,
  makeSpace,
  objectOf,
  runSql,
  submit,
  TestSocket,
  type WorkerSpace,
} from "./support.ts";

const A_DAY_MS = 86_400_000;

/**
 * Makes a space whose only job so far ran for `runMs`, with a worker that takes two jobs at once. The space defers
 * writes only if its jobs have been quick (decision 0030).
 */
async function makeSpaceWithHistory(runMs: number) {
  const space = await makeSpace();
  const { socket: worker } = await connectWorker(space, { concurrency: 2 });
  const { id } = await submit(space.name);
  await worker.next("job");
  await finish(worker, id);
  await runSql(space, "UPDATE jobs SET dispatched_at = completed_at - ?", runMs);
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
async function submitToWorker({ client, worker }: Peers, more: object = {}): Promise<string> {
  client.send({ type: "submit", ref: 1, input: {}, ...more });
  return String((await worker.next("job")).job_id);
}

/** Returns the stored statuses of all jobs but the first. */
async function storedStatuses(space: WorkerSpace): Promise<unknown[]> {
  const rows = await runSql(space, "SELECT status FROM jobs ORDER BY ulid");
  return rows.slice(1).map(({ status }) => status);
}

function alarmOf(space: WorkerSpace): Promise<number | null> {
  return runInDurableObject(objectOf(space), (_object, { storage }) => storage.getAlarm());
}

/** Advances the clock and the timers of the space's object. */
function advance(space: WorkerSpace, ms: number): Promise<unknown> {
  return runInDurableObject(objectOf(space), () => vi.advanceTimersByTime(ms));
}

type Peers = { client: TestSocket; worker: TestSocket };

const isAbout = (job_id: string) => (frame: Frame) => frame.job_id === job_id;
const isEnd = ({ status }: Frame) => status === "completed";

/** Opens another worker's socket, on which no worker has registered yet. */
async function dialWorker({ name, token }: WorkerSpace): Promise<TestSocket> {
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
    const { space, ...peers } = await makeSpaceWithHistory(1);
    const id = await submitToWorker(peers);
    expect(await storedStatuses(space)).toEqual([]);
    expect(peers.client.unread.filter(isAbout(id))).toEqual([]);
    await finish(peers.worker, id);
    expect(await storedStatuses(space)).toEqual(["completed"]);
    const frames = (await peers.client.until(isEnd)).filter(isAbout(id));
    expect(frames.map(({ type, status, offset }) => [type, status, offset])).toEqual([
      ["accepted", undefined, undefined],
      ["progress", "queued", 1],
      ["progress", "processing", 2],
      ["progress", "completed", 3],
    ]);
    expect(await getJob(id)).toMatchObject({ status: "completed", result: "done", attempt: 1 });
  });

  it("is stored with its failure if its worker sends a result that can't be taken (W30a)", async () => {
    const { space, ...peers } = await makeSpaceWithHistory(1);
    const id = await submitToWorker(peers);
    expect(await storedStatuses(space)).toEqual([]);
    peers.worker.send(`{"type":"result","job_id":"${id}","attempt":1,"output":NaN}`);
    expect(await peers.worker.next("stale")).toMatchObject({ job_id: id });
    expect(await storedStatuses(space)).toEqual(["failed"]);
    const frames = await peers.client.until(({ status }) => status === "failed");
    expect(frames.filter(isAbout(id)).map(({ type }) => type)).toEqual([
      "accepted",
      "progress",
      "progress",
      "progress",
    ]);
  });

  it("is stored and accepted without its result if the result is late (S9)", async () => {
    const { space, ...peers } = await makeSpaceWithHistory(1);
    const id = await submitToWorker(peers);
    await advance(space, DEFER_MS);
    expect(await peers.client.next("accepted")).toMatchObject({ job_id: id, ref: 1 });
    expect(await storedStatuses(space)).toEqual(["processing"]);
    await finish(peers.worker, id);
    expect(await peers.client.next(isEnd)).toMatchObject({ job_id: id });
  });

  it("is not deferred longer because other jobs come", async () => {
    const { space, ...peers } = await makeSpaceWithHistory(1);
    const first = await submitToWorker(peers);
    await advance(space, DEFER_MS - 1);
    const second = await submitToWorker(peers);
    expect(await storedStatuses(space)).toEqual([]);
    await advance(space, 1);
    expect(await peers.client.next("accepted")).toMatchObject({ job_id: first });
    expect(await storedStatuses(space)).toEqual(["processing"]);
    await advance(space, DEFER_MS - 1);
    expect(await peers.client.next("accepted")).toMatchObject({ job_id: second });
    expect(await storedStatuses(space)).toEqual(["processing", "processing"]);
  });

  it("stays deferred while a job that was stored before ends", async () => {
    const { space, ...peers } = await makeSpaceWithHistory(1);
    const late = await submitToWorker(peers);
    await advance(space, DEFER_MS);
    const quick = await submitToWorker(peers);
    await finish(peers.worker, late);
    expect(await peers.client.next(isEnd)).toMatchObject({ job_id: late });
    expect(await storedStatuses(space)).toEqual(["completed"]);
    expect(peers.client.unread.filter(isAbout(quick))).toEqual([]);
    await finish(peers.worker, quick);
    expect(await peers.client.next("accepted")).toMatchObject({ job_id: quick });
    expect(await storedStatuses(space)).toEqual(["completed", "completed"]);
  });

  it("is accepted before a job that was submitted after it, even if that one ends first (S9c)", async () => {
    const { space, ...peers } = await makeSpaceWithHistory(1);
    const [first, second] = [await submitToWorker(peers), await submitToWorker(peers)];
    await finish(peers.worker, second);
    const accepted = [await peers.client.next("accepted"), await peers.client.next("accepted")];
    expect(accepted.map(({ job_id }) => job_id)).toEqual([first, second]);
    expect(await storedStatuses(space)).toEqual(["processing", "completed"]);
  });

  it("stays deferred if a later job of another submitter ends first", async () => {
    const { space, ...peers } = await makeSpaceWithHistory(1);
    const first = await submitToWorker(peers);
    const submitted = submit(space.name);
    const { job_id: second } = await peers.worker.next("job");
    await finish(peers.worker, String(second));
    expect(await submitted).toMatchObject({ id: second, status: "completed" });
    expect(await storedStatuses(space)).toEqual(["completed"]);
    await finish(peers.worker, first);
    expect(await storedStatuses(space)).toEqual(["completed", "completed"]);
  });

  it("is accepted before its submitter's next `follow` is answered (S9c)", async () => {
    const { space, ...peers } = await makeSpaceWithHistory(1);
    const known = await submitToWorker(peers);
    await finish(peers.worker, known);
    await peers.client.next(isEnd);
    const id = await submitToWorker(peers);
    peers.client.send({ type: "follow", job_id: known });
    const frames = await peers.client.until("connection");
    expect(frames[0]).toMatchObject({ type: "accepted", job_id: id });
    expect(frames.at(-1)).toMatchObject({ job_id: known });
    expect(await storedStatuses(space)).toEqual(["completed", "processing"]);
  });

  it("is accepted before a later submit is refused (S9c)", async () => {
    const { space, ...peers } = await makeSpaceWithHistory(1);
    await submitToWorker(peers);
    peers.client.send({ type: "submit", ref: 2, input: {}, requires: ["gpu"] });
    peers.client.send({ type: "submit", ref: 3, input: 3 });
    await advance(space, DEFER_MS - 1);
    expect(peers.client.unread).toEqual([]);
    await advance(space, 1);
    const frames = await peers.client.until(({ ref }) => ref === 3);
    expect(frames.map(({ type, ref }) => [type, ref])).toEqual([
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
    const { space, ...peers } = await makeSpaceWithHistory(1);
    const job_id = await submitToWorker(peers);
    peers.worker.send({ ...frame, job_id, attempt: 1 });
    expect(await peers.client.next("accepted")).toMatchObject({ job_id });
    expect(await storedStatuses(space)).toHaveLength(1);
  });

  it("is stored together with a later job that has to wait for a free worker", async () => {
    const { space, ...peers } = await makeSpaceWithHistory(1);
    const running = [await submitToWorker(peers), await submitToWorker(peers)];
    peers.client.send({ type: "submit", ref: 3, input: {} });
    const accepted = await peers.client.until(({ ref }) => ref === 3);
    expect(accepted.filter(({ type }) => type === "accepted")).toMatchObject([
      { job_id: running[0], queue_position: null },
      { job_id: running[1], queue_position: null },
      { queue_position: 1 },
    ]);
    expect(await storedStatuses(space)).toEqual(["processing", "processing", "queued"]);
  });

  it("is stored before another worker gets its `hello`", async () => {
    const { space, ...peers } = await makeSpaceWithHistory(1);
    const id = await submitToWorker(peers);
    await dialWorker(space);
    expect(await peers.client.next("accepted")).toMatchObject({ job_id: id });
    expect(await storedStatuses(space)).toEqual(["processing"]);
  });

  it("is stored, and canceled, if its submitter leaves and asked for that (S11)", async () => {
    const { space, ...peers } = await makeSpaceWithHistory(1);
    const job_id = await submitToWorker(peers, { cancel_on_disconnect: true });
    peers.client.close();
    expect(await peers.worker.next("cancel")).toMatchObject({ job_id });
    expect(await storedStatuses(space)).toEqual(["processing"]);
    peers.worker.send({ type: "fail", job_id, attempt: 1, code: "canceled", message: "" });
    await peers.worker.next("ack");
    expect(await getJob(job_id)).toMatchObject({ status: "canceled" });
  });

  it("sets no alarm, because the monitor asks a space with a worker on its own", async () => {
    const { space, worker, client } = await makeSpaceWithHistory(1);
    client.close();
    await client.closed;
    await runDurableObjectAlarm(objectOf(space));
    const before = await alarmOf(space);
    const submitted = submit(space.name);
    await finish(worker, String((await worker.next("job")).job_id));
    await submitted;
    expect(await alarmOf(space)).toBe(before);
    expect(Number(before) - Date.now()).toBeGreaterThan(A_DAY_MS / 2);
  });

  it("sets no alarm besides the one for those who watch the space (decision 0036)", async () => {
    const { space, ...peers } = await makeSpaceWithHistory(1);
    await runDurableObjectAlarm(objectOf(space));
    const before = await alarmOf(space);
    expect(Number(before) - Date.now()).toBeLessThanOrEqual(LEASE_S * 1_000);
    await finish(peers.worker, await submitToWorker(peers));
    expect(await alarmOf(space)).toBe(before);
  });

  it("answers a submit by HTTP once it is stored (H5)", async () => {
    const { space, ...peers } = await makeSpaceWithHistory(1);
    const submitted = submit(space.name);
    const { job_id } = await peers.worker.next("job");
    expect(await storedStatuses(space)).toEqual([]);
    await advance(space, DEFER_MS);
    expect(await submitted).toMatchObject({ id: job_id, status: "processing" });
    expect(await storedStatuses(space)).toEqual(["processing"]);
  });

  it("is one job for two submits with the same idempotency key (S15)", async () => {
    const { space, ...peers } = await makeSpaceWithHistory(1);
    const id = await submitToWorker(peers, { idempotency_key: "once" });
    peers.client.send({ type: "submit", ref: 2, input: {}, idempotency_key: "once" });
    await finish(peers.worker, id);
    const frames = await peers.client.until(({ ref }) => ref === 2);
    expect(frames.filter(({ type }) => type === "accepted")).toMatchObject([
      { ref: 1, job_id: id },
      { ref: 2, job_id: id },
    ]);
    expect(await storedStatuses(space)).toEqual(["completed"]);
  });

  it("never existed if the object crashes meanwhile, and nobody got a frame about it (S9, W25a)", async () => {
    const { space, ...peers } = await makeSpaceWithHistory(1);
    const job_id = await submitToWorker(peers);
    await runInDurableObject(objectOf(space), (_object, state) => state.abort("a crash")).catch(
      () => undefined,
    );
    await peers.client.closed;
    expect(peers.client.unread.filter(isAbout(job_id))).toEqual([]);
    const { registered } = await connectWorker(space, { resume: [{ job_id, attempt: 1 }] });
    expect(registered).toMatchObject({ resumed: [], dropped: [{ job_id, attempt: 1 }] });
    await expectStatus(404, await call("GET", `/api/jobs/${job_id}`));
    expect(await storedStatuses(space)).toEqual([]);
  });

  it("is stored at once if its webhook gets the event `start`", async () => {
    const { space, ...peers } = await makeSpaceWithHistory(1);
    const webhook = { url: "http://127.0.0.1:9/", events: ["start"] };
    const id = await submitToWorker(peers, { webhook });
    expect(await peers.client.next("accepted")).toMatchObject({ job_id: id });
    expect(await storedStatuses(space)).toEqual(["processing"]);
  });
});

describe("a job that is not stored yet", () => {
  it.each([
    ["reads it", (id: string) => getJob(id)],
    ["reads its webhook deliveries", (id: string) => call("GET", `/api/jobs/${id}/webhooks`)],
    ["cancels it", (id: string) => call("POST", `/api/jobs/${id}/cancel`)],
  ])("is stored before somebody %s", async (_, ask) => {
    const { space, ...peers } = await makeSpaceWithHistory(1);
    const id = await submitToWorker(peers);
    await ask(id);
    expect(await storedStatuses(space)).toEqual(["processing"]);
  });

  it("reaches a client that follows it meanwhile with each event once", async () => {
    const { space, ...peers } = await makeSpaceWithHistory(1);
    const id = await submitToWorker(peers);
    const viewer = await TestSocket.open(`/api/jobs/${id}/ws`);
    await viewer.next("progress");
    expect(await storedStatuses(space)).toEqual(["processing"]);
    const next = await submitToWorker(peers);
    peers.client.send({ type: "follow", job_id: next });
    await peers.client.next("connection");
    expect(await storedStatuses(space)).toEqual(["processing", "processing"]);
    await finish(peers.worker, id);
    const rest = await viewer.until(isEnd);
    expect(rest.map(({ offset }) => offset)).toEqual([3]);
  });

  it("is stored before its worker can resume it on another socket", async () => {
    const { space, ...peers } = await makeSpaceWithHistory(1);
    const again = await dialWorker(space);
    const job_id = await submitToWorker(peers);
    const resume = [{ job_id, attempt: 1 }];
    again.send({ type: "register", worker_id: "worker-1", concurrency: 2, resume });
    expect(await again.next("registered")).toMatchObject({ resumed: resume });
    expect(await storedStatuses(space)).toEqual(["processing"]);
  });

  it("is stored before it is dispatched again", async () => {
    const { space, ...peers } = await makeSpaceWithHistory(1);
    const again = await dialWorker(space);
    await submitToWorker(peers);
    again.send({ type: "register", worker_id: "worker-1", concurrency: 2 });
    expect(await again.next("job")).toMatchObject({ attempt: 2 });
    expect(await storedStatuses(space)).toEqual(["processing"]);
  });

  it("is stored in time even if the clock is set back", async () => {
    const { space, ...peers } = await makeSpaceWithHistory(1);
    await submitToWorker(peers);
    await runInDurableObject(objectOf(space), () => vi.setSystemTime(Date.now() - 60_000));
    await advance(space, DEFER_MS);
    expect(await storedStatuses(space)).toEqual(["processing"]);
  });

  it("is not in the space's report to the monitor", async () => {
    const { space, ...peers } = await makeSpaceWithHistory(1);
    const id = await submitToWorker(peers);
    const report = await objectOf(space).getReport();
    expect(report?.recent.map((job) => job.id)).not.toContain(id);
    expect(await storedStatuses(space)).toEqual([]);
  });
});

describe("a job of a space whose jobs take longer", () => {
  it("is stored and accepted at once (S9)", async () => {
    const { space, ...peers } = await makeSpaceWithHistory(DEFER_MS);
    const id = await submitToWorker(peers);
    expect(await peers.client.next("accepted")).toMatchObject({ job_id: id });
    expect(await storedStatuses(space)).toEqual(["processing"]);
  });
});
