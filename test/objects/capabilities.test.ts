import { describe, expect, it } from "vitest";
import type { SpaceSettings } from "../../src/protocol/resources.ts";
import {
  call,
  connectWorker,
  getJob,
  makeSpace,
  problemOf,
  submit,
  TestSocket,
} from "./support.ts";

type Space = { name: string; token: string };

/** Connects a worker with this name, which is also its id. */
async function join(space: Space, name: string, register: object = {}): Promise<TestSocket> {
  return (await connectWorker(space, { worker_id: name, name, ...register })).socket;
}

function ask(space: Space, requires: string[], more: object = {}) {
  return submit(space.name, { input: {}, requires, ...more });
}

/** Returns the id of the job that the worker gets next. */
async function given(worker: TestSocket): Promise<string> {
  return String((await worker.next("job")).job_id);
}

async function finish(worker: TestSocket, job_id: string, attempt = 1): Promise<void> {
  worker.send({ type: "result", job_id, attempt, output: null });
  await worker.next("ack");
}

async function statusOf(space: Space) {
  const response = await call("GET", `/api/spaces/${space.name}`);
  return (await response.json<{ status: { waiting_reason?: string; worker: string } }>()).status;
}

/** Returns why jobs wait: as the space says it, and as this job says it. */
async function reasons(space: Space, id: string): Promise<(string | null | undefined)[]> {
  const response = await call("GET", `/api/jobs/${id}`);
  const { message } = await response.json<{ message: string | null }>();
  return [(await statusOf(space)).waiting_reason, message];
}

/** Sends the load of the worker's machine and returns once the edge has handled it. */
async function tellLoad(worker: TestSocket, load: number): Promise<void> {
  worker.send({ type: "load", load });
  worker.send({ type: "accept", job_id: "none", attempt: 1 });
  await worker.next("stale");
}

describe("a job that requires capabilities", () => {
  it("goes only to a worker that registered all of them (W32)", async () => {
    const space = await makeSpace({ offline: "queue", max_workers: 3 });
    const plain = await join(space, "plain", { concurrency: 9 });
    const half = await join(space, "half", { concurrency: 9, capabilities: ["gpu"] });
    const { id } = await ask(space, ["gpu", "fp8"]);
    expect((await getJob(id)).status).toBe("queued");
    const full = await join(space, "full", { capabilities: ["fp8", "x", "gpu"] });
    expect(await given(full)).toBe(id);
    const behind = await ask(space, ["gpu"]);
    expect(await given(half)).toBe(behind.id);
    const last = await ask(space, ["x"]);
    expect((await getJob(last.id)).status).toBe("queued");
    await finish(full, id);
    expect(await given(full)).toBe(last.id);
    const anyone = await ask(space, []);
    expect(await given(plain)).toBe(anyone.id);
  });

  it("doesn't hold up the jobs behind it while it waits, even those of a lower priority (W32a)", async () => {
    const space = await makeSpace({ offline: "queue" });
    const plain = await join(space, "plain");
    const blocked = [
      await ask(space, ["gpu"], { priority: 9 }),
      await ask(space, ["gpu"], { priority: 9 }),
    ];
    const free = [await ask(space, []), await ask(space, [], { priority: -5 })];
    for (const { id } of free) {
      expect(await given(plain)).toBe(id);
      await finish(plain, id);
    }
    const statuses = await Promise.all(blocked.map(({ id }) => getJob(id)));
    expect(statuses.map(({ status }) => status)).toEqual(["queued", "queued"]);
  });

  it("doesn't hold up the jobs of its batch when its only worker is busy (W32a)", async () => {
    const space = await makeSpace({ max_workers: 2 });
    const able = await join(space, "able", { capabilities: ["gpu", "x"] });
    const plain = await join(space, "plain");
    const jobs = [["gpu"], ["x"], []].map((requires) => ({ input: {}, requires }));
    const answer = await call("POST", `/api/spaces/${space.name}/jobs/batch`, { jobs });
    const { jobs: taken } = await answer.json<{
      jobs: { job: { id: string; status: string } }[];
    }>();
    expect(taken.map(({ job }) => job.status)).toEqual(["processing", "queued", "processing"]);
    expect(await given(able)).toBe(taken[0]?.job.id);
    expect(await given(plain)).toBe(taken[2]?.job.id);
  });

  it("that no connected worker has is refused or queued, as the space's `offline` says (H3)", async () => {
    const space = await makeSpace();
    await join(space, "plain", { capabilities: ["gpu"] });
    const refused = () =>
      call("POST", `/api/spaces/${space.name}/jobs`, { input: {}, requires: ["fp8", "gpu"] });
    const { code, detail } = await problemOf(409, refused());
    expect(code).toBe("worker_not_connected");
    expect(detail).toContain("No connected worker has fp8, gpu");
    expect(await ask(space, ["gpu"])).toMatchObject({ status: "processing" });
    const queueing = await makeSpace({ offline: "queue" });
    await join(queueing, "plain");
    expect(await ask(queueing, ["gpu"])).toMatchObject({ status: "queued", queue_position: 1 });
  });

  it("goes to another worker that has them when its worker leaves (W28a, W32)", async () => {
    const space = await makeSpace({ max_workers: 2, offline: "queue" });
    const [one, other] = [
      await join(space, "one", { capabilities: ["gpu"] }),
      await join(space, "other", { capabilities: ["gpu"] }),
    ];
    const [first, second, third] = [
      await ask(space, ["gpu"]),
      await ask(space, ["gpu"]),
      await ask(space, ["gpu"]),
    ];
    expect([await given(one), await given(other)]).toEqual([first.id, second.id]);
    const viewer = await TestSocket.open(`/ws/${first.id}`);
    one.close();
    await viewer.next(({ status }) => status === "queued");
    await finish(other, second.id);
    expect(await other.next("job")).toMatchObject({ job_id: first.id, attempt: 2 });
    await finish(other, first.id, 2);
    expect(await given(other)).toBe(third.id);
  });
});

describe("why a job waits", () => {
  it("is that no worker is connected, that none has the capabilities, or that all are busy", async () => {
    const space = await makeSpace({ offline: "queue", max_workers: 2 });
    const plain = await ask(space, []);
    const picky = await ask(space, ["gpu"]);
    const nobody = "No worker is connected.";
    expect(await reasons(space, plain.id)).toEqual([nobody, nobody]);
    expect(await reasons(space, picky.id)).toEqual([nobody, nobody]);
    const worker = await join(space, "plain");
    await given(worker);
    const lacking = "No connected worker has gpu.";
    expect(await reasons(space, picky.id)).toEqual([lacking, lacking]);
    const second = await ask(space, []);
    expect(await reasons(space, second.id)).toEqual([lacking, "Every worker is busy."]);
    const gpu = await join(space, "gpu", { capabilities: ["gpu"], concurrency: 2 });
    expect([await given(gpu), await given(gpu)]).toEqual([picky.id, second.id]);
    await finish(worker, plain.id);
    const more = await ask(space, ["gpu"]);
    expect(await reasons(space, more.id)).toEqual([undefined, "Every worker with gpu is busy."]);
    await submit(space.name);
    const every = "Every worker is busy.";
    expect(await reasons(space, more.id)).toEqual([every, every]);
  });

  it("is that the worker drains, or has lost its connection and may come back", async () => {
    const space = await makeSpace({ offline: "queue" });
    const worker = await join(space, "one");
    const running = await submit(space.name);
    expect(await given(worker)).toBe(running.id);
    worker.send({ type: "drain", reason: "update" });
    const viewer = await TestSocket.open(`/api/spaces/${space.name}/ws`);
    const draining = "The worker is finishing its jobs and takes no new ones.";
    expect(await viewer.next((frame) => frame.worker === "draining")).toMatchObject({
      waiting_reason: draining,
    });
    const { id } = await submit(space.name);
    expect(await reasons(space, id)).toEqual([draining, draining]);
    worker.close(4000);
    await viewer.next((frame) => frame.worker === "reconnecting");
    const away = "The worker lost its connection and may come back.";
    expect(await reasons(space, id)).toEqual([away, away]);
  });

  it("is sent to the job's followers, and is null once the job runs", async () => {
    const space = await makeSpace({ offline: "queue" });
    const { id } = await ask(space, ["gpu"]);
    const viewer = await TestSocket.open(`/ws/${id}`);
    expect(await viewer.next("progress")).toMatchObject({ message: "No worker is connected." });
    const worker = await join(space, "one", { capabilities: ["gpu"] });
    expect(await given(worker)).toBe(id);
    expect(await viewer.next("progress")).toMatchObject({ status: "processing", message: null });
  });
});

describe("a space with several workers", () => {
  const TWO: Partial<SpaceSettings> = { max_workers: 2, offline: "queue" };

  it("gives each job to the worker with the smallest share of busy slots (W33)", async () => {
    const space = await makeSpace(TWO);
    const [small, large] = [
      await join(space, "small", { concurrency: 2 }),
      await join(space, "large", { concurrency: 4 }),
    ];
    const jobs: string[] = [];
    for (let n = 0; n < 6; n += 1) jobs.push((await submit(space.name)).id);
    const got = async (worker: TestSocket, count: number) => {
      const ids: string[] = [];
      while (ids.length < count) ids.push(await given(worker));
      return ids.map((id) => jobs.indexOf(id));
    };
    // Both are idle: small. Small is half busy: large, twice. Both are half busy: small. Small is full: large.
    expect(await got(small, 2)).toEqual([0, 3]);
    expect(await got(large, 4)).toEqual([1, 2, 4, 5]);
    expect(await submit(space.name)).toMatchObject({ status: "queued", queue_position: 1 });
  });

  it("prefers the free worker whose machine reported the lower load last (W33a, W33b)", async () => {
    const space = await makeSpace(TWO);
    const [one, two] = [await join(space, "one"), await join(space, "two")];
    await tellLoad(one, 0.9);
    await tellLoad(two, 0.3);
    const first = await submit(space.name);
    expect(await given(two)).toBe(first.id);
    await finish(two, first.id);
    await tellLoad(one, 0.1);
    const second = await submit(space.name);
    expect(await given(one)).toBe(second.id);
    // Only the loaded worker is free, so it gets the job.
    await tellLoad(two, 1);
    const third = await submit(space.name);
    expect(await given(two)).toBe(third.id);
  });

  it("gives no job to a worker that drains (W28)", async () => {
    const space = await makeSpace(TWO);
    const [one, two] = [await join(space, "one"), await join(space, "two")];
    one.send({ type: "drain" });
    await tellLoad(one, 0);
    const first = await submit(space.name);
    expect(await given(two)).toBe(first.id);
    expect(await submit(space.name)).toMatchObject({ status: "queued" });
  });
});
