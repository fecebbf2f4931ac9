import { describe, expect, it } from "vitest";
import { ADMIN } from "../support/callers.ts";
import { pass, runInFakeRuntime, START } from "../support/runtime/globals.ts";
import type { FakeSocket } from "../support/runtime/socket.ts";
import { SpaceHost } from "./space-host.ts";

runInFakeRuntime();

/** Lets seconds pass in which the worker pings as it must. */
async function passPinging(worker: FakeSocket, seconds: number): Promise<void> {
  for (let passed = 0; passed < seconds; passed += 5) {
    worker.push("ping");
    await pass(Math.min(5, seconds - passed) * 1_000);
  }
}

function statusesOf(viewer: FakeSocket) {
  return viewer.takeOnly("space.status");
}

describe("a worker with an attempt", () => {
  it("is closed with 1001 once it was silent for 30 seconds, and not before (W9a)", async () => {
    const space = await SpaceHost.make();
    const worker = await space.connect();
    const id = await space.submit();
    await pass(29_900);
    expect(worker.closed).toBe(null);
    await pass(200);
    expect(worker.closed?.code).toBe(1001);
    expect(await space.statusOf(id)).toBe("processing");
    await pass(14_700);
    expect(await space.job(id)).toMatchObject({ status: "processing" });
    await pass(400);
    expect(await space.job(id)).toMatchObject({ status: "queued", attempt: 1 });
  });

  it("keeps its connection while it pings, however long it says nothing else (W9)", async () => {
    const space = await SpaceHost.make({ job_timeout_s: 600 });
    const worker = await space.connect();
    const id = await space.submit();
    await passPinging(worker, 90);
    await space.host.hibernate();
    await passPinging(worker, 60);
    expect(worker.closed).toBe(null);
    expect(await space.statusOf(id)).toBe("processing");
  });

  it("keeps its connection while it sends frames instead of pings (W9)", async () => {
    const space = await SpaceHost.make({ job_timeout_s: 600 });
    const worker = await space.connect();
    const id = await space.submit();
    for (let second = 0; second < 60; second += 20) {
      await space.report(worker, id, { type: "progress", progress: second });
      await pass(20_000);
    }
    expect(worker.closed).toBe(null);
  });

  it("is closed at the end of its lease also if the object sleeps meanwhile", async () => {
    const space = await SpaceHost.make();
    const worker = await space.connect();
    await space.submit();
    await pass(1_000);
    await space.host.hibernate();
    await pass(30_000);
    expect(worker.closed?.code).toBe(1001);
  });
});

describe("an idle worker that is silent", () => {
  it("wakes nobody while nobody watches, and is gone for whoever looks (W9a)", async () => {
    const space = await SpaceHost.make();
    const worker = await space.connect();
    await pass(12_000);
    const { alarms } = space.host;
    await pass(600_000);
    expect(space.host.alarms).toBe(alarms);
    expect(worker.closed).toBe(null);
    expect((await space.describe()).status.worker).toBe("disconnected");
    expect(worker.closed?.code).toBe(1001);
  });

  it("is gone for whoever looks after its lease, also if its silence was seen before (W9a)", async () => {
    const space = await SpaceHost.make({ offline: "queue" });
    const worker = await space.connect();
    const id = await space.submit({ requires: ["gpu"] });
    await pass(16_000);
    expect((await space.describe()).status).toMatchObject({ worker_silent_s: 16 });
    await pass(15_000);
    const reply = await space.object.jobs(ADMIN, { limit: 5 });
    expect(reply.ok && JSON.parse(reply.body).jobs).toMatchObject([
      { id, message: "No worker is connected." },
    ]);
    expect(worker.closed?.code).toBe(1001);
  });

  it("is gone for whoever looks, and others that ping are not (W9a)", async () => {
    const space = await SpaceHost.make({ max_workers: 2 });
    const silent = await space.connect({ worker_id: "silent", name: "silent" });
    const alive = await space.connect({ worker_id: "alive", name: "alive" });
    await passPinging(alive, 35);
    expect((await space.describe()).status).toMatchObject({
      worker: "connected",
      worker_name: "alive",
    });
    expect([silent.closed?.code, alive.closed]).toEqual([1001, null]);
  });

  it("gets no job after its lease (W9a)", async () => {
    const space = await SpaceHost.make();
    const worker = await space.connect();
    await pass(31_000);
    expect(await space.submit()).toBe("worker_not_connected");
    expect(worker.takeOnly("job")).toEqual([]);
  });

  it("is told as gone to the sockets of the space at the end of its lease (W9b, S19c)", async () => {
    const space = await SpaceHost.make();
    const worker = await space.connect();
    const viewer = await space.follow();
    viewer.take();
    await pass(29_900);
    expect(statusesOf(viewer)).toEqual([]);
    await pass(300);
    expect(statusesOf(viewer)).toMatchObject([{ worker: "disconnected" }]);
    expect(worker.closed?.code).toBe(1001);
  });

  it("is looked after as soon as somebody begins to watch (W9b)", async () => {
    const space = await SpaceHost.make();
    const worker = await space.connect();
    await pass(20_000);
    const viewer = await space.follow();
    expect(statusesOf(viewer)).toMatchObject([{ worker: "connected", worker_silent_s: 20 }]);
    await pass(11_000);
    expect(statusesOf(viewer).at(-1)).toMatchObject({ worker: "disconnected" });
    expect(worker.closed?.code).toBe(1001);
  });

  it("is gone when the socket of a job is opened, whose worker it was", async () => {
    const space = await SpaceHost.make({ reconnect_grace_s: 0, offline: "queue" });
    await space.connect();
    await pass(31_000);
    const id = await space.submit();
    const viewer = await space.followJob(id);
    expect(viewer.takeOnly("progress")).toMatchObject([
      { status: "queued", message: "No worker is connected." },
    ]);
  });
});

describe("a worker whose ping is overdue while a job runs", () => {
  it("is said to be silent after 15 seconds, every 5 seconds again, and then gone (S19b, S19c)", async () => {
    const space = await SpaceHost.make();
    await space.connect();
    await space.submit();
    const viewer = await space.follow();
    viewer.take();
    await pass(14_900);
    expect(statusesOf(viewer).map(({ worker_silent_s }) => worker_silent_s)).not.toContain(15);
    await pass(200);
    expect(statusesOf(viewer)).toMatchObject([{ worker: "connected", worker_silent_s: 15 }]);
    await pass(5_000);
    expect(statusesOf(viewer)).toMatchObject([{ worker_silent_s: 20 }]);
    await pass(5_000);
    expect(statusesOf(viewer)).toMatchObject([{ worker_silent_s: 25 }]);
    await pass(5_000);
    expect(statusesOf(viewer).at(-1)).toMatchObject({ worker: "reconnecting" });
  });

  it("wakes the object no more often than its pings come, while it pings", async () => {
    const space = await SpaceHost.make({ job_timeout_s: 600 });
    const worker = await space.connect();
    await space.submit();
    await space.follow();
    const { alarms } = space.host;
    await passPinging(worker, 120);
    expect(space.host.alarms - alarms).toBeLessThanOrEqual(14);
    expect(worker.closed).toBe(null);
  });

  it("is said to be heard of again within 5 seconds of its next ping (S19c)", async () => {
    const space = await SpaceHost.make();
    const worker = await space.connect();
    await space.submit();
    const viewer = await space.follow();
    await pass(16_000);
    expect(statusesOf(viewer).at(-1)).toMatchObject({ worker_silent_s: 15 });
    worker.push("ping");
    await pass(5_000);
    expect(statusesOf(viewer).at(-1)).not.toHaveProperty("worker_silent_s");
  });

  it("is said to be silent to whoever asks, and those who watch learn it then (S19b)", async () => {
    const space = await SpaceHost.make();
    const worker = await space.connect();
    const viewer = await space.follow();
    viewer.take();
    await pass(16_000);
    expect(viewer.take()).toEqual([]);
    expect((await space.describe()).status).toMatchObject({ worker_silent_s: 16 });
    await pass();
    expect(statusesOf(viewer)).toMatchObject([{ worker: "connected", worker_silent_s: 16 }]);
    worker.push("ping");
    expect((await space.describe()).status).not.toHaveProperty("worker_silent_s");
    await pass();
    expect(statusesOf(viewer).map((frame) => "worker_silent_s" in frame)).toEqual([false]);
  });
});

describe("the monitor", () => {
  it("is told of the end of an idle worker if it asked before, whatever else is due first (M4a)", async () => {
    const space = await SpaceHost.make();
    await space.connect();
    await pass(2_000);
    expect(await space.object.getReport()).toMatchObject({ connections: 1 });
    await pass(30_000);
    expect(space.reports.at(-1)).toMatchObject({ connections: 0 });
    const { alarms } = space.host;
    await pass(60_000);
    expect(space.host.alarms).toBe(alarms);
  });
});

describe("the alarm of a space", () => {
  it("is set for the first of what is due, and not for what is over", async () => {
    const space = await SpaceHost.make({ offline: "queue", queue_timeout_s: 100 });
    await space.submit();
    await space.submit({ queue_timeout_s: 50 });
    await pass(2_000);
    await space.host.hibernate();
    expect(space.host.alarmAt).toBeGreaterThan(START);
    expect(space.host.alarmAt).toBeLessThanOrEqual(START + 51_000);
    await pass(60_000);
    await space.host.hibernate();
    expect(space.host.alarmAt).toBeGreaterThan(START + 60_000);
    expect(space.host.alarmAt).toBeLessThanOrEqual(START + 101_000);
  });
});

describe("a large frame of a worker", () => {
  it("that has arrived no longer holds up its other attempts: their silence counts from then, also after a sleep (W34a)", async () => {
    const space = await SpaceHost.make({
      concurrency: 2,
      stall_timeout_s: 60,
      job_timeout_s: 600,
    });
    const worker = await space.connect({ concurrency: 2 });
    const [large = "", other = ""] = await space.submitAll([{}, {}]);
    await space.report(worker, other, { type: "progress", progress: 1 });
    await passPinging(worker, 30);
    worker.push({ type: "sending", bytes: 400_000 });
    await passPinging(worker, 80);
    await space.complete(worker, large, "x".repeat(400_000));
    await space.host.hibernate();
    await passPinging(worker, 58);
    expect(await space.statusOf(other)).toBe("processing");
    await passPinging(worker, 4);
    expect(worker.takeOnly("cancel")).toMatchObject([{ job_id: other }]);
  });
});
