import { evictDurableObject, runDurableObjectAlarm, runInDurableObject } from "cloudflare:test";
import { env } from "cloudflare:workers";
import { beforeEach, describe, expect, it } from "vitest";
import { forgetAll, monitor, noteReports, stats, Watcher } from "./monitor-support.ts";
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

beforeEach(forgetAll);

/** A space with a worker that the monitor knows of; the space's object is evicted from memory. */
async function makeSleeping() {
  const space = await makeSpace();
  const { socket: worker } = await connectWorker(space);
  const watcher = await Watcher.open();
  await watcher.sees(({ websockets }) => websockets.total_connections === 1);
  await evictDurableObject(objectOf(space));
  return { space, worker, watcher };
}

describe("the monitor", () => {
  it("gets one report about a lone short job, or two if the job takes longer, each costing a row, and one more without a row from the alarm of the lease", async () => {
    const { space, worker, watcher } = await makeSleeping();
    const { told, written } = await noteReports();
    const { id } = await submit(space.name);
    worker.send({ type: "result", job_id: id, attempt: 1, output: null });
    await watcher.sees(({ jobs }) => jobs.completed === 1);
    const counts = told.map(({ report }) => report && [report.jobs.active, report.jobs.completed]);
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
    await expect.poll(() => told.length).toBe(counts.length + 1);
    expect(written.rows).toBe(rows);
  });

  it("gets one report a second about many jobs, each costing a row (M4)", async () => {
    const { space, worker, watcher } = await makeSleeping();
    const { told, written } = await noteReports();
    const began = Date.now();
    for (let count = 0; count < 60; count += 1) {
      const { id } = await submit(space.name);
      worker.send({ type: "result", job_id: id, attempt: 1, output: null });
      await worker.next("ack");
    }
    await watcher.sees(({ jobs }) => jobs.completed === 60);
    const seconds = Math.ceil((Date.now() - began) / 1_000);
    expect(told.length).toBeLessThanOrEqual(seconds + 1);
    expect(written.rows).toBeLessThanOrEqual(told.length);
  });

  it("gets as many reports about a short job without a space, and one more, costing two rows, when the job is erased", async () => {
    const watcher = await Watcher.open();
    await expectStatus(201, await call("POST", "/api/jobs", { id: "first" }, OPERATOR));
    await watcher.sees(({ jobs }) => jobs.active === 1);
    const { told, written } = await noteReports();
    const job = { id: "lone", result_ttl_s: 3 };
    await expectStatus(201, await call("POST", "/api/jobs", job, OPERATOR));
    await expectStatus(200, await call("POST", "/api/jobs/lone/complete", {}, OPERATOR));
    await watcher.sees(({ jobs }) => jobs.completed === 1);
    const times = told.length;
    expect([1, 2]).toContain(times);
    expect(written.rows).toBe(times);
    await expect.poll(() => told.length, { timeout: 10_000 }).toBe(times + 1);
    expect(told.at(-1)).toEqual({ source: "job:lone", report: null });
    expect(written.rows).toBe(times + 2);
    expect((await stats()).jobs).toMatchObject({ active: 1, completed: 1 });
  });

  it("gets no report about sockets that wait for a job that nobody makes", async () => {
    const { told } = await noteReports();
    const waiting = await Promise.all(
      Array.from({ length: 20 }, (_, at) => TestSocket.open(`/ws/nobodys-${at}`)),
    );
    for (const socket of waiting.slice(1)) socket.close();
    await Promise.all(waiting.slice(1).map((socket) => socket.closed));
    await evictDurableObject(env.JOB.getByName("nobodys-0"));
    const watcher = await Watcher.open();
    await expectStatus(201, await call("POST", "/api/jobs", { id: "nobodys-0" }, OPERATOR));
    await watcher.sees(({ websockets }) => websockets.jobs_with_connections === 1);
    expect(new Set(told.map(({ source }) => source))).toEqual(new Set(["job:nobodys-0"]));
    const sources = await runInDurableObject(monitor(), (_object, { storage }) =>
      storage.sql.exec("SELECT source FROM sources").toArray(),
    );
    expect(sources).toEqual([{ source: "job:nobodys-0" }]);
    expect((await stats()).websockets.total_connections).toBe(1);
  });
});
