import {
  abortAllDurableObjects,
  evictDurableObject,
  runDurableObjectAlarm,
  runInDurableObject,
} from "cloudflare:test";
import { env } from "cloudflare:workers";
import { beforeEach, describe, expect, it } from "vitest";
import {
  ageReports,
  BEYOND_SILENT_MS,
  eraseEverything,
  monitor,
  stats,
  Watcher,
} from "./monitor-support.ts";
import {
  call,
  connectWorker,
  expectStatus,
  getJob,
  makeSpace,
  type NamedSpace,
  OPERATOR,
  objectOf,
  replaceMethod,
  submit,
  TestSocket,
} from "./support.ts";

beforeEach(eraseEverything);

/** A space with a completed, a running and a waiting job, a worker and a viewer, all of which the monitor knows of. */
async function makeBusy() {
  const space = await makeSpace({ offline: "queue" });
  const { socket: worker } = await connectWorker(space);
  const [done, running] = [await submit(space.name), await submit(space.name)];
  await submit(space.name);
  worker.send({ type: "result", job_id: done.id, attempt: 1, output: null });
  await worker.next("ack");
  const viewer = await TestSocket.open(`/ws/${running.id}`);
  const watcher = await Watcher.open();
  await watcher.nextStatus((status) => hasAll(status));
  watcher.socket.close();
  return { space, worker, viewer, running };
}

function hasAll({
  jobs,
  websockets,
}: Pick<Awaited<ReturnType<typeof stats>>, "jobs" | "websockets">) {
  const isAll = jobs.active === 2 && jobs.completed === 1;
  return isAll && websockets.total_connections === 2 && websockets.jobs_with_connections === 1;
}

/** The numbers of that space once it has no sockets. */
const WITHOUT_SOCKETS = {
  jobs: { total: 3, active: 2, completed: 1, failed: 0, canceled: 0 },
  websockets: { total_connections: 0, jobs_with_connections: 0 },
};

/** Crashes the space's object: its sockets are gone, and it reports nothing to the monitor. */
function crash(space: NamedSpace): Promise<void> {
  return evictDurableObject(objectOf(space), { webSockets: "close" });
}

describe("the monitor's numbers", () => {
  it("are right after the monitor was evicted from memory", async () => {
    await makeBusy();
    await evictDurableObject(monitor());
    expect(hasAll(await stats())).toBe(true);
  });

  it("are right as soon as a space that was evicted from memory does something", async () => {
    const { space, worker, running } = await makeBusy();
    await evictDurableObject(objectOf(space));
    worker.send({ type: "result", job_id: running.id, attempt: 1, output: null });
    const watcher = await Watcher.open();
    const { jobs, websockets, recent_jobs } = await watcher.nextStatus(
      (status) => status.jobs.completed === 2,
    );
    expect([jobs.active, jobs.total]).toEqual([1, 3]);
    // The viewer's job is over, and its socket is closed.
    expect(websockets).toEqual({ total_connections: 1, jobs_with_connections: 0 });
    // The end of one job and the start of the next came at the same time: the newer job counts as the latest.
    expect(recent_jobs.map(({ status }) => status)).toEqual([
      "processing",
      "completed",
      "completed",
    ]);
  });

  it("still reach clients that were connected when the monitor was evicted from memory (M2)", async () => {
    const { space } = await makeBusy();
    const watcher = await Watcher.open();
    await watcher.nextStatus(() => true);
    await evictDurableObject(monitor());
    await submit(space.name);
    expect((await watcher.nextStatus((status) => status.jobs.active === 3)).jobs.total).toBe(4);
  });

  it("are right for the next reader 30 seconds after a space crashed with open sockets (M4)", async () => {
    const { space } = await makeBusy();
    await crash(space);
    expect(hasAll(await stats())).toBe(true);
    await ageReports(BEYOND_SILENT_MS);
    expect(await stats()).toMatchObject(WITHOUT_SOCKETS);
  });

  it("are right 30 seconds after such a crash also for clients that were connected all the time (M4)", async () => {
    const { space } = await makeBusy();
    await crash(space);
    await ageReports(BEYOND_SILENT_MS - 1_000);
    const watcher = await Watcher.open();
    expect(hasAll(await watcher.nextStatus(() => true))).toBe(true);
    await ageReports(1_000);
    expect(await runDurableObjectAlarm(monitor())).toBe(true);
    expect(
      await watcher.nextStatus(({ websockets }) => websockets.total_connections === 0),
    ).toMatchObject(WITHOUT_SOCKETS);
  });

  it("are right again after all objects crashed at once (M4)", async () => {
    const { running } = await makeBusy();
    await abortAllDurableObjects();
    await ageReports(BEYOND_SILENT_MS);
    expect(await stats()).toMatchObject(WITHOUT_SOCKETS);
    expect((await getJob(running.id)).status).toBe("processing");
  });

  it("count no sockets of a space that doesn't answer, and its jobs as in its latest report (M4)", async () => {
    const { space } = await makeBusy();
    await runInDurableObject(objectOf(space), (object) => {
      replaceMethod(object, "currentReport", () => "out of order");
    });
    await ageReports(BEYOND_SILENT_MS);
    expect(await stats()).toMatchObject(WITHOUT_SOCKETS);
    await evictDurableObject(objectOf(space));
    await ageReports(BEYOND_SILENT_MS);
    expect(hasAll(await stats())).toBe(true);
  });

  it("are right again once a room that didn't answer answers again, even if nothing changed there", async () => {
    await TestSocket.open("/api/rooms/project:42/ws", OPERATOR);
    const watcher = await Watcher.open();
    await watcher.nextStatus(({ websockets }) => websockets.total_connections === 1);
    const room = env.ROOM.getByName("project:42");
    await runInDurableObject(room, (object) => {
      replaceMethod(object, "summary", () => "out of order");
    });
    await ageReports(BEYOND_SILENT_MS);
    expect(await runDurableObjectAlarm(monitor())).toBe(true);
    await watcher.nextStatus(({ websockets }) => websockets.total_connections === 0);
    await runInDurableObject(room, (object) => {
      Reflect.deleteProperty(object, "summary");
    });
    await ageReports(BEYOND_SILENT_MS);
    expect((await stats()).websockets.total_connections).toBe(1);
  });

  it("keep the count, but no row, of a job that was erased without a report", async () => {
    await expectStatus(201, await call("POST", "/api/jobs", { id: "nightly" }, OPERATOR));
    await call("POST", "/api/jobs/nightly/complete", { result: 1 }, OPERATOR);
    const watcher = await Watcher.open();
    await watcher.nextStatus(({ jobs }) => jobs.completed === 1);
    const job = env.JOB.getByName("nightly");
    await runInDurableObject(job, (_object, { storage }) => storage.deleteAll());
    await evictDurableObject(job);
    await ageReports(2 * 86_400_000);
    expect(await stats()).toMatchObject({ jobs: { total: 1, completed: 1 }, sources: { jobs: 0 } });
  });

  it("keep nothing of a space that was erased without a report", async () => {
    const { space } = await makeBusy();
    await runInDurableObject(objectOf(space), (_object, { storage }) => storage.deleteAll());
    await crash(space);
    await ageReports(BEYOND_SILENT_MS);
    expect(await stats()).toMatchObject({ jobs: { total: 0 }, sources: { spaces: 0 } });
  });

  it("get what a space stored just before it crashed by an alarm of the space (M4)", async () => {
    const space = await makeSpace({ offline: "queue", queue_timeout_s: null });
    await expect.poll(async () => (await stats()).sources.spaces).toBe(1);
    const watcher = await Watcher.open();
    const { id } = await submit(space.name);
    // Within the second after a report, in which the space doesn't report again.
    await crash(space);
    expect(await runDurableObjectAlarm(objectOf(space))).toBe(true);
    const { recent_jobs } = await watcher.nextStatus(({ jobs }) => jobs.active === 1);
    expect(recent_jobs[0]).toMatchObject({ id, status: "queued" });
  });

  it("get what a space with known open jobs stored just before it crashed by asking the space (M4)", async () => {
    const space = await makeSpace({ offline: "queue", queue_timeout_s: null });
    const watcher = await Watcher.open();
    await submit(space.name);
    await watcher.nextStatus(({ jobs }) => jobs.active === 1);
    await submit(space.name);
    await crash(space);
    await ageReports(BEYOND_SILENT_MS);
    expect((await stats()).jobs.active).toBe(2);
  });
});

describe("a monitor without clients", () => {
  it("sets no new alarm when its last one runs, and sets one again when a client connects", async () => {
    await makeBusy();
    const alarm = () => runInDurableObject(monitor(), (_object, { storage }) => storage.getAlarm());
    expect(await runDurableObjectAlarm(monitor())).toBe(true);
    expect(await alarm()).toBeNull();
    const watcher = await Watcher.open();
    await watcher.nextStatus(() => true);
    expect(await alarm()).not.toBeNull();
    expect(await runDurableObjectAlarm(monitor())).toBe(true);
    expect(await alarm()).not.toBeNull();
  });
});
