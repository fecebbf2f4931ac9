import { describe, expect, it } from "vitest";
import { ADMIN } from "../support/callers.ts";
import { pass, runInFakeRuntime } from "../support/runtime/globals.ts";
import type { FakeSocket } from "../support/runtime/socket.ts";
import { ask, SpaceHost } from "./space-host.ts";

runInFakeRuntime();

const A = { userId: "a" };
const B = { userId: "b" };
const C = { userId: "c" };

/** Submits so many jobs as somebody. */
function many(space: SpaceHost, count: number, as: object, more: object = {}): Promise<string[]> {
  const bodies = Array.from({ length: count }, () => more);
  return space.submitAll(bodies, [], as);
}

function one(space: SpaceHost, as: object, more: object = {}): Promise<string> {
  return space.submit(more, [], as);
}

/** Lets the worker do one job after the other, and returns the ids of `count` jobs that it got. */
async function run(space: SpaceHost, worker: FakeSocket, count: number): Promise<unknown[]> {
  const ran: unknown[] = [];
  while (ran.length < count) {
    const jobs = worker.takeOnly("job");
    if (jobs.length === 0) break;
    for (const { job_id, attempt } of jobs) {
      ran.push(job_id);
      await space.complete(worker, String(job_id), null, Number(attempt));
    }
  }
  return ran;
}

async function positions(space: SpaceHost, ids: readonly string[]): Promise<unknown[]> {
  return Promise.all(ids.map(async (id) => (await space.job(id))?.queue_position));
}

describe("users of a space", () => {
  it("take turns: one who comes while another has many jobs waiting is next (Q1, Q1d)", async () => {
    const space = await SpaceHost.make();
    const worker = await space.connect();
    const ofA = await many(space, 30, A);
    expect(worker.takeOnly("job")).toMatchObject([{ job_id: ofA[0] }]);
    const ofB = await many(space, 2, B);
    const ofC = await one(space, C);
    expect(await positions(space, [...ofB, ofC])).toEqual([1, 4, 2]);
    expect(await positions(space, ofA.slice(1, 5))).toEqual([3, 5, 6, 7]);
    await space.complete(worker, ofA[0] ?? "");
    const order = [ofB[0], ofC, ofA[1], ofB[1], ofA[2], ofA[3]];
    expect(await run(space, worker, 6)).toEqual(order);
  });

  it("go on taking turns after the memory was lost", async () => {
    const space = await SpaceHost.make();
    const worker = await space.connect();
    const ofA = await many(space, 10, A);
    expect(await run(space, worker, 4)).toEqual(ofA.slice(0, 4));
    await space.host.hibernate();
    const ofB = await many(space, 2, B);
    expect(await positions(space, ofB)).toEqual([1, 3]);
    await space.host.hibernate();
    const ofC = await one(space, C);
    expect(await run(space, worker, 7)).toEqual([
      ...[ofA[4], ofB[0], ofC, ofA[5], ofB[1], ofA[6], ofA[7]],
    ]);
  });

  it("who come one after the other don't keep one who waits for a second turn from having it (Q1)", async () => {
    const space = await SpaceHost.make();
    const worker = await space.connect();
    const ofA = await many(space, 2, A);
    worker.take();
    await one(space, { userId: "n0" });
    let running = ofA[0] ?? "";
    const newcomers: unknown[] = [];
    for (let n = 1; n <= 20 && running !== ofA[1]; n += 1) {
      await one(space, { userId: `n${n}` });
      await space.complete(worker, running);
      running = String(worker.takeOnly("job")[0]?.job_id);
      newcomers.push(running);
    }
    expect(running).toBe(ofA[1]);
    expect(newcomers.length).toBeLessThan(6);
  });

  it("are told apart by user, then by address; whoever has the operator's key is one more (Q1b)", async () => {
    const space = await SpaceHost.make({ offline: "queue" });
    const first = { address: "2001:db8:1:1::7" };
    await many(space, 3, first);
    const neighbour = await one(space, { address: "2001:db8:1:1::8" });
    const other = await one(space, { address: "2001:db8:1:2::7" });
    const operator = await many(space, 2, { isAdmin: true, address: "2001:db8:1:1::7" });
    const user = await one(space, { userId: "u", address: "2001:db8:1:1::7" });
    const ids = [neighbour, other, ...operator, user];
    expect(await positions(space, ids)).toEqual([8, 2, 3, 6, 4]);
  });

  it("are in the row of a waiting job without their address, and no longer once it has ended", async () => {
    const space = await SpaceHost.make({ offline: "queue" });
    const id = await one(space, { address: "192.0.2.77" });
    const [row] = space.host.sql("SELECT * FROM jobs");
    expect(JSON.stringify(row)).not.toContain("192.0.2.77");
    expect(row).toMatchObject({ party: expect.stringMatching(/^address [\w-]{22}$/) });
    await space.cancel(id);
    expect(space.host.sql("SELECT party FROM jobs")).toEqual([{ party: null }]);
  });

  it("get their own jobs in the order of submits, also one that is tried again, at its place (Q1a, Q1c, W19)", async () => {
    const space = await SpaceHost.make();
    const worker = await space.connect();
    const ofA = await many(space, 3, A);
    const ofB = await many(space, 2, B);
    worker.take();
    await space.report(worker, ofA[0] ?? "", {
      type: "fail",
      code: "busy",
      message: "no",
      retryable: true,
    });
    expect(worker.takeOnly("job")).toMatchObject([{ job_id: ofB[0] }]);
    await pass(1_100);
    await space.complete(worker, ofB[0] ?? "");
    expect(await run(space, worker, 4)).toEqual([ofA[0], ofA[1], ofB[1], ofA[2]]);
  });

  it("take turns among the jobs that need one capability while others go on (Q1)", async () => {
    const space = await SpaceHost.make({ offline: "queue", max_workers: 2 });
    const gpu = { requires: ["gpu"] };
    const stuck = await many(space, 5, A, gpu);
    const worker = await space.connect();
    for (let n = 0; n < 8; n += 1) await space.complete(worker, await one(space, C));
    worker.take();
    const ofB = await one(space, B, gpu);
    const able = await space.connect({ worker_id: "able", capabilities: ["gpu"] });
    expect(await run(space, able, 3)).toEqual([stuck[0], ofB, stuck[1]]);
  });
});

describe("the estimated wait", () => {
  it("is that of somebody new, whoever has many jobs waiting (S19)", async () => {
    const space = await SpaceHost.make({ offline: "queue" });
    const worker = await space.connect();
    const first = await one(space, A);
    await pass(10_000);
    await space.complete(worker, first);
    await many(space, 20, A);
    await pass(1_000);
    const { estimated_wait_s: wait, queue_size: waiting } = (await space.describe()).status;
    expect(waiting).toBe(19);
    expect(wait).toBeCloseTo(9, 0);
  });

  it("doesn't count jobs whose users have enough running (S19, Q3)", async () => {
    const space = await SpaceHost.make({ offline: "queue", max_running_per_user: 1 });
    const worker = await space.connect({ concurrency: 2 });
    const first = await one(space, A);
    await pass(10_000);
    await space.complete(worker, first);
    const ofA = await many(space, 9, A);
    expect((await space.describe()).status).toMatchObject({ estimated_wait_s: 0, queue_size: 8 });
    const ofB = await many(space, 9, B);
    await pass(1_000);
    expect((await space.describe()).status.estimated_wait_s).toBeCloseTo(9, 0);
    await space.cancel(ofA[3] ?? "");
    await space.cancel(ofB[3] ?? "");
  });
});

describe("max_running_per_user", () => {
  it("lets the jobs of others pass those of a user who has enough running (Q3)", async () => {
    const space = await SpaceHost.make({ max_running_per_user: 2 });
    const worker = await space.connect({ concurrency: 4 });
    const ofA = await many(space, 600, A);
    expect(worker.takeOnly("job").map(({ job_id }) => job_id)).toEqual(ofA.slice(0, 2));
    expect(await space.job(ofA[2] ?? "")).toMatchObject({
      queue_position: 1,
      message: expect.stringMatching(/^This space lets each user run 2 jobs at once/),
    });
    const ofB = await many(space, 3, B);
    expect(worker.takeOnly("job").map(({ job_id }) => job_id)).toEqual(ofB.slice(0, 2));
    expect((await space.job(ofB[2] ?? ""))?.message).toMatch(/^This space lets/);
    await space.complete(worker, ofA[1] ?? "");
    expect(worker.takeOnly("job")).toMatchObject([{ job_id: ofA[2] }]);
    await space.host.hibernate();
    await space.complete(worker, ofB[1] ?? "");
    expect(worker.takeOnly("job")).toMatchObject([{ job_id: ofB[2] }]);
    await space.cancel(ofA[3] ?? "");
    await space.complete(worker, ofA[2] ?? "");
    expect(worker.takeOnly("job")).toMatchObject([{ job_id: ofA[4] }]);
  });

  it("holds across priorities and classes, and not for the operator's key (Q3, Q2)", async () => {
    const space = await SpaceHost.make({ max_running_per_user: 1, max_workers: 2 });
    const plain = await space.connect({ concurrency: 3 });
    const able = await space.connect({ worker_id: "able", capabilities: ["gpu"], concurrency: 3 });
    const [first, , urgent] = await space.submitAll(
      [{}, { requires: ["gpu"] }, { priority: 5 }],
      [],
      A,
    );
    const ran = [...plain.takeOnly("job"), ...able.takeOnly("job")].map(({ job_id }) => job_id);
    expect(ran).toEqual([urgent]);
    expect((await space.job(first ?? ""))?.status).toBe("queued");
    const others = await many(space, 3, { isAdmin: true });
    expect(
      [...plain.takeOnly("job"), ...able.takeOnly("job")].map(({ job_id }) => job_id).sort(),
    ).toEqual([...others].sort());
  });

  it("can be lowered and raised while jobs wait and run (Q3)", async () => {
    const space = await SpaceHost.make({ offline: "queue" });
    const worker = await space.connect({ concurrency: 4 });
    const ofA = await many(space, 8, A);
    expect(worker.takeOnly("job")).toHaveLength(4);
    await space.object.change(ADMIN, { max_running_per_user: 2 });
    await space.complete(worker, ofA[0] ?? "");
    await space.complete(worker, ofA[1] ?? "");
    expect(worker.takeOnly("job")).toEqual([]);
    const ofB = await one(space, B);
    expect(worker.takeOnly("job")).toMatchObject([{ job_id: ofB }]);
    await space.object.change(ADMIN, { max_running_per_user: null });
    await pass();
    await space.complete(worker, ofB);
    expect(worker.takeOnly("job").map(({ job_id }) => job_id)).toEqual([ofA[4], ofA[5]]);
  });
});

describe("max_queued_per_user", () => {
  it("refuses what exceeds it job by job, and nobody else (Q2)", async () => {
    const space = await SpaceHost.make({ offline: "queue", max_queued_per_user: 2 });
    const ids = await many(space, 4, A);
    expect(ids.slice(2)).toEqual(["queue_full", "queue_full"]);
    expect(await many(space, 2, B)).not.toContain("queue_full");
    expect(await many(space, 5, { isAdmin: true })).not.toContain("queue_full");
    await space.host.hibernate();
    expect(await one(space, A)).toBe("queue_full");
    const worker = await space.connect({ concurrency: 1 });
    expect(worker.takeOnly("job")).toMatchObject([{ job_id: ids[0] }]);
    expect(await one(space, A)).not.toBe("queue_full");
    expect(await one(space, A)).toBe("queue_full");
  });

  it("doesn't count what a worker takes at once (Q2)", async () => {
    const space = await SpaceHost.make({ max_queued_per_user: 1 });
    await space.connect({ concurrency: 3 });
    const ids = await many(space, 5, A);
    expect(ids.map((id) => id === "queue_full")).toEqual([false, false, false, false, true]);
  });

  it("names the setting, over a socket too", async () => {
    const space = await SpaceHost.make({ offline: "queue", max_queued_per_user: 1 });
    const socket = await space.follow({ as: A });
    await ask(socket, { type: "submit", ref: 1, input: {} });
    const [error] = await ask(socket, { type: "submit", ref: 2, input: {} });
    expect(error).toMatchObject({ type: "error", ref: 2, code: "queue_full" });
    expect(error?.message).toContain("`max_queued_per_user`");
  });
});

describe("the highest priority", () => {
  it("depends on who submits; admins may give any (Q4)", async () => {
    const settings = {
      offline: "queue",
      max_priority_anonymous: -5,
      max_priority_user: 10,
    } as const;
    const space = await SpaceHost.make(settings);
    const at = (priority: number, as: object) => one(space, as, { priority });
    expect(await at(0, {})).toBe("not_allowed");
    expect(await at(-5, {})).toMatch(/^demo\./);
    expect(await at(11, A)).toBe("not_allowed");
    expect(await at(10, A)).toMatch(/^demo\./);
    expect(await at(100, { isAdmin: true })).toMatch(/^demo\./);
    expect(await at(100, { ...A, isAdmin: true })).toMatch(/^demo\./);
  });
});

describe("jobs with many different `requires`", () => {
  it("are refused beyond 200 sets; what others require, or nothing, is taken (Q5)", async () => {
    const space = await SpaceHost.make({ offline: "queue" });
    const bodies = Array.from({ length: 203 }, (_, n) => ({ requires: [`c${n}`] }));
    const ids = await space.submitAll(bodies, [], A);
    expect(ids.slice(0, 200)).not.toContain("queue_full");
    expect(ids.slice(200)).toEqual(["queue_full", "queue_full", "queue_full"]);
    expect(await one(space, B, { requires: ["c7"] })).toMatch(/^demo\./);
    expect(await one(space, B)).toMatch(/^demo\./);
    await space.cancel(ids[3] ?? "");
    expect(await one(space, B, { requires: ["another"] })).toMatch(/^demo\./);
  });
});
