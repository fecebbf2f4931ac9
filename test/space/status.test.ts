import { describe, expect, it } from "vitest";
import { pass, runInFakeRuntime } from "../support/runtime/globals.ts";
import type { FakeSocket } from "../support/runtime/socket.ts";
import { SpaceHost, typesOf } from "./space-host.ts";

runInFakeRuntime();

function statusesOf(viewer: FakeSocket) {
  return viewer.takeOnly("space.status");
}

describe("the socket of a space", () => {
  it("opens with `connection` and the status, unless the client has the latest (S3, S3a, C10a)", async () => {
    const space = await SpaceHost.make();
    const first = await space.follow();
    const [connection, status] = first.take();
    expect(connection).toMatchObject({
      type: "connection",
      space: "demo",
      offset: 1,
      recovered: false,
    });
    expect(status).toMatchObject({ type: "space.status", space: "demo", offset: 1 });
    const epoch = connection?.epoch;
    const back = await space.follow({ since: `${epoch}:1` });
    expect(back.take()).toMatchObject([{ type: "connection", epoch, offset: 1, recovered: true }]);
    await space.connect();
    const late = await space.follow({ since: `${epoch}:1` });
    expect(late.take()).toMatchObject([
      { type: "connection", offset: 1, recovered: true },
      { type: "space.status", offset: 2, worker: "connected" },
    ]);
    await space.submit();
    await pass(200);
    const later = await space.follow({ since: `${epoch}:1` });
    expect(later.take()).toMatchObject([
      { type: "connection", recovered: false },
      { type: "space.status", processing: 1 },
    ]);
    const stranger = await space.follow({ since: "other:3" });
    expect(typesOf(stranger)).toEqual(["connection", "space.status"]);
  });

  it("is told at once when a worker comes or goes, and of counts within a tenth of a second (S3a)", async () => {
    const space = await SpaceHost.make({ offline: "queue" });
    const viewer = await space.follow();
    viewer.take();
    const worker = await space.connect({ name: "box" });
    expect(statusesOf(viewer)).toMatchObject([{ worker: "connected", worker_name: "box" }]);
    await pass(200);
    viewer.take();
    await space.submitAll([{}, {}, {}]);
    expect(statusesOf(viewer)).toEqual([]);
    await pass(100);
    expect(statusesOf(viewer)).toMatchObject([{ queue_size: 2, processing: 1 }]);
    worker.leave(1006);
    await pass(1);
    expect(statusesOf(viewer)).toMatchObject([{ worker: "reconnecting" }]);
    await pass(5_000);
    const offsets = viewer.messages
      .map((text) => JSON.parse(text))
      .filter(({ type }) => type === "space.status")
      .map(({ offset }) => offset);
    expect(offsets).toEqual(offsets.map((_, index) => index + 1));
  });

  it("gets no status that says the same, and the sockets of jobs get none at all", async () => {
    const space = await SpaceHost.make({ offline: "queue" });
    const id = await space.submit();
    const viewer = await space.follow();
    const job = await space.followJob(id);
    await pass(200);
    viewer.take();
    const other = await space.submit();
    await space.cancel(other);
    await pass(200);
    expect(statusesOf(viewer)).toEqual([]);
    await space.connect();
    await pass(200);
    expect(statusesOf(viewer).length).toBeGreaterThan(0);
    expect(job.takeOnly("space.status")).toEqual([]);
  });

  it("gets another `connection` before its next status once the object has slept (S3b)", async () => {
    const space = await SpaceHost.make({ offline: "queue" });
    const viewer = await space.follow();
    const [{ epoch } = { epoch: "" }] = viewer.take();
    await space.host.hibernate();
    await pass(10_000);
    expect(viewer.take()).toEqual([]);
    await space.submit();
    await pass(200);
    const frames = viewer.take();
    expect(frames).toMatchObject([
      { type: "connection", space: "demo", recovered: false },
      { type: "space.status", queue_size: 1, offset: 1 },
    ]);
    expect(frames[0]?.epoch).not.toBe(epoch);
    await space.submit();
    await pass(200);
    expect(typesOf(viewer)).toEqual(["space.status"]);
    const opened = await space.follow();
    expect(opened.take()).toMatchObject([{ epoch: frames[0]?.epoch }, { offset: 2 }]);
  });
});

describe("the status of a space", () => {
  it("says how long a new job would wait: nothing, unknown, or what the running one has left (S19, S19a)", async () => {
    const space = await SpaceHost.make();
    const worker = await space.connect();
    const wait = async () => (await space.describe()).status.estimated_wait_s;
    expect(await wait()).toBe(0);
    const id = await space.submit();
    expect(await wait()).toBe(null);
    await space.report(worker, id, { type: "progress", progress: 10, estimated_remaining: 30 });
    expect(await wait()).toBeCloseTo(30, 0);
    await pass(10_000);
    expect(await wait()).toBeCloseTo(20, 0);
    await space.report(worker, id, { type: "output", delta: "x" });
    expect(await wait()).toBeCloseTo(20, 0);
    await space.host.hibernate();
    expect(await wait()).toBeCloseTo(20, 0);
  });

  it("says the mean of past jobs while nothing is reported, also after the object slept (S19a)", async () => {
    const space = await SpaceHost.make();
    const worker = await space.connect();
    const id = await space.submit();
    await pass(8_000);
    await space.complete(worker, id);
    worker.push("ping");
    await space.submit();
    const wait = async () => (await space.describe()).status.estimated_wait_s;
    expect(await wait()).toBeCloseTo(8, 0);
    await space.host.hibernate();
    expect(await wait()).toBeCloseTo(8, 0);
    await space.submit();
    expect(await wait()).toBeCloseTo(16, 0);
    await space.submit({ priority: -5 });
    expect(await wait()).toBeCloseTo(16, 0);
    await space.submit({ priority: 5 });
    expect(await wait()).toBeCloseTo(24, 0);
  });

  it("looks at every attempt of a worker: the first place that is free counts (S19a)", async () => {
    const space = await SpaceHost.make();
    const worker = await space.connect({ concurrency: 3 });
    const ids = await space.submitAll([{}, {}, {}]);
    for (const [index, id] of ids.entries()) {
      const remaining = { estimated_remaining: [30, 10, 50][index] };
      await space.report(worker, id, { type: "progress", progress: 1, ...remaining });
    }
    expect((await space.describe()).status.estimated_wait_s).toBeCloseTo(10, 0);
    await space.submit();
    expect((await space.describe()).status.estimated_wait_s).toBeCloseTo(30, 0);
  });

  it("says no more than the limit of the running attempt allows, and less once it is to be canceled", async () => {
    const space = await SpaceHost.make({ job_timeout_s: 60 });
    const worker = await space.connect();
    const id = await space.submit();
    await space.report(worker, id, { type: "progress", progress: 1, estimated_remaining: 900 });
    const wait = async () => (await space.describe()).status.estimated_wait_s;
    expect(await wait()).toBeCloseTo(60, 0);
    await pass(9_000);
    expect(await wait()).toBeCloseTo(51, 0);
    await space.cancel(id);
    expect(await wait()).toBeCloseTo(10, 0);
  });

  it("says why jobs wait: no worker, none able, all busy, as many as the space lets each run", async () => {
    const space = await SpaceHost.make({ offline: "queue", concurrency: 1 });
    const reason = async () => (await space.describe()).status.waiting_reason;
    expect(await reason()).toBe("No worker is connected.");
    const worker = await space.connect({ concurrency: 4 });
    expect(await reason()).toBe(undefined);
    await space.cancel(await space.submit({ requires: ["tpu"] }));
    expect(await reason()).toBe(undefined);
    await space.cancel(await space.submit({ requires: ["tpu"] }));
    expect(await reason()).toBe(undefined);
    await space.cancel(await space.submit({ requires: ["tpu"] }));
    expect(await reason()).toBe(undefined);
    await space.submit();
    expect(await reason()).toContain("this space lets each run one job at once");
    await space.submit({ requires: ["gpu"] });
    expect(await reason()).toContain(
      "No connected worker has gpu, and no other worker can connect",
    );
    worker.push({ type: "drain" });
    await pass();
    expect(await reason()).toContain("is finishing its jobs");
    worker.leave(1006);
    await pass();
    expect(await reason()).toBe("The worker lost its connection and may come back.");
  });
});

describe("the report to the monitor", () => {
  it("counts sockets, followed jobs, open ones and ends, and goes on counting after the object slept", async () => {
    const space = await SpaceHost.make();
    const worker = await space.connect({ concurrency: 2 });
    const viewer = await space.follow();
    const [a = "", b = "", c = "", d = ""] = await space.submitAll([{}, {}, {}, {}]);
    await space.followJob(a);
    await space.cancel(d);
    await space.complete(worker, a);
    await space.report(worker, b, { type: "fail", code: "x", message: "y" });
    await pass(2_000);
    const jobs = { active: 1, completed: 1, failed: 1, canceled: 1 };
    expect(space.reports.at(-1)).toMatchObject({
      kind: "space",
      connections: 2,
      jobs,
      recent: [
        { id: b, status: "failed", progress: 0 },
        { id: c, status: "processing", progress: 0 },
        { id: a, status: "completed", progress: 100 },
        { id: d, status: "canceled", progress: 0 },
      ],
    });
    await space.host.hibernate();
    await space.report(worker, c, { type: "progress", progress: 30 });
    await pass(2_000);
    const report = space.reports.at(-1);
    expect(report).toMatchObject({ connections: 2, jobs, jobs_with_connections: 0 });
    expect(report?.recent.map(({ id, status, progress }) => [id, status, progress])).toEqual([
      [c, "processing", 30],
      [b, "failed", 0],
      [a, "completed", 100],
      [d, "canceled", 0],
    ]);
    await space.complete(worker, c);
    await space.complete(worker, c);
    viewer.leave(1000);
    await pass(2_000);
    expect(space.reports.at(-1)).toMatchObject({
      connections: 1,
      jobs: { active: 0, completed: 2, failed: 1, canceled: 1 },
    });
  });

  it("has the ten jobs that changed last, the latest first", async () => {
    const space = await SpaceHost.make({ offline: "queue" });
    const ids = await space.submitAll(Array.from({ length: 13 }, () => ({})));
    await pass(2_000);
    const recent = () => space.reports.at(-1)?.recent.map(({ id }) => id);
    expect(recent()).toEqual(ids.slice(3).reverse());
    expect(space.reports.at(-1)?.recent[0]).toEqual({
      id: ids[12],
      space: "demo",
      status: "queued",
      progress: 0,
      updated_at: expect.any(String),
    });
    await space.cancel(await space.submit());
    await pass(2_000);
    await space.submit();
    await pass(2_000);
    expect(space.reports.at(-1)?.recent[0]).toMatchObject({ status: "queued", progress: 0 });
    const before = recent();
    await space.cancel(ids[0] ?? "");
    await space.cancel(ids[8] ?? "");
    await pass(2_000);
    const expected = [ids[8], ids[0], ...(before ?? [])].filter(
      (id, index, all) => all.indexOf(id) === index,
    );
    expect(recent()).toEqual(expected.slice(0, 10));
  });

  it("has a running job that changed last, although ten newer ones wait, also after the object slept", async () => {
    const space = await SpaceHost.make();
    const worker = await space.connect();
    const id = await space.submit();
    await space.submitAll(Array.from({ length: 12 }, () => ({})));
    await pass(50);
    await space.report(worker, id, { type: "progress", progress: 9 });
    await space.sleep();
    const report = await space.object.getReport();
    expect(report?.recent).toHaveLength(10);
    expect(report?.recent[0]).toMatchObject({ id, progress: 9 });
  });

  it("comes from a space as soon as it is made", async () => {
    const space = await SpaceHost.make();
    await pass(200);
    const jobs = { active: 0, completed: 0, failed: 0, canceled: 0 };
    expect(space.reports).toEqual([
      { kind: "space", connections: 0, jobs_with_connections: 0, jobs, recent: [] },
    ]);
  });

  it("counts jobs that were erased", async () => {
    const space = await SpaceHost.make({ offline: "queue", result_ttl_s: 10 });
    await space.cancel(await space.submit());
    await pass(20_000);
    await space.host.hibernate();
    expect(await space.object.getReport()).toMatchObject({ jobs: { active: 0, canceled: 1 } });
  });

  it("comes again half a minute after a change that a crash may have swallowed", async () => {
    const space = await SpaceHost.make({ offline: "queue" });
    await space.submit();
    const told = space.reports.length;
    // The object dies before it has told.
    await space.host.hibernate();
    expect(space.reports).toHaveLength(told);
    await pass(32_000);
    expect(space.reports.at(-1)).toMatchObject({ jobs: { active: 1 } });
  });
});
