import { evictDurableObject, runInDurableObject } from "cloudflare:test";
import { beforeEach, describe, expect, it } from "vitest";
import { eraseEverything, monitor, stats, Watcher } from "./monitor-support.ts";
import {
  call,
  connectWorker,
  expectStatus,
  makeSpace,
  OPERATOR,
  objectOf,
  replaceMethod,
  submit,
  TestSocket,
} from "./support.ts";

beforeEach(eraseEverything);

const NOTHING = { total: 0, active: 0, completed: 0, failed: 0, canceled: 0 };

describe("the monitor's numbers", () => {
  it("are all zero before anything happens, and reading them stores nothing (M3)", async () => {
    expect(await stats()).toMatchObject({
      jobs: NOTHING,
      websockets: { total_connections: 0, jobs_with_connections: 0 },
      sources: { spaces: 0, jobs: 0, rooms: 0, gateways: 0 },
    });
    const tables = await runInDurableObject(monitor(), (_object, { storage }) =>
      storage.sql.exec("SELECT name FROM sqlite_master WHERE name = 'sources'").toArray(),
    );
    expect(tables).toEqual([]);
  });

  it("follow the jobs and sockets of all spaces (M2, M3)", async () => {
    const watcher = await Watcher.open();
    expect((await watcher.nextStatus(() => true)).jobs).toEqual(NOTHING);
    const [a, b] = [await makeSpace({ offline: "queue" }), await makeSpace({ offline: "queue" })];
    const waiting = await submit(a.name);
    const canceled = await submit(a.name);
    await submit(b.name);
    await call("POST", `/api/jobs/${canceled.id}/cancel`);
    await watcher.nextStatus(({ jobs }) => jobs.active === 2 && jobs.canceled === 1);
    const viewer = await TestSocket.open(`/ws/${waiting.id}`);
    const { socket: worker } = await connectWorker(b);
    const { job_id } = await worker.next("job");
    worker.send({ type: "fail", job_id, attempt: 1, code: "oom", message: "", retryable: false });
    const { jobs, websockets } = await watcher.nextStatus(({ jobs: seen }) => seen.failed === 1);
    expect(jobs).toEqual({ total: 3, active: 1, completed: 0, failed: 1, canceled: 1 });
    expect(websockets).toEqual({ total_connections: 2, jobs_with_connections: 1 });
    expect((await stats()).sources).toEqual({ spaces: 2, jobs: 0, rooms: 0, gateways: 0 });
    viewer.close();
    worker.close();
    const last = await watcher.nextStatus(({ websockets: seen }) => seen.total_connections === 0);
    expect(last.websockets.jobs_with_connections).toBe(0);
    expect((await stats()).jobs).toEqual(jobs);
  });

  it("list the ten jobs that changed last, with their current state (M2)", async () => {
    const space = await makeSpace({ offline: "queue" });
    const { socket: worker } = await connectWorker(space);
    const watcher = await Watcher.open();
    const { id } = await submit(space.name);
    worker.send({ type: "progress", job_id: id, attempt: 1, progress: 40 });
    const status = await watcher.nextStatus(({ recent_jobs: [first] }) => first?.progress === 40);
    expect(status.recent_jobs).toMatchObject([{ id, space: space.name, status: "processing" }]);
    worker.send({ type: "result", job_id: id, attempt: 1, output: null });
    await watcher.nextStatus(({ recent_jobs: [first] }) => first?.status === "completed");
    worker.close();
    await worker.closed;
    const others: string[] = [];
    for (let count = 0; count < 12; count += 1) others.push((await submit(space.name)).id);
    const newest = others.reverse().slice(0, 10);
    const { recent_jobs } = await watcher.nextStatus(({ jobs }) => jobs.active === 12);
    expect(recent_jobs.map((job) => job.id)).toEqual(newest);
  });

  it("count rooms, gateways and jobs without a space too (M3)", async () => {
    const watcher = await Watcher.open();
    const room = await TestSocket.open("/api/rooms/project:42/ws", OPERATOR);
    const gateway = await TestSocket.open("/ws", OPERATOR);
    await expectStatus(201, await call("POST", "/api/jobs", { id: "nightly" }, OPERATOR));
    const viewer = await TestSocket.open("/ws/nightly");
    await watcher.nextStatus(({ jobs, websockets }) => {
      const { total_connections, jobs_with_connections } = websockets;
      return jobs.active === 1 && total_connections === 3 && jobs_with_connections === 1;
    });
    expect((await stats()).sources).toEqual({ spaces: 0, jobs: 1, rooms: 1, gateways: 1 });
    for (const socket of [room, gateway, viewer]) socket.close();
    await call("POST", "/api/jobs/nightly/complete", { result: 1 }, OPERATOR);
    const { recent_jobs } = await watcher.nextStatus(({ jobs, websockets }) => {
      return jobs.completed === 1 && websockets.total_connections === 0;
    });
    expect(recent_jobs).toMatchObject([{ id: "nightly", space: null, status: "completed" }]);
    expect((await stats()).sources).toEqual({ spaces: 0, jobs: 1, rooms: 0, gateways: 0 });
  });

  it("are sent at most once a second, however much happens (M2)", async () => {
    const space = await makeSpace({ offline: "queue" });
    const watcher = await Watcher.open();
    const { socket: worker } = await connectWorker(space, { concurrency: 50 });
    const jobs = await Promise.all(Array.from({ length: 40 }, () => submit(space.name)));
    for (const { id } of jobs) {
      worker.send({ type: "progress", job_id: id, attempt: 1, progress: 50 });
      await call("GET", `/api/jobs/${id}`);
      worker.send({ type: "result", job_id: id, attempt: 1, output: null });
    }
    const frames = await watcher.socket.until((frame) => {
      const { completed } = frame.jobs as { completed: number };
      return completed === jobs.length;
    });
    const times = frames.map(({ timestamp }) => Date.parse(String(timestamp)));
    // The first status is sent to this new socket alone.
    const apart = times.slice(2).map((at, index) => at - (times[index + 1] ?? 0));
    expect(Math.min(1_000, ...apart)).toBeGreaterThanOrEqual(990);
    expect(frames.length).toBeLessThan(10);
  });

  it("still count jobs that were erased, until their space is deleted", async () => {
    const space = await makeSpace({ result_ttl_s: 0.05 });
    const { socket: worker } = await connectWorker(space);
    const watcher = await Watcher.open();
    const { id } = await submit(space.name);
    worker.send({ type: "result", job_id: id, attempt: 1, output: null });
    await worker.next("ack");
    for (let status = 200; status !== 404; ) {
      status = (await call("GET", `/api/jobs/${id}`)).status;
      await evictDurableObject(objectOf(space));
    }
    await submit(space.name);
    const { jobs } = await watcher.nextStatus((seen) => seen.jobs.active === 1);
    expect(jobs).toEqual({ ...NOTHING, total: 2, active: 1, completed: 1 });
    await expectStatus(204, await call("DELETE", `/api/spaces/${space.name}`, undefined, OPERATOR));
    await watcher.nextStatus((seen) => seen.jobs.total === 0);
    expect(await stats()).toMatchObject({
      jobs: NOTHING,
      websockets: { total_connections: 0, jobs_with_connections: 0 },
      sources: { spaces: 0 },
    });
  });
});

describe("a job while the monitor fails", () => {
  it("runs as always, and the numbers are right once the monitor works again", async () => {
    const space = await makeSpace();
    const { socket: worker } = await connectWorker(space);
    await runInDurableObject(monitor(), (object) => {
      replaceMethod(object, "take", () => {
        throw new Error("out of order");
      });
    });
    const { id } = await submit(space.name);
    worker.send({ type: "result", job_id: id, attempt: 1, output: "made" });
    expect(await worker.next("ack")).toMatchObject({ job_id: id });
    await evictDurableObject(monitor());
    const watcher = await Watcher.open();
    await watcher.nextStatus(({ jobs, websockets: { total_connections } }) => {
      return jobs.completed === 1 && jobs.active === 0 && total_connections === 1;
    });
  });
});
