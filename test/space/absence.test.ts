import { describe, expect, it, vi } from "vitest";
import { pass, runInFakeRuntime, START } from "../support/runtime/globals.ts";
import type { FakeSocket } from "../support/runtime/socket.ts";
import { SpaceHost, STORED_MS } from "./space-host.ts";

runInFakeRuntime();

const HOUR_MS = 3_600_000;

/** The deadline of the only entry of `resumed`, seconds after the test began. */
async function resumeDeadline(space: SpaceHost, id: string): Promise<number> {
  const worker = await space.connect({ resume: [{ job_id: id, attempt: 1 }] });
  const [registered] = worker.takeOnly("registered");
  const [resumed] = (registered?.resumed ?? []) as { deadline: string }[];
  return (Date.parse(resumed?.deadline ?? "") - START) / 1_000;
}

describe("the time in which the edge was away", () => {
  it("doesn't count against the limit of waiting, however long it was (H19)", async () => {
    const space = await SpaceHost.make({ offline: "queue", queue_timeout_s: 60 });
    const id = await space.submit();
    await pass(40_000);
    await space.host.restart(10 * HOUR_MS);
    expect(await space.statusOf(id)).toBe("queued");
    await pass(15_000);
    expect(await space.statusOf(id)).toBe("queued");
    await pass(120_000);
    expect(await space.statusOf(id)).toBe("failed: expired");
  });

  it("leaves a job all of its time if the edge was killed just after the submit (H19)", async () => {
    const space = await SpaceHost.make({ offline: "queue", queue_timeout_s: 3_600 });
    const id = await space.submit();
    await pass(1_000);
    await space.host.restart(2 * HOUR_MS);
    await pass(3_500_000);
    expect(await space.statusOf(id)).toBe("queued");
    await pass(200_000);
    expect(await space.statusOf(id)).toBe("failed: expired");
  });

  it("doesn't count if the edge is away twice, nor when the object sleeps after that (H19)", async () => {
    const space = await SpaceHost.make({ offline: "queue", queue_timeout_s: 60 });
    const id = await space.submit();
    await space.host.restart(HOUR_MS);
    await pass(10_000);
    await space.host.restart(HOUR_MS);
    await pass(10_000);
    expect(await space.statusOf(id)).toBe("queued");
    await space.host.hibernate();
    await pass(10_000);
    expect(await space.statusOf(id)).toBe("queued");
    // The edge can't know how long it was away: a job may get more time than that.
    await pass(3 * HOUR_MS);
    expect(await space.statusOf(id)).toBe("failed: expired");
  });

  it("doesn't count later either, when a newer job shows that the edge was there (H19)", async () => {
    const space = await SpaceHost.make({ offline: "queue", queue_timeout_s: 60 });
    const id = await space.submit();
    await space.host.restart(HOUR_MS);
    await pass(5_000);
    await space.submit();
    await space.host.hibernate();
    await pass(5_000);
    expect(await space.statusOf(id)).toBe("queued");
    await pass(60_000);
    expect(await space.statusOf(id)).toBe("failed: expired");
  });

  it("doesn't count later either, when a newer job shows that the edge was there (H19)", async () => {
    const space = await SpaceHost.make({ offline: "queue", queue_timeout_s: 60 });
    const id = await space.submit();
    await space.host.restart(HOUR_MS);
    await pass(5_000);
    await space.submit();
    await space.host.hibernate();
    await pass(5_000);
    expect(await space.statusOf(id)).toBe("queued");
    await pass(60_000);
    expect(await space.statusOf(id)).toBe("failed: expired");
  });

  it("doesn't count later either, when a newer job shows that the edge was there (H19)", async () => {
    const space = await SpaceHost.make({ offline: "queue", queue_timeout_s: 60 });
    const id = await space.submit();
    await space.host.restart(HOUR_MS);
    await pass(5_000);
    await space.submit();
    await space.host.hibernate();
    await pass(5_000);
    expect(await space.statusOf(id)).toBe("queued");
    await pass(60_000);
    expect(await space.statusOf(id)).toBe("failed: expired");
  });

  it("doesn't count against an attempt, whose grace begins when the edge is back (W24c, W26b)", async () => {
    const space = await SpaceHost.make({ job_timeout_s: 60, reconnect_grace_s: 15 });
    await space.connect();
    const id = await space.submit();
    await pass(20_000);
    await space.host.restart(HOUR_MS);
    await pass(14_000);
    expect(await space.statusOf(id)).toBe("processing");
    const deadlineS = await resumeDeadline(space, id);
    expect(deadlineS).toBeGreaterThanOrEqual(3_660);
    // What the edge can't know is counted for the job: not more than a lease and the grace.
    expect(deadlineS).toBeLessThanOrEqual(3_660 + 30 + 15 + 1);
  });

  it("is taken from what was last heard, not from the attempt's begin", async () => {
    const space = await SpaceHost.make({ job_timeout_s: 600 });
    const worker = await space.connect();
    const id = await space.submit();
    for (let second = 0; second < 100; second += 10) {
      worker.push("ping");
      await pass(10_000);
    }
    await space.report(worker, id, { type: "progress", progress: 5 });
    await pass(STORED_MS);
    await space.host.restart(0);
    const deadlineS = await resumeDeadline(space, id);
    expect(deadlineS).toBeGreaterThanOrEqual(600);
    expect(deadlineS).toBeLessThanOrEqual(600 + 15 + 2);
  });

  it("ends when the worker stays away: its job is queued again after the grace (W24a)", async () => {
    const space = await SpaceHost.make({ reconnect_grace_s: 15, offline: "queue" });
    await space.connect();
    const id = await space.submit();
    await space.host.restart(HOUR_MS);
    await pass(14_500);
    expect(await space.statusOf(id)).toBe("processing");
    await pass(1_000);
    expect(await space.job(id)).toMatchObject({ status: "queued", attempt: 1 });
  });

  it("lets a result be taken that was finished meanwhile, whatever the clock says (W24c)", async () => {
    const space = await SpaceHost.make({ job_timeout_s: 10 });
    await space.connect();
    const id = await space.submit();
    await space.host.restart(HOUR_MS);
    const worker = await space.connect({ resume: [{ job_id: id, attempt: 1 }] });
    await space.complete(worker, id, "late");
    expect(await space.job(id)).toMatchObject({ status: "completed", result: "late" });
  });

  it("is none if only the object slept: limits go on (W15)", async () => {
    const space = await SpaceHost.make({ job_timeout_s: 20 });
    const worker = await space.connect();
    const id = await space.submit();
    await pass(10_000);
    await space.host.hibernate();
    await pass(10_500);
    expect(await space.statusOf(id)).toBe("failed: timeout");
    expect(worker.takeOnly("cancel")).toHaveLength(1);
  });

  it("is none for an attempt whose worker had dropped before the object slept", async () => {
    const space = await SpaceHost.make({ reconnect_grace_s: 60, job_timeout_s: 600 });
    const worker = await space.connect();
    const id = await space.submit();
    worker.leave(1006);
    await pass(1_000);
    for (let slept = 0; slept < 5; slept += 1) {
      await space.host.hibernate();
      await pass(10_000);
    }
    expect(await space.statusOf(id)).toBe("processing");
    await pass(10_000);
    expect(await space.job(id)).toMatchObject({ status: "queued" });
  });

  it("counts as none when the clock was set back, and no job is timed out for it", async () => {
    const space = await SpaceHost.make({ offline: "queue", queue_timeout_s: 60 });
    await space.connect();
    const running = await space.submit();
    const waiting = await space.submit();
    await pass(10_000);
    await space.host.restart(-HOUR_MS);
    await pass(1_000);
    expect(await space.statusOf(running)).toBe("processing");
    expect(await space.statusOf(waiting)).toBe("queued");
  });

  it("cancels jobs whose submitters' sockets are gone, if they asked for that (S11)", async () => {
    const space = await SpaceHost.make({ offline: "queue" });
    const submitter = await space.follow();
    const submit = { type: "submit", input: {} };
    submitter.push({ ...submit, ref: 1, cancel_on_disconnect: true });
    submitter.push({ ...submit, ref: 2 });
    await pass();
    const [leaving, staying] = submitter.takeOnly("accepted").map(({ job_id }) => String(job_id));
    await space.host.hibernate();
    expect(await space.statusOf(leaving ?? "")).toBe("queued");
    await space.host.restart();
    expect(await space.statusOf(leaving ?? "")).toBe("canceled: canceled");
    expect((await space.job(leaving ?? ""))?.error?.message).toBe("The submitter disconnected.");
    expect(await space.statusOf(staying ?? "")).toBe("queued");
  });
});

describe("an edge that stood still with its memory kept", () => {
  const STANDSTILL_MS = 42_000;

  /** Lets seconds pass in which the worker pings as it must. */
  async function passPinging(worker: FakeSocket, seconds: number): Promise<void> {
    for (let passed = 0; passed < seconds; passed += 1) {
      worker.push("ping");
      await pass(1_000);
    }
  }

  it("leaves an attempt its time and its worker its connection, and names the new deadline (W24d, W15a)", async () => {
    const space = await SpaceHost.make({ job_timeout_s: 60, reconnect_grace_s: 5 });
    const worker = await space.connect();
    const id = await space.submit();
    await passPinging(worker, 20);
    worker.take();
    space.host.standStill(STANDSTILL_MS);
    await pass(1_500);
    const [moved] = worker.takeOnly("deadline");
    expect(moved).toMatchObject({ job_id: id, attempt: 1 });
    const deadlineS = (Date.parse(String(moved?.deadline)) - START) / 1_000;
    expect(deadlineS).toBeGreaterThanOrEqual(60 + 42);
    expect(deadlineS).toBeLessThanOrEqual(60 + 42 + 1.1 + 5);
    await passPinging(worker, 38);
    expect(worker.closed).toBe(null);
    await space.complete(worker, id, "done");
    expect(await space.statusOf(id)).toBe("completed");
  });

  it("still ends an attempt that takes too long (W24d)", async () => {
    const space = await SpaceHost.make({ job_timeout_s: 60, reconnect_grace_s: 5 });
    const worker = await space.connect();
    const id = await space.submit();
    await passPinging(worker, 20);
    space.host.standStill(STANDSTILL_MS);
    await passPinging(worker, 48);
    expect(await space.statusOf(id)).toBe("failed: timeout");
  });

  it("notices it by whatever comes first, before anything is decided by the clock (W24d)", async () => {
    const looks: ((space: SpaceHost, worker: FakeSocket, id: string) => unknown)[] = [
      (space) => space.describe(),
      (space) => space.host.runAlarm(),
      (space) => space.submit(),
      (_, worker, job_id) => worker.push({ type: "progress", job_id, attempt: 1, progress: 5 }),
      (_, worker) => worker.push("ping"),
    ];
    for (const look of looks) {
      const space = await SpaceHost.make({ job_timeout_s: 30, offline: "queue" });
      const worker = await space.connect();
      const id = await space.submit();
      await passPinging(worker, 5);
      space.host.standStill(STANDSTILL_MS);
      await look(space, worker, id);
      await pass();
      await passPinging(worker, 20);
      expect([worker.closed, await space.statusOf(id)]).toEqual([null, "processing"]);
    }
  });

  it("gives each shorter limit whole again: the first output, a stall, the grace (W24d)", async () => {
    const limits = { first_output_timeout_s: 10, stall_timeout_s: 10, reconnect_grace_s: 10 };
    const space = await SpaceHost.make({ ...limits, max_workers: 3 });
    const quiet = await space.connect({ worker_id: "w1" });
    const stalling = await space.connect({ worker_id: "w2" });
    const gone = await space.connect({ worker_id: "w3" });
    const ids = [await space.submit(), await space.submit(), await space.submit()];
    const jobOf = (worker: FakeSocket) =>
      String(worker.takeOnly("job").map(({ job_id }) => job_id)[0]);
    const [silentJob, stallingJob, goneJob] = [jobOf(quiet), jobOf(stalling), jobOf(gone)];
    expect([silentJob, stallingJob, goneJob].sort()).toEqual([...ids].sort());
    await space.report(stalling, stallingJob, { type: "progress", progress: 1 });
    gone.leave(1006);
    await pass(5_000);
    space.host.standStill(STANDSTILL_MS);
    await pass(8_000);
    expect(await Promise.all(ids.map((id) => space.statusOf(id)))).toEqual(
      Array(3).fill("processing"),
    );
    const back = await space.connect({
      worker_id: "w3",
      resume: [{ job_id: goneJob, attempt: 1 }],
    });
    await space.complete(back, goneJob);
    expect(await space.statusOf(goneJob)).toBe("completed");
    await pass(4_000);
    expect(await space.statusOf(silentJob)).toBe("failed: timeout");
    expect(await space.statusOf(stallingJob)).toBe("failed: timeout");
  });

  it("doesn't count against the limit of waiting, however often it happens (H19a)", async () => {
    const space = await SpaceHost.make({ offline: "queue", queue_timeout_s: 60 });
    const id = await space.submit();
    for (let times = 0; times < 5; times += 1) {
      await pass(10_000);
      space.host.standStill(STANDSTILL_MS);
    }
    await pass(5_000);
    expect(await space.statusOf(id)).toBe("queued");
    await pass(15_000);
    expect(await space.statusOf(id)).toBe("failed: expired");
  });

  it("leaves a new worker its time to register (W24d)", async () => {
    const space = await SpaceHost.make();
    const worker = await space.dial();
    await pass(2_000);
    space.host.standStill(STANDSTILL_MS);
    await pass(5_000);
    worker.push({ type: "register", worker_id: "worker-1" });
    await pass();
    expect(worker.takeOnly("registered")).toHaveLength(1);
  });

  it("takes no subscriber for silent whose pings it could not read (S21a)", async () => {
    const space = await SpaceHost.make();
    const worker = await space.connect();
    const viewer = await space.follow();
    await passPinging(worker, 20);
    viewer.push("ping");
    await space.submit();
    space.host.standStill(10 * 60_000);
    await passPinging(worker, 60);
    expect(viewer.closed).toBe(null);
  });

  it("has no timer on Cloudflare, where no machine sleeps and memory costs", async () => {
    const timersOf = async (MAY_STAND_STILL: "true" | undefined) => {
      vi.clearAllTimers();
      const space = await SpaceHost.make({}, { MAY_STAND_STILL });
      await space.connect();
      await space.submit();
      return vi.getTimerCount();
    };
    const own = await timersOf("true");
    expect(await timersOf(undefined)).toBe(own - 1);
  });
});
