import { evictDurableObject, runDurableObjectAlarm, runInDurableObject } from "cloudflare:test";
import { env } from "cloudflare:workers";
import { beforeEach, describe, expect, it } from "vitest";
import { indexOf } from "../../src/backend-job/job-index.ts";
import { eraseEverything, monitor, recordReports, stats, Watcher } from "./monitor-support.ts";
import {
  call,
  connectWorker,
  expectStatus,
  makeSpace,
  OPERATOR,
  objectOf,
  submit,
  TestSocket,
} from "./support.ts";

beforeEach(eraseEverything);

/** A space with a worker that the monitor knows of; the space's object is evicted from memory. */
async function makeEvictedSpace() {
  const space = await makeSpace();
  const { socket: worker } = await connectWorker(space);
  const watcher = await Watcher.open();
  await watcher.nextStatus(({ websockets }) => websockets.total_connections === 1);
  await evictDurableObject(objectOf(space));
  return { space, worker, watcher };
}

describe("the monitor", () => {
  it("gets one report about a lone short job, or two if the job takes longer, each costing a row, and one more without a row from the alarm of the lease", async () => {
    const { space, worker, watcher } = await makeEvictedSpace();
    const { reports, written } = await recordReports();
    const { id } = await submit(space.name);
    worker.send({ type: "result", job_id: id, attempt: 1, output: null });
    await watcher.nextStatus(({ jobs }) => jobs.completed === 1);
    const counts = reports.map(
      ({ report }) => report && [report.jobs.active, report.jobs.completed],
    );
    expect([
      [[0, 1]],
      [
        [1, 0],
        [0, 1],
      ],
    ]).toContainEqual(counts);
    const { rows } = written;
    expect(rows).toBe(counts.length);
    await evictDurableObject(objectOf(space));
    expect(await runDurableObjectAlarm(objectOf(space))).toBe(true);
    await expect.poll(() => reports.length).toBe(counts.length + 1);
    expect(written.rows).toBe(rows);
  });

  it("gets one report a second about many jobs, each costing a row (M4)", async () => {
    const { space, worker, watcher } = await makeEvictedSpace();
    const { reports, written } = await recordReports();
    const began = Date.now();
    for (let count = 0; count < 60; count += 1) {
      const { id } = await submit(space.name);
      worker.send({ type: "result", job_id: id, attempt: 1, output: null });
      await worker.next("ack");
    }
    await watcher.nextStatus(({ jobs }) => jobs.completed === 60);
    const seconds = Math.ceil((Date.now() - began) / 1_000);
    expect(reports.length).toBeLessThanOrEqual(seconds + 1);
    expect(written.rows).toBeLessThanOrEqual(reports.length);
  });

  it("gets as many reports about a short job without a space, and one more, costing two rows, when the job is erased", async () => {
    const watcher = await Watcher.open();
    await expectStatus(201, await call("POST", "/api/jobs", { id: "first" }, OPERATOR));
    await watcher.nextStatus(({ jobs }) => jobs.active === 1);
    const { reports, written } = await recordReports();
    const job = { id: "lone", result_ttl_s: 3 };
    await expectStatus(201, await call("POST", "/api/jobs", job, OPERATOR));
    await expectStatus(200, await call("POST", "/api/jobs/lone/complete", {}, OPERATOR));
    await watcher.nextStatus(({ jobs }) => jobs.completed === 1);
    const times = reports.length;
    expect([1, 2]).toContain(times);
    expect(written.rows).toBe(times);
    await expect.poll(() => reports.length, { timeout: 10_000 }).toBe(times + 1);
    expect(reports.at(-1)).toEqual({ source: "job:lone", report: null });
    expect(written.rows).toBe(times + 2);
    expect((await stats()).jobs).toMatchObject({ active: 1, completed: 1 });
  });

  it("gets no report about sockets that wait for a job that nobody makes", async () => {
    const { reports } = await recordReports();
    const waiting = await Promise.all(
      Array.from({ length: 20 }, (_, at) => TestSocket.open(`/ws/nobodys-${at}`)),
    );
    for (const socket of waiting.slice(1)) socket.close();
    await Promise.all(waiting.slice(1).map((socket) => socket.closed));
    await evictDurableObject(indexOf(env, "nobodys-0"));
    const watcher = await Watcher.open();
    await expectStatus(201, await call("POST", "/api/jobs", { id: "nobodys-0" }, OPERATOR));
    await watcher.nextStatus(({ websockets }) => websockets.jobs_with_connections === 1);
    expect(new Set(reports.map(({ source }) => source))).toEqual(new Set(["job:nobodys-0"]));
    const sources = await runInDurableObject(monitor(), (_object, { storage }) =>
      storage.sql.exec("SELECT source FROM sources").toArray(),
    );
    expect(sources).toEqual([{ source: "job:nobodys-0" }]);
    expect((await stats()).websockets.total_connections).toBe(1);
  });
});
