import { describe, expect, it } from "vitest";
import { madeText } from "../../src/backend-job/made-frame.ts";
import { readersOf } from "../../src/objects/readers.ts";
import { LIMITS } from "../../src/protocol/limits.ts";
import { pass, runInFakeRuntime } from "../support/runtime/globals.ts";
import { ask, BACKEND, JOB, JobHost } from "./job-host.ts";

runInFakeRuntime();

const HOUR_MS = 3_600_000;

describe("a socket that waits for a job", () => {
  it("gets `pending`; the job that is made then has the epoch that it was told, and it is told of that (B8)", async () => {
    const job = await JobHost.start();
    const viewer = await job.waitAtIndex();
    const [connection, pending] = viewer.take();
    expect(connection).toMatchObject({ type: "connection", job_id: JOB, offset: 0 });
    expect(pending).toMatchObject({ status: "pending", offset: 0, progress: 0, attempt: 0 });
    await job.create();
    await job.report("progress", { progress: 5 });
    const epoch = String(connection?.epoch);
    expect(viewer.messages.at(-1)).toBe(madeText(epoch));
    const joined = await job.follow({ since: `${epoch}:0` });
    expect(joined.take()).toMatchObject([
      { type: "connection", epoch, recovered: true, offset: 0 },
      { status: "queued", offset: 1 },
      { status: "processing", progress: 5, offset: 2 },
    ]);
  });

  it("keeps the epoch it was told over a sleep, together with those that come later (B8)", async () => {
    const job = await JobHost.start();
    const [{ epoch } = { epoch: "" }] = (await job.waitAtIndex()).take();
    await job.index.hibernate();
    const second = await job.waitAtIndex({ since: `${epoch}:0` });
    expect(second.take()).toMatchObject([{ epoch, recovered: true, offset: 0 }]);
    await job.create();
    expect((await job.follow()).take()[0]).toMatchObject({ epoch });
  });

  it("is closed with 4404 after an hour if nobody makes the job, and not before (B8b)", async () => {
    const job = await JobHost.start();
    const viewer = await job.waitAtIndex();
    await pass(HOUR_MS - 1_000);
    expect(viewer.closed).toBe(null);
    await job.index.hibernate();
    await pass(2_000);
    expect(viewer.closed?.code).toBe(4404);
    expect(viewer.takeOnly("error")).toMatchObject([
      { code: "job_not_found", job_id: JOB, message: "Nobody made this job." },
    ]);
    expect(job.index.alarmAt).toBe(null);
  });

  it("has its own hour, and its own pings, also when others wait there (B8b, B11a)", async () => {
    const job = await JobHost.start();
    const first = await job.waitAtIndex({ pingS: 300 });
    await pass(HOUR_MS / 2);
    const second = await job.waitAtIndex();
    await job.index.hibernate();
    await pass(HOUR_MS / 2 + 1_000);
    expect([first.closed?.code, second.closed]).toEqual([4404, null]);
    expect(first.takeOnly("ping").length).toBeGreaterThanOrEqual(10);
    expect(second.takeOnly("ping")).toEqual([]);
    await pass(HOUR_MS / 2);
    expect(second.closed?.code).toBe(4404);
  });

  it("is told within seconds that the job was made, also if the job's object died before it said so (B8)", async () => {
    const job = await JobHost.start();
    const viewer = await job.waitAtIndex();
    const [{ epoch } = { epoch: "" }] = viewer.take();
    expect(await job.index.object.add(JOB, null)).toBe(epoch);
    await job.index.hibernate();
    await pass(4_000);
    expect(viewer.take()).toEqual([]);
    await pass(2_000);
    expect(viewer.messages.at(-1)).toBe(madeText(String(epoch)));
  });

  it("is counted as unread no longer than its connection lasts (C18c)", async () => {
    const job = await JobHost.start();
    const ctx = Reflect.get(job.index.object, "ctx") as DurableObjectState;
    const viewer = await job.waitAtIndex();
    readersOf(ctx).onClosed(viewer as unknown as WebSocket, LIMITS.unreadOfAll + 1);
    expect(readersOf(ctx).isFull).toBe(true);
    viewer.leave(1000);
    await pass();
    expect(readersOf(ctx).isFull).toBe(false);
  });

  it("can't report: there is nothing to report about (B9)", async () => {
    const job = await JobHost.start();
    const backend = await job.waitAtIndex(BACKEND);
    expect(await ask(backend, { type: "progress", progress: 1, ref: 7 })).toMatchObject([
      { type: "error", code: "job_not_found", ref: 7, job_id: JOB },
    ]);
  });

  it("makes no tables, neither of the job nor of the index, and is not reported", async () => {
    const job = await JobHost.start();
    const viewer = await job.waitAtIndex();
    expect(await job.report("progress", { progress: 1 })).toBe("job_not_found");
    viewer.leave(1000);
    await pass(5_000);
    for (const object of [job.host, job.index]) {
      expect(object.sql("SELECT name FROM sqlite_master")).toEqual([]);
    }
    expect(job.reports).toEqual([]);
    expect(await job.object.getReport()).toBe(null);
  });

  it("is not at the object of the job: that refuses sockets until it has a job", async () => {
    const job = await JobHost.start();
    await expect(job.follow()).rejects.toThrow("job_not_found");
    expect(job.host.openSockets).toEqual([]);
  });
});

describe("the epoch of a job", () => {
  it("is another one for the next job of its id: positions of the erased one don't count (C7, B15)", async () => {
    const job = await JobHost.make({ result_ttl_s: 10 });
    const before = await job.follow();
    const [{ epoch } = { epoch: "" }] = before.take();
    await job.report("progress", { progress: 1 });
    await job.report("complete", { result: 1 });
    await pass(12_000);
    expect(await job.read()).toBe("job_not_found");
    expect(await job.create()).toBe("made");
    await job.report("progress", { progress: 2 });
    const viewer = await job.follow({ since: `${epoch}:1` });
    const [connection] = viewer.take();
    expect(connection).toMatchObject({ recovered: false, offset: 2 });
    expect(connection?.epoch).not.toBe(epoch);
  });

  it("is another one also for sockets that wait for the next job after the erasure", async () => {
    const job = await JobHost.make({ result_ttl_s: 10 });
    const [{ epoch } = { epoch: "" }] = (await job.follow()).take();
    await job.report("complete", { result: 1 });
    await pass(12_000);
    expect(await job.index.object.has(JOB)).toBe(false);
    const [{ epoch: next } = { epoch: "" }] = (await job.waitAtIndex()).take();
    expect(next).not.toBe(epoch);
    await job.create();
    expect(await job.index.object.has(JOB)).toBe(true);
    expect((await job.follow()).take()[0]?.epoch).toBe(next);
  });

  it("stays the same while the job is kept, over sleeps", async () => {
    const job = await JobHost.make();
    const [{ epoch } = { epoch: "" }] = (await job.follow()).take();
    await job.host.hibernate();
    expect((await job.follow()).take()[0]?.epoch).toBe(epoch);
  });
});
