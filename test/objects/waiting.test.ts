import { evictDurableObject, runDurableObjectAlarm, runInDurableObject } from "cloudflare:test";
import { describe, expect, it, vi } from "vitest";
import type { SpaceStatus } from "../../src/protocol/resources.ts";
import { LEASE_S, SILENT_S } from "../../src/space/workers/leases.ts";
import {
  call,
  connectWorker,
  type Frame,
  makeSpace,
  type NamedSpace,
  objectOf,
  problemOf,
  runSql,
  submit,
  TestSocket,
} from "./support.ts";

/** What running attempts have reported, as far as it is stored. */
const LOG = "SELECT first_offset FROM channel_log";
/** Longer than that may take. */
const WITHIN = { timeout: 10_000 };

async function statusOf(space: NamedSpace): Promise<SpaceStatus> {
  const response = await call("GET", `/api/spaces/${space.name}`);
  return (await response.json<{ status: SpaceStatus }>()).status;
}

async function messageOf(id: string): Promise<string | null> {
  const response = await call("GET", `/api/jobs/${id}`);
  return (await response.json<{ message: string | null }>()).message;
}

function watch(space: NamedSpace): Promise<TestSocket> {
  return TestSocket.open(`/api/spaces/${space.name}/ws`);
}

/**
 * Makes it so many seconds ago that the space's workers were last heard of, and evicts the object, which then knows
 * them only from their sockets.
 */
async function silence(space: NamedSpace, seconds: number): Promise<void> {
  await runInDurableObject(objectOf(space), (_object, state) => {
    for (const socket of state.getWebSockets()) {
      const at = socket.deserializeAttachment();
      if (at.kind !== "worker") continue;
      socket.serializeAttachment({ ...at, openedAt: Date.now() - seconds * 1_000 });
    }
  });
  await evictDurableObject(objectOf(space));
}

/** In how many seconds the object's alarm goes off; `null` if none is set. */
function alarmIn(space: NamedSpace): Promise<number | null> {
  return runInDurableObject(objectOf(space), async (_object, { storage }) => {
    const at = await storage.getAlarm();
    return at === null ? null : (at - Date.now()) / 1_000;
  });
}

/** Connects a worker and runs the alarm that its registration has set, so that none is left. */
async function connectIdle(space: NamedSpace & { token: string }): Promise<TestSocket> {
  const { socket } = await connectWorker(space);
  expect(await runDurableObjectAlarm(objectOf(space))).toBe(true);
  return socket;
}

describe("the estimated wait of a space", () => {
  it("is what the running job of the only worker says is left, however short earlier jobs were (S19a)", async () => {
    const space = await makeSpace();
    const { socket: worker } = await connectWorker(space);
    expect((await statusOf(space)).estimated_wait_s).toBe(0);
    const quick = await submit(space.name);
    await worker.next("job");
    worker.send({ type: "result", job_id: quick.id, attempt: 1, output: null });
    await worker.next("ack");
    const { id: job_id } = await submit(space.name);
    const viewer = await watch(space);
    worker.send({ type: "progress", job_id, attempt: 1, progress: 10, estimated_remaining: 27 });
    const told = await viewer.next((frame) => Number(frame.estimated_wait_s) > 20);
    expect(told.estimated_wait_s).toBeLessThanOrEqual(27);
    const { estimated_wait_s: wait } = await statusOf(space);
    expect(wait).toBeGreaterThan(20);
    expect(wait).toBeLessThanOrEqual(27);
  });

  it("is unknown while nothing was measured or reported, and 0 while a place is free (S19, S19a)", async () => {
    const space = await makeSpace();
    const { socket: worker } = await connectWorker(space, { concurrency: 2 });
    const { id: job_id } = await submit(space.name);
    expect((await statusOf(space)).estimated_wait_s).toBe(0);
    await submit(space.name);
    expect((await statusOf(space)).estimated_wait_s).toBeNull();
    worker.send({ type: "progress", job_id, attempt: 1, progress: 50, estimated_remaining: 40 });
    await vi.waitFor(async () => {
      expect((await statusOf(space)).estimated_wait_s).toBeGreaterThan(30);
    });
  });

  it("counts the report's age, not that of later output, also after the object lost its memory", async () => {
    const space = await makeSpace();
    const { socket: worker } = await connectWorker(space);
    const { id: job_id } = await submit(space.name);
    const viewer = await TestSocket.open(`/ws/${job_id}`);
    worker.send({ type: "progress", job_id, attempt: 1, progress: 1, estimated_remaining: 60 });
    await viewer.next(({ progress }) => progress === 1);
    await vi.waitFor(async () => expect(await runSql(space, LOG)).toHaveLength(1), WITHIN);
    const at = "json_extract(events, '$[0].at') - 40000";
    await runSql(space, `UPDATE channel_log SET events = json_set(events, '$[0].at', ${at})`);
    await runSql(space, "UPDATE jobs SET dispatched_at = dispatched_at - 50000");
    worker.send({ type: "output", job_id, attempt: 1, delta: "x" });
    await viewer.next("output");
    await vi.waitFor(async () => expect(await runSql(space, LOG)).toHaveLength(2), WITHIN);
    await evictDurableObject(objectOf(space));
    const { estimated_wait_s: wait } = await statusOf(space);
    expect(wait).toBeGreaterThan(10);
    expect(wait).toBeLessThanOrEqual(20);
  });

  it("grows with the queue, but not with jobs of a lower priority or that no worker can take (S19a)", async () => {
    const space = await makeSpace({ offline: "queue" });
    const { socket: worker } = await connectWorker(space);
    const { id: job_id } = await submit(space.name);
    const viewer = await TestSocket.open(`/ws/${job_id}`);
    worker.send({ type: "progress", job_id, attempt: 1, progress: 0, estimated_remaining: 100 });
    await viewer.next(({ estimated_remaining }) => estimated_remaining === 100);
    await submit(space.name, { input: {}, priority: -1 });
    await submit(space.name, { input: {}, requires: ["gpu"], priority: 5 });
    const alone = (await statusOf(space)).estimated_wait_s;
    expect(alone).toBeGreaterThan(80);
    expect(alone).toBeLessThanOrEqual(100);
    await submit(space.name);
    const second = (await statusOf(space)).estimated_wait_s;
    expect(second).toBeGreaterThan(180);
    expect(second).toBeLessThanOrEqual(200);
  });
});

describe("a worker from which nothing comes", () => {
  it("is said to be silent, by the space and by the jobs that wait for it (S19b)", async () => {
    const space = await makeSpace();
    const { socket: worker } = await connectWorker(space);
    const running = await submit(space.name);
    const waiting = await submit(space.name);
    expect((await statusOf(space)).waiting_reason).toBe("Every worker is busy.");
    await silence(space, 20);
    const reason = /^The worker has not been heard of for 2[0-9] s\.$/;
    const status = await statusOf(space);
    expect(status).toMatchObject({
      worker: "connected",
      estimated_wait_s: null,
      waiting_reason: expect.stringMatching(reason),
    });
    expect(status.worker_silent_s).toBeGreaterThanOrEqual(20);
    expect(await messageOf(waiting.id)).toMatch(reason);
    worker.send({ type: "output", job_id: running.id, attempt: 1, delta: "x" });
    await (await TestSocket.open(`/ws/${running.id}`)).next("output");
    const back = await statusOf(space);
    expect(back.waiting_reason).toBe("Every worker is busy.");
    expect(back).not.toHaveProperty("worker_silent_s");
  });

  it("counts as gone for everybody who looks after the lease (W9a)", async () => {
    const lookers: ((space: NamedSpace) => Promise<void>)[] = [
      async (space) => expect((await statusOf(space)).worker).toBe("disconnected"),
      async ({ name }) => {
        const listed = await call("GET", `/api/spaces?limit=1&cursor=${name.slice(0, -1)}`);
        const { spaces } = await listed.json<{ spaces: { status: SpaceStatus }[] }>();
        expect(spaces).toMatchObject([{ name, status: { worker: "disconnected" } }]);
      },
      async (space) => {
        const viewer = await watch(space);
        expect(await viewer.next("space.status")).toMatchObject({ worker: "disconnected" });
      },
      async (space) => {
        const submitted = call("POST", `/api/spaces/${space.name}/jobs`, { input: {} });
        expect((await problemOf(409, submitted)).code).toBe("worker_not_connected");
      },
      async (space) => {
        expect(await objectOf(space).getReport()).toMatchObject({ connections: 0 });
      },
    ];
    for (const look of lookers) {
      const space = await makeSpace();
      const worker = await connectIdle(space);
      await silence(space, LEASE_S);
      await look(space);
      expect((await worker.closed).code).toBe(1001);
    }
  });

  it("counts as gone for those who ask for a waiting job (W9a)", async () => {
    const space = await makeSpace({ offline: "queue" });
    await connectIdle(space);
    const { id } = await submit(space.name, { input: {}, requires: ["gpu"] });
    await silence(space, LEASE_S);
    expect(await messageOf(id)).toBe("No worker is connected.");
  });

  it("is reported to the sockets of the space at the end of its lease (W9b, S19c)", async () => {
    const space = await makeSpace();
    const worker = await connectIdle(space);
    const viewer = await watch(space);
    expect(await viewer.next("space.status")).toMatchObject({ worker: "connected" });
    expect(await alarmIn(space)).toBeLessThanOrEqual(LEASE_S);
    await silence(space, LEASE_S);
    expect(await runDurableObjectAlarm(objectOf(space))).toBe(true);
    await viewer.next((frame) => frame.worker === "disconnected");
    expect((await worker.closed).code).toBe(1001);
    expect(await alarmIn(space)).toBeNull();
  });

  it("is reported to them earlier while jobs run or wait, and then at the end of its lease (S19b, S19c)", async () => {
    const space = await makeSpace();
    const worker = await connectIdle(space);
    const viewer = await watch(space);
    await submit(space.name);
    await viewer.next((frame) => frame.processing === 1);
    expect(await alarmIn(space)).toBeLessThanOrEqual(SILENT_S);
    await silence(space, SILENT_S);
    expect(await runDurableObjectAlarm(objectOf(space))).toBe(true);
    const silent = (frame: Frame) => frame.worker_silent_s !== undefined;
    expect(await viewer.next(silent)).toMatchObject({ worker: "connected" });
    expect(await alarmIn(space)).toBeLessThanOrEqual(5);
    await silence(space, LEASE_S);
    expect(await runDurableObjectAlarm(objectOf(space))).toBe(true);
    const gone = await viewer.next((frame) => frame.worker === "reconnecting");
    expect(gone).not.toHaveProperty("worker_silent_s");
    expect((await worker.closed).code).toBe(1001);
  });

  it("is told to the sockets of the space when somebody else's look shows its silence", async () => {
    const space = await makeSpace();
    await connectIdle(space);
    const viewer = await watch(space);
    await silence(space, SILENT_S);
    expect((await statusOf(space)).worker_silent_s).toBeGreaterThanOrEqual(SILENT_S);
    await viewer.next((frame) => frame.worker_silent_s !== undefined);
    expect(await alarmIn(space)).toBeLessThanOrEqual(5);
  });

  it("is reported again when its next ping has come, although pings don't wake the object (S19c)", async () => {
    const space = await makeSpace();
    const worker = await connectIdle(space);
    const viewer = await watch(space);
    await submit(space.name);
    await viewer.next((frame) => frame.processing === 1);
    await silence(space, SILENT_S);
    expect(await runDurableObjectAlarm(objectOf(space))).toBe(true);
    await viewer.next((frame) => frame.worker_silent_s !== undefined);
    worker.send("ping");
    await vi.waitFor(() =>
      runInDurableObject(objectOf(space), (_object, state) => {
        const answered = state
          .getWebSockets()
          .map((socket) => state.getWebSocketAutoResponseTimestamp(socket));
        expect(answered.some((at) => at !== null)).toBe(true);
      }),
    );
    await evictDurableObject(objectOf(space));
    expect(await runDurableObjectAlarm(objectOf(space))).toBe(true);
    const back = await viewer.next(({ type }) => type === "space.status");
    expect(back).toMatchObject({ worker: "connected", waiting_reason: "Every worker is busy." });
    expect(back).not.toHaveProperty("worker_silent_s");
  });

  it("wakes no object that nobody watches (S19c)", async () => {
    const space = await makeSpace();
    await connectIdle(space);
    expect(await alarmIn(space)).toBeNull();
    const viewer = await watch(space);
    await viewer.next("space.status");
    expect(await alarmIn(space)).not.toBeNull();
    viewer.close();
    await viewer.closed;
    expect(await runDurableObjectAlarm(objectOf(space))).toBe(true);
    expect(await alarmIn(space)).toBeNull();
  });

  it("is reported to the monitor at the end of its lease, if the monitor asked before (M4a)", async () => {
    const space = await makeSpace();
    await connectIdle(space);
    expect(await objectOf(space).getReport()).toMatchObject({ connections: 1 });
    expect(await alarmIn(space)).toBeLessThanOrEqual(LEASE_S);
  });
});

describe("a space that was asleep", () => {
  it("sends its sockets no status that they know (S3b)", async () => {
    const space = await makeSpace({ offline: "queue" });
    await connectIdle(space);
    const early = await watch(space);
    await early.next("space.status");
    await evictDurableObject(objectOf(space));
    const late = await watch(space);
    await late.next("space.status");
    await submit(space.name);
    const frames = await early.until((frame) => frame.processing === 1);
    expect(frames).toMatchObject([
      { type: "connection", recovered: false },
      { type: "space.status", worker: "connected", processing: 1 },
    ]);
  });
});

describe("why a job waits", () => {
  it("is that the space lets each worker run fewer jobs than it offers", async () => {
    const space = await makeSpace({ concurrency: 1 });
    await connectWorker(space, { concurrency: 4 });
    await submit(space.name);
    const { id } = await submit(space.name);
    const reason = "Every worker is busy: this space lets each run one job at once (concurrency).";
    expect(await messageOf(id)).toBe(reason);
    expect((await statusOf(space)).waiting_reason).toBe(reason);
  });

  it("is that no worker has what it requires, and that none can connect", async () => {
    const space = await makeSpace({ offline: "queue" });
    await connectWorker(space);
    const { id } = await submit(space.name, { input: {}, requires: ["gpu"] });
    expect(await messageOf(id)).toBe(
      "No connected worker has gpu, and no other worker can connect: this space takes only one (max_workers).",
    );
  });

  it("is that it is tried again later (W19a)", async () => {
    const space = await makeSpace();
    const { socket: worker } = await connectWorker(space);
    const { id: job_id } = await submit(space.name);
    await worker.next("job");
    worker.send({
      type: "fail",
      job_id,
      attempt: 1,
      code: "oom",
      message: "no room",
      retryable: true,
    });
    await worker.next("ack");
    await runSql(space, "UPDATE jobs SET available_at = available_at + 60000");
    expect(await messageOf(job_id)).toMatch(/^oom: no room \(tried again in 6[01] s\)$/);
    expect(await statusOf(space)).toMatchObject({ queue_size: 1, estimated_wait_s: 0 });
  });
});
