import { evictDurableObject, runDurableObjectAlarm, runInDurableObject } from "cloudflare:test";
import { describe, expect, it } from "vitest";
import {
  call,
  connectWorker,
  expectStatus,
  type Frame,
  getJob,
  makeSpace,
  nextJobId,
  OPERATOR,
  objectOf,
  runSql,
  submit,
  TestSocket,
  type WorkerSpace,
} from "./support.ts";

function submitWith(space: WorkerSpace, more: object = {}) {
  return submit(space.name, { input: {}, ...more });
}

/** A space whose only worker is busy with a first job. */
async function makeBusy(settings: object = {}) {
  const space = await makeSpace({ offline: "queue", ...settings });
  const { socket: worker } = await connectWorker(space);
  const { id: first } = await submitWith(space);
  expect(await nextJobId(worker)).toBe(first);
  return { space, worker, first };
}

async function finish(worker: TestSocket, job_id: string): Promise<void> {
  worker.send({ type: "result", job_id, attempt: 1, output: null });
  await worker.next("ack");
}

function positionsOf(ids: string[]): Promise<(number | null)[]> {
  return Promise.all(ids.map(async (id) => (await getJob(id)).queue_position));
}

function alarmOf(space: WorkerSpace): Promise<number | null> {
  return runInDurableObject(objectOf(space), (_object, { storage }) => storage.getAlarm());
}

/** Returns the milliseconds between the timestamps of two frames. */
function msBetween(earlier: Frame, later: Frame): number {
  return Date.parse(String(later.timestamp)) - Date.parse(String(earlier.timestamp));
}

const RETRY = { type: "fail", code: "oom", message: "no room", retryable: true };
/** The delay after a failure of the first attempt, and after every reject. */
const FIRST_DELAY_MS = 1_000;

describe("the place of a waiting job in the queue", () => {
  it("is by priority, and by age within a priority", async () => {
    const { space, worker, first } = await makeBusy();
    const asked = [{}, { priority: 10 }, {}, { priority: 10 }, { priority: -1 }, { priority: 100 }];
    const ids: string[] = [];
    for (const more of asked) ids.push((await submitWith(space, more)).id);
    expect(await positionsOf(ids)).toEqual([4, 2, 5, 3, 6, 1]);
    await finish(worker, first);
    const order: number[] = [];
    for (const _ of ids) {
      const id = await nextJobId(worker);
      order.push(ids.indexOf(id));
      await finish(worker, id);
    }
    expect(order).toEqual([5, 1, 3, 0, 2, 4]);
  });

  it("counts every job before it, also those that require other capabilities, and moves up as they go", async () => {
    const { space, worker, first } = await makeBusy();
    const gpu = { requires: ["gpu"] };
    const asked = [{}, gpu, {}, { ...gpu, priority: 5 }, gpu, { requires: ["x"] }, {}];
    const ids: string[] = [];
    for (const [n, more] of asked.entries()) {
      const { id, queue_position } = await submitWith(space, more);
      expect(queue_position).toBe(n === 3 ? 1 : n + 1);
      ids.push(id);
    }
    expect(await positionsOf(ids)).toEqual([2, 3, 4, 1, 5, 6, 7]);
    await call("POST", `/api/jobs/${ids[1]}/cancel`);
    expect(await positionsOf(ids)).toEqual([2, null, 3, 1, 4, 5, 6]);
    await finish(worker, first);
    expect(await nextJobId(worker)).toBe(ids[0]);
    expect(await positionsOf(ids)).toEqual([null, null, 2, 1, 3, 4, 5]);
    await evictDurableObject(objectOf(space));
    expect(await positionsOf(ids)).toEqual([null, null, 2, 1, 3, 4, 5]);
    expect((await submitWith(space, { priority: 1 })).queue_position).toBe(2);
  });

  it("is sent to the job's followers when it changes", async () => {
    const { space } = await makeBusy();
    const [ahead, followed] = [await submitWith(space), await submitWith(space)];
    const viewer = await TestSocket.open(`/ws/${followed.id}`);
    expect(await viewer.next("progress")).toMatchObject({ queue_position: 2 });
    await call("POST", `/api/jobs/${ahead.id}/cancel`);
    expect(await viewer.next(({ queue_position }) => queue_position === 1)).toMatchObject({
      job_id: followed.id,
      status: "queued",
    });
  });
});

describe("the slots of a worker", () => {
  it("are as many as it offers or the space allows, whichever is fewer, and follow a change of the setting (W11, W29)", async () => {
    const space = await makeSpace({ offline: "queue", concurrency: 2 });
    const { socket: worker, registered } = await connectWorker(space, { concurrency: 4 });
    expect(registered).toMatchObject({ config: { concurrency: 2 } });
    const ids: string[] = [];
    for (let n = 0; n < 6; n += 1) ids.push((await submitWith(space)).id);
    expect([await nextJobId(worker), await nextJobId(worker)]).toEqual(ids.slice(0, 2));
    expect(await positionsOf(ids)).toEqual([null, null, 1, 2, 3, 4]);
    const set = async (concurrency: number | null) => {
      const patch = call("PATCH", `/api/spaces/${space.name}`, { concurrency }, OPERATOR);
      await expectStatus(200, await patch);
      return (await worker.next("config")).config;
    };
    expect(await set(3)).toMatchObject({ concurrency: 3 });
    expect(await nextJobId(worker)).toBe(ids[2]);
    expect(await positionsOf(ids)).toEqual([null, null, null, 1, 2, 3]);
    expect(await set(1)).toMatchObject({ concurrency: 1 });
    for (const id of ids.slice(0, 2)) await finish(worker, id);
    expect(await positionsOf(ids.slice(3))).toEqual([1, 2, 3]);
    expect(await set(null)).toMatchObject({ concurrency: 4 });
    for (const id of ids.slice(3)) expect(await nextJobId(worker)).toBe(id);
  });
});

describe("a job whose attempt failed and may be tried again", () => {
  it("waits a second ahead of the others of its priority, which are dispatched meanwhile (W19, W19a)", async () => {
    const { space, worker, first } = await makeBusy();
    const viewer = await TestSocket.open(`/ws/${first}`);
    const [second, urgent] = [await submitWith(space), await submitWith(space, { priority: 1 })];
    worker.send({ ...RETRY, job_id: first, attempt: 1 });
    expect(await worker.next("ack")).toMatchObject({ job_id: first, of: "fail" });
    expect(await nextJobId(worker)).toBe(urgent.id);
    const queued = await viewer.next(({ status }) => status === "queued");
    expect(queued).toMatchObject({ attempt: 1, message: "oom: no room", queue_position: 1 });
    expect(await positionsOf([second.id])).toEqual([2]);
    await finish(worker, urgent.id);
    expect(await nextJobId(worker)).toBe(second.id);
    await finish(worker, second.id);
    expect(await worker.next("job")).toMatchObject({ job_id: first, attempt: 2 });
    const again = await viewer.next(({ status }) => status === "processing");
    expect(msBetween(queued, again)).toBeGreaterThanOrEqual(FIRST_DELAY_MS);
  });

  /** Gives the running attempt this number, so that the delay after its failure is long enough to be seen. */
  async function makeAttempt(space: WorkerSpace, attempt: number): Promise<void> {
    await runSql(space, "UPDATE jobs SET attempts = ?", attempt);
    await evictDurableObject(objectOf(space));
  }

  it.each([
    [5, 16_000],
    [9, 30_000],
  ])(
    "waits longer after attempt %i, and is dispatched by an alarm (W19a)",
    async (attempt, delayMs) => {
      const { space, worker, first } = await makeBusy({ max_attempts: 20 });
      await makeAttempt(space, attempt);
      worker.send({ ...RETRY, job_id: first, attempt });
      await worker.next("ack");
      const wait = "SELECT status, available_at - queued_at AS delay FROM jobs";
      expect(await runSql(space, wait)).toEqual([{ status: "queued", delay: delayMs }]);
      expect(await runDurableObjectAlarm(objectOf(space))).toBe(true);
      expect((await getJob(first)).status).toBe("queued");
      const [row] = await runSql<{ due: number }>(space, "SELECT available_at AS due FROM jobs");
      expect(await alarmOf(space)).toBe(row?.due);
      await runSql(space, "UPDATE jobs SET available_at = available_at - ?", delayMs);
      expect(await runDurableObjectAlarm(objectOf(space))).toBe(true);
      expect(await worker.next("job")).toMatchObject({ job_id: first, attempt: attempt + 1 });
    },
  );

  it("still waits after the object was evicted from memory, and is dispatched without a request (W19a)", async () => {
    const { space, worker, first } = await makeBusy();
    worker.send({ ...RETRY, job_id: first, attempt: 1 });
    await worker.next("ack");
    await evictDurableObject(objectOf(space));
    expect(await worker.next("job")).toMatchObject({ job_id: first, attempt: 2 });
  });

  it("has failed if that was its last attempt (W19)", async () => {
    const { space, worker, first } = await makeBusy({ max_attempts: 5 });
    await makeAttempt(space, 5);
    worker.send({ ...RETRY, job_id: first, attempt: 5 });
    await worker.next("ack");
    expect(await getJob(first)).toMatchObject({
      status: "failed",
      error: {
        code: "too_many_attempts",
        message: "Gave up after 5 attempts; the last one: oom: no room",
      },
    });
  });
});

describe("a job that its worker rejects", () => {
  it("is dispatched again after a second, other jobs at once (W19a)", async () => {
    const space = await makeSpace({ offline: "queue", max_workers: 2 });
    const { socket: first } = await connectWorker(space, { worker_id: "one" });
    const { id } = await submitWith(space);
    const { socket: second } = await connectWorker(space, { worker_id: "two" });
    expect(await nextJobId(first)).toBe(id);
    const viewer = await TestSocket.open(`/ws/${id}`);
    first.send({ type: "load", load: 0.5 });
    first.send({ type: "reject", job_id: id, attempt: 1, reason: "too large" });
    expect(await first.next("ack")).toMatchObject({ job_id: id, of: "reject" });
    const queued = await viewer.next(({ status }) => status === "queued");
    expect(queued).toMatchObject({ message: "too large", queue_position: 1 });
    const other = await submitWith(space);
    expect(await nextJobId(second)).toBe(other.id);
    await finish(second, other.id);
    expect(await second.next("job")).toMatchObject({ job_id: id, attempt: 2 });
    const again = await viewer.next(({ status }) => status === "processing");
    expect(msBetween(queued, again)).toBeGreaterThanOrEqual(FIRST_DELAY_MS);
  });
});
