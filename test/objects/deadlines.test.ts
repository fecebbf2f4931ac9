import { evictDurableObject, runDurableObjectAlarm, runInDurableObject } from "cloudflare:test";
import { describe, expect, it } from "vitest";
import { LIMITS } from "../../src/protocol/limits.ts";
import { CANCEL_CONFIRM_S } from "../../src/queue/deadline.ts";
import { LEASE_S } from "../../src/space/workers/leases.ts";
import {
  call,
  connectWorker,
  expectStatus,
  getJob,
  makeSpace,
  type NamedSpace,
  OPERATOR,
  objectOf,
  problemOf,
  runSql,
  submit,
  TestSocket,
  type WorkerSpace,
} from "./support.ts";

/** A limit that is short enough to wait for, and long enough for the frames that a test sends before it ends. */
const SHORT_S = 0.5;

function nextEnd(socket: TestSocket) {
  return socket.next(({ status }) => ["completed", "failed", "canceled"].includes(String(status)));
}

/** Evicts the object from memory, so that it reads its rows again, and runs its alarm. */
async function reloadAndRunAlarm(space: NamedSpace): Promise<void> {
  await evictDurableObject(objectOf(space));
  expect(await runDurableObjectAlarm(objectOf(space))).toBe(true);
}

/** Connects a worker and runs the alarm that its registration has set, so that none is left. */
async function connectWorkerWithoutAlarm(space: WorkerSpace): Promise<TestSocket> {
  const { socket } = await connectWorker(space);
  expect(await runDurableObjectAlarm(objectOf(space))).toBe(true);
  return socket;
}

/** Returns whether the object has an alarm within so many seconds. */
function wakesWithin(space: NamedSpace, seconds: number): Promise<boolean> {
  return runInDurableObject(objectOf(space), async (_object, { storage }) => {
    const at = await storage.getAlarm();
    return at !== null && at <= Date.now() + seconds * 1_000;
  });
}

/** Makes the sockets of the space's workers this many milliseconds older. */
function ageWorkers(space: NamedSpace, ms: number): Promise<void> {
  return runInDurableObject(objectOf(space), (_object, state) => {
    for (const socket of state.getWebSockets()) {
      const at = socket.deserializeAttachment();
      if (at.kind === "worker") {
        socket.serializeAttachment({ ...at, openedAt: at.openedAt - ms });
      }
    }
  });
}

describe("a job that reaches a limit", () => {
  it("of waiting has expired, and no worker gets it", async () => {
    const space = await makeSpace({ offline: "queue", queue_timeout_s: SHORT_S });
    const { id } = await submit(space.name);
    const viewer = await TestSocket.open(`/ws/${id}`);
    const message = `No worker took the job within ${SHORT_S} s (queue_timeout_s). Raise the limit, or add workers.`;
    expect(await nextEnd(viewer)).toMatchObject({
      status: "failed",
      error: { code: "expired", message },
    });
    expect((await viewer.closed).code).toBe(1000);
    const { socket: worker } = await connectWorker(space);
    const next = await submit(space.name);
    expect(await worker.next("job")).toMatchObject({ job_id: next.id });
    expect(await getJob(id)).toMatchObject({ status: "failed", attempt: 0 });
  });

  it("of silence before the first output is taken back from its worker (W29a, W23)", async () => {
    const space = await makeSpace({ first_output_timeout_s: SHORT_S });
    const { socket: worker } = await connectWorker(space);
    const { id } = await submit(space.name);
    const viewer = await TestSocket.open(`/ws/${id}`);
    const message = `The worker sent nothing about the job within ${SHORT_S} s (first_output_timeout_s). Raise the limit in the space's settings if the model needs longer.`;
    expect(await nextEnd(viewer)).toMatchObject({ error: { code: "timeout", message } });
    expect(await worker.next("cancel")).toMatchObject({ job_id: id, attempt: 1, reason: message });
  });

  it("of silence after an output is taken back from its worker (W29a, W23)", async () => {
    const space = await makeSpace({ stall_timeout_s: SHORT_S, first_output_timeout_s: 60 });
    const { socket: worker } = await connectWorker(space);
    const { id } = await submit(space.name);
    worker.send({ type: "progress", job_id: id, attempt: 1, progress: 20 });
    const viewer = await TestSocket.open(`/ws/${id}`);
    const message = `The worker sent nothing more about the job within ${SHORT_S} s (stall_timeout_s). Raise the limit in the space's settings if the model needs longer.`;
    expect(await nextEnd(viewer)).toMatchObject({
      progress: 20,
      error: { code: "timeout", message },
    });
    expect(await worker.next("cancel")).toMatchObject({ job_id: id, attempt: 1 });
  });

  it("of running fails, even if its worker sends output, and a late result is stale (W15, W23b)", async () => {
    const space = await makeSpace({ job_timeout_s: 60, stall_timeout_s: 50 });
    const { socket: worker } = await connectWorker(space);
    const { id } = await submit(space.name);
    worker.send({ type: "output", job_id: id, attempt: 1, delta: "x" });
    const viewer = await TestSocket.open(`/ws/${id}`);
    await viewer.next("output");
    await runSql(space, "UPDATE jobs SET dispatched_at = dispatched_at - 60000");
    await reloadAndRunAlarm(space);
    const message =
      "The attempt did not end within 60 s (job_timeout_s). Raise the limit in the space's settings if the model needs longer.";
    expect(await nextEnd(viewer)).toMatchObject({ error: { code: "timeout", message } });
    expect(await worker.next("cancel")).toMatchObject({ job_id: id, attempt: 1, reason: message });
    worker.send({ type: "result", job_id: id, attempt: 1, output: "late" });
    expect(await worker.next("stale")).toMatchObject({ job_id: id, attempt: 1 });
    expect(await getJob(id)).toMatchObject({ status: "failed", result: null, output: "x" });
  });

  it("is taken back by an alarm alone, which frees the place of its worker (W23b)", async () => {
    const space = await makeSpace({ job_timeout_s: SHORT_S });
    const { socket: worker } = await connectWorker(space);
    const first = await submit(space.name);
    const second = await submit(space.name);
    await worker.next((frame) => frame.type === "job" && frame.job_id === first.id);
    expect(await worker.next("job")).toMatchObject({ job_id: second.id, attempt: 1 });
    expect(await getJob(first.id)).toMatchObject({ error: { code: "timeout" } });
  });

  it("of its own ends by that limit if it is lower than the space's, and otherwise by the space's (H5)", async () => {
    const space = await makeSpace({ queue_timeout_s: 60, offline: "queue" });
    const lower = await submit(space.name, { input: {}, queue_timeout_s: 30 });
    const higher = await submit(space.name, { input: {}, queue_timeout_s: 600 });
    const age = "UPDATE jobs SET queued_at = queued_at - ?1, queue_due_at = queue_due_at - ?1";
    await runSql(space, age, 31_000);
    await reloadAndRunAlarm(space);
    expect((await getJob(lower.id)).error?.message).toContain("30 s (queue_timeout_s)");
    expect((await getJob(higher.id)).status).toBe("queued");
    expect(await wakesWithin(space, 30)).toBe(true);
    await runSql(space, age, 30_000);
    await reloadAndRunAlarm(space);
    expect((await getJob(higher.id)).error?.message).toContain("60 s (queue_timeout_s)");
  });

  it("goes on until then", async () => {
    const space = await makeSpace({ job_timeout_s: 60, stall_timeout_s: 60, queue_timeout_s: 60 });
    await connectWorker(space);
    const running = await submit(space.name);
    const waiting = await submit(space.name);
    await runSql(
      space,
      "UPDATE jobs SET dispatched_at = dispatched_at - 50000, queue_due_at = queue_due_at - 50000",
    );
    await reloadAndRunAlarm(space);
    expect((await getJob(running.id)).status).toBe("processing");
    expect((await getJob(waiting.id)).status).toBe("queued");
  });
});

describe("a job whose cancel its worker does not confirm", () => {
  it("is canceled after 10 seconds, and later frames about it are stale (W23a, W22)", async () => {
    const space = await makeSpace();
    const worker = await connectWorkerWithoutAlarm(space);
    const { id } = await submit(space.name);
    await call("POST", `/api/jobs/${id}/cancel`);
    await worker.next("cancel");
    expect(await wakesWithin(space, CANCEL_CONFIRM_S)).toBe(true);
    const age = "UPDATE jobs SET cancel_requested_at = cancel_requested_at - ?";
    await runSql(space, age, (CANCEL_CONFIRM_S - 5) * 1_000);
    await reloadAndRunAlarm(space);
    expect((await getJob(id)).status).toBe("processing");
    await runSql(space, age, 5_000);
    await reloadAndRunAlarm(space);
    expect(await getJob(id)).toMatchObject({
      status: "canceled",
      error: { code: "canceled", message: "Canceled on request." },
    });
    worker.send({ type: "output", job_id: id, attempt: 1, delta: "late" });
    expect(await worker.next("stale")).toMatchObject({ job_id: id, attempt: 1 });
  });

  it("is canceled, not failed, if another limit is reached first", async () => {
    const space = await makeSpace({ job_timeout_s: SHORT_S });
    await connectWorker(space);
    const { id } = await submit(space.name);
    const viewer = await TestSocket.open(`/ws/${id}`);
    await call("POST", `/api/jobs/${id}/cancel`);
    expect(await nextEnd(viewer)).toMatchObject({
      status: "canceled",
      error: { code: "canceled", message: "Canceled on request." },
    });
  });
});

describe("a job that is over", () => {
  it("is kept for `result_ttl_s`, and then not found (C11c)", async () => {
    const space = await makeSpace({ result_ttl_s: 600 });
    const { socket: worker } = await connectWorker(space);
    const { id } = await submit(space.name);
    worker.send({ type: "output", job_id: id, attempt: 1, delta: "x" });
    worker.send({ type: "result", job_id: id, attempt: 1, output: null });
    await worker.next("ack");
    const age = "UPDATE jobs SET completed_at = completed_at - ?";
    await runSql(space, age, 590_000);
    await reloadAndRunAlarm(space);
    expect((await getJob(id)).status).toBe("completed");
    await runSql(space, age, 10_000);
    await reloadAndRunAlarm(space);
    for (const path of [`/api/jobs/${id}`, `/api/jobs/${id}/events`]) {
      expect(await problemOf(404, call("GET", path))).toMatchObject({ code: "job_not_found" });
    }
    expect(await runSql(space, "SELECT * FROM channel_log")).toEqual([]);
    worker.send({ type: "result", job_id: id, attempt: 1, output: null });
    expect(await worker.next("stale")).toMatchObject({ job_id: id });
  });

  it("is erased earlier if the space's `result_ttl_s` is made shorter", async () => {
    const space = await makeSpace({ offline: "queue" });
    const { id } = await submit(space.name);
    await call("POST", `/api/jobs/${id}/cancel`);
    await runSql(space, "UPDATE jobs SET completed_at = completed_at - 60000");
    const patch = call("PATCH", `/api/spaces/${space.name}`, { result_ttl_s: 30 }, OPERATOR);
    await expectStatus(200, await patch);
    await runDurableObjectAlarm(objectOf(space));
    await problemOf(404, call("GET", `/api/jobs/${id}`));
  });
});

describe("a worker that falls silent", () => {
  it("loses its socket, and its attempt after the grace (W9a, W24a)", async () => {
    const space = await makeSpace({ offline: "queue", reconnect_grace_s: SHORT_S });
    const worker = await connectWorkerWithoutAlarm(space);
    const { id } = await submit(space.name);
    await worker.next("job");
    const viewer = await TestSocket.open(`/ws/${id}`);
    expect(await wakesWithin(space, LEASE_S)).toBe(true);
    await ageWorkers(space, (LEASE_S + 1) * 1_000);
    await reloadAndRunAlarm(space);
    expect(await worker.closed).toMatchObject({ code: 1001 });
    expect(await viewer.next((frame) => frame.status === "queued")).toMatchObject({
      attempt: 1,
      message: `The worker was gone for ${SHORT_S} s (reconnect_grace_s).`,
    });
    const { socket: again } = await connectWorker(space);
    expect(await again.next("job")).toMatchObject({ job_id: id, attempt: 2 });
  });

  it("may come back within the grace and go on (W24)", async () => {
    const space = await makeSpace();
    const { socket: worker } = await connectWorker(space);
    const { id: job_id } = await submit(space.name);
    await ageWorkers(space, (LEASE_S + 1) * 1_000);
    await reloadAndRunAlarm(space);
    expect((await worker.closed).code).toBe(1001);
    const { registered } = await connectWorker(space, { resume: [{ job_id, attempt: 1 }] });
    expect(registered).toMatchObject({ resumed: [{ job_id, attempt: 1 }] });
  });

  it("about its jobs but still sends `ping` keeps its socket (W9)", async () => {
    const space = await makeSpace();
    const { socket: worker } = await connectWorker(space);
    const { id } = await submit(space.name);
    const viewer = await TestSocket.open(`/ws/${id}`);
    await viewer.next("progress");
    worker.send("ping");
    // Sent on the same socket after the ping: once it has an effect, the runtime has seen the ping too.
    worker.send({ type: "output", job_id: id, attempt: 1, delta: "x" });
    await viewer.next("output");
    await ageWorkers(space, (LEASE_S + 1) * 1_000);
    await reloadAndRunAlarm(space);
    worker.send({ type: "result", job_id: id, attempt: 1, output: "here" });
    expect(await worker.next("ack")).toMatchObject({ job_id: id });
  });

  it("before it has registered gets `register_timeout` and close 4408 (W6)", async () => {
    const space = await makeSpace();
    const path = `/api/spaces/${space.name}/connect?token=${space.token}`;
    const worker = await TestSocket.open(path);
    await worker.next("hello");
    expect(await wakesWithin(space, LIMITS.registerMs / 1_000)).toBe(true);
    await ageWorkers(space, LIMITS.registerMs);
    await reloadAndRunAlarm(space);
    expect(await worker.next("error")).toMatchObject({ code: "register_timeout" });
    expect((await worker.closed).code).toBe(4408);
  });
});
