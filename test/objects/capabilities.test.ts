import { describe, expect, it } from "vitest";
import type { SpaceSettings } from "../../src/protocol/resources.ts";
import {
  call,
  connectWorker,
  getJob,
  makeSpace,
  nextJobId,
  problemOf,
  submit,
  TestSocket,
  type WorkerSpace,
} from "./support.ts";

/** Connects a worker with this name, which is also its id. */
async function connectNamed(
  space: WorkerSpace,
  name: string,
  register: object = {},
): Promise<TestSocket> {
  return (await connectWorker(space, { worker_id: name, name, ...register })).socket;
}

function submitRequiring(space: WorkerSpace, requires: string[], more: object = {}) {
  return submit(space.name, { input: {}, requires, ...more });
}

async function finish(worker: TestSocket, job_id: string, attempt = 1): Promise<void> {
  worker.send({ type: "result", job_id, attempt, output: null });
  await worker.next("ack");
}

async function statusOf(space: WorkerSpace) {
  const response = await call("GET", `/api/spaces/${space.name}`);
  return (await response.json<{ status: { waiting_reason?: string; worker: string } }>()).status;
}

/** Returns why jobs wait: as the space says it, and as this job says it. */
async function waitingReasons(
  space: WorkerSpace,
  id: string,
): Promise<(string | null | undefined)[]> {
  const response = await call("GET", `/api/jobs/${id}`);
  const { message } = await response.json<{ message: string | null }>();
  return [(await statusOf(space)).waiting_reason, message];
}

/** Sends the load of the worker's machine and returns once the edge has handled it. */
async function reportLoad(worker: TestSocket, load: number): Promise<void> {
  worker.send({ type: "load", load });
  worker.send({ type: "accept", job_id: "none", attempt: 1 });
  await worker.next("stale");
}

describe("a job that requires capabilities", () => {
  it("goes only to a worker that registered all of them (W32)", async () => {
    const space = await makeSpace({ offline: "queue", max_workers: 3 });
    const plain = await connectNamed(space, "plain", { concurrency: 9 });
    const half = await connectNamed(space, "half", { concurrency: 9, capabilities: ["gpu"] });
    const { id } = await submitRequiring(space, ["gpu", "fp8"]);
    expect((await getJob(id)).status).toBe("queued");
    const full = await connectNamed(space, "full", { capabilities: ["fp8", "x", "gpu"] });
    expect(await nextJobId(full)).toBe(id);
    const behind = await submitRequiring(space, ["gpu"]);
    expect(await nextJobId(half)).toBe(behind.id);
    const last = await submitRequiring(space, ["x"]);
    expect((await getJob(last.id)).status).toBe("queued");
    await finish(full, id);
    expect(await nextJobId(full)).toBe(last.id);
    const anyone = await submitRequiring(space, []);
    expect(await nextJobId(plain)).toBe(anyone.id);
  });

  it("doesn't hold up the jobs behind it while it waits, even those of a lower priority (W32a)", async () => {
    const space = await makeSpace({ offline: "queue" });
    const plain = await connectNamed(space, "plain");
    const blocked = [
      await submitRequiring(space, ["gpu"], { priority: 9 }),
      await submitRequiring(space, ["gpu"], { priority: 9 }),
    ];
    const free = [
      await submitRequiring(space, []),
      await submitRequiring(space, [], { priority: -5 }),
    ];
    for (const { id } of free) {
      expect(await nextJobId(plain)).toBe(id);
      await finish(plain, id);
    }
    const statuses = await Promise.all(blocked.map(({ id }) => getJob(id)));
    expect(statuses.map(({ status }) => status)).toEqual(["queued", "queued"]);
  });

  it("doesn't hold up the jobs of its batch when its only worker is busy (W32a)", async () => {
    const space = await makeSpace({ max_workers: 2 });
    const able = await connectNamed(space, "able", { capabilities: ["gpu", "x"] });
    const plain = await connectNamed(space, "plain");
    const jobs = [["gpu"], ["x"], []].map((requires) => ({ input: {}, requires }));
    const answer = await call("POST", `/api/spaces/${space.name}/jobs/batch`, { jobs });
    const { jobs: submitted } = await answer.json<{
      jobs: { job: { id: string; status: string } }[];
    }>();
    expect(submitted.map(({ job }) => job.status)).toEqual(["processing", "queued", "processing"]);
    expect(await nextJobId(able)).toBe(submitted[0]?.job.id);
    expect(await nextJobId(plain)).toBe(submitted[2]?.job.id);
  });

  it("that no connected worker has is refused or queued, as the space's `offline` says (H3)", async () => {
    const space = await makeSpace();
    await connectNamed(space, "plain", { capabilities: ["gpu"] });
    const refused = () =>
      call("POST", `/api/spaces/${space.name}/jobs`, { input: {}, requires: ["fp8", "gpu"] });
    const { code, detail } = await problemOf(409, refused());
    expect(code).toBe("worker_not_connected");
    expect(detail).toContain("No connected worker has fp8, gpu");
    expect(await submitRequiring(space, ["gpu"])).toMatchObject({ status: "processing" });
    const queueing = await makeSpace({ offline: "queue" });
    await connectNamed(queueing, "plain");
    expect(await submitRequiring(queueing, ["gpu"])).toMatchObject({
      status: "queued",
      queue_position: 1,
    });
  });

  it("goes to another worker that has them when its worker leaves (W28a, W32)", async () => {
    const space = await makeSpace({ max_workers: 2, offline: "queue" });
    const [leaving, staying] = [
      await connectNamed(space, "one", { capabilities: ["gpu"] }),
      await connectNamed(space, "other", { capabilities: ["gpu"] }),
    ];
    const [first, second, third] = [
      await submitRequiring(space, ["gpu"]),
      await submitRequiring(space, ["gpu"]),
      await submitRequiring(space, ["gpu"]),
    ];
    expect([await nextJobId(leaving), await nextJobId(staying)]).toEqual([first.id, second.id]);
    const viewer = await TestSocket.open(`/ws/${first.id}`);
    leaving.close();
    await viewer.next(({ status }) => status === "queued");
    await finish(staying, second.id);
    expect(await staying.next("job")).toMatchObject({ job_id: first.id, attempt: 2 });
    await finish(staying, first.id, 2);
    expect(await nextJobId(staying)).toBe(third.id);
  });
});

describe("why a job waits", () => {
  it("is that no worker is connected, that none has the capabilities, or that all are busy", async () => {
    const space = await makeSpace({ offline: "queue", max_workers: 2 });
    const plain = await submitRequiring(space, []);
    const picky = await submitRequiring(space, ["gpu"]);
    const nobody = "No worker is connected.";
    expect(await waitingReasons(space, plain.id)).toEqual([nobody, nobody]);
    expect(await waitingReasons(space, picky.id)).toEqual([nobody, nobody]);
    const worker = await connectNamed(space, "plain");
    await nextJobId(worker);
    const lacking = "No connected worker has gpu.";
    expect(await waitingReasons(space, picky.id)).toEqual([lacking, lacking]);
    const second = await submitRequiring(space, []);
    expect(await waitingReasons(space, second.id)).toEqual([lacking, "Every worker is busy."]);
    const gpu = await connectNamed(space, "gpu", { capabilities: ["gpu"], concurrency: 2 });
    expect([await nextJobId(gpu), await nextJobId(gpu)]).toEqual([picky.id, second.id]);
    await finish(worker, plain.id);
    const more = await submitRequiring(space, ["gpu"]);
    expect(await waitingReasons(space, more.id)).toEqual([
      undefined,
      "Every worker with gpu is busy.",
    ]);
    await submit(space.name);
    const every = "Every worker is busy.";
    expect(await waitingReasons(space, more.id)).toEqual([every, every]);
  });

  it("is that the worker drains, or has lost its connection and may come back", async () => {
    const space = await makeSpace({ offline: "queue" });
    const worker = await connectNamed(space, "one");
    const running = await submit(space.name);
    expect(await nextJobId(worker)).toBe(running.id);
    worker.send({ type: "drain", reason: "update" });
    const viewer = await TestSocket.open(`/api/spaces/${space.name}/ws`);
    const draining = "The worker is finishing its jobs and takes no new ones.";
    expect(await viewer.next((frame) => frame.worker === "draining")).toMatchObject({
      waiting_reason: draining,
    });
    const { id } = await submit(space.name);
    expect(await waitingReasons(space, id)).toEqual([draining, draining]);
    worker.close(4000);
    await viewer.next((frame) => frame.worker === "reconnecting");
    const away = "The worker lost its connection and may come back.";
    expect(await waitingReasons(space, id)).toEqual([away, away]);
  });

  it("is sent to the job's followers, and is null once the job runs", async () => {
    const space = await makeSpace({ offline: "queue" });
    const { id } = await submitRequiring(space, ["gpu"]);
    const viewer = await TestSocket.open(`/ws/${id}`);
    expect(await viewer.next("progress")).toMatchObject({ message: "No worker is connected." });
    const worker = await connectNamed(space, "one", { capabilities: ["gpu"] });
    expect(await nextJobId(worker)).toBe(id);
    expect(await viewer.next("progress")).toMatchObject({ status: "processing", message: null });
  });
});

describe("a space with several workers", () => {
  const TWO: Partial<SpaceSettings> = { max_workers: 2, offline: "queue" };

  it("gives each job to the worker with the smallest share of busy slots (W33)", async () => {
    const space = await makeSpace(TWO);
    const [small, large] = [
      await connectNamed(space, "small", { concurrency: 2 }),
      await connectNamed(space, "large", { concurrency: 4 }),
    ];
    const jobs: string[] = [];
    for (let n = 0; n < 6; n += 1) jobs.push((await submit(space.name)).id);
    const got = async (worker: TestSocket, count: number) => {
      const ids: string[] = [];
      while (ids.length < count) ids.push(await nextJobId(worker));
      return ids.map((id) => jobs.indexOf(id));
    };
    // Both are idle: small gets 0. Small is half busy: large gets 1 and 2. Both are half busy: small gets 3.
    expect(await got(small, 2)).toEqual([0, 3]);
    expect(await got(large, 4)).toEqual([1, 2, 4, 5]);
    expect(await submit(space.name)).toMatchObject({ status: "queued", queue_position: 1 });
  });

  it("prefers the free worker whose machine reported the lower load last (W33a, W33b)", async () => {
    const space = await makeSpace(TWO);
    const [workerOne, workerTwo] = [
      await connectNamed(space, "one"),
      await connectNamed(space, "two"),
    ];
    await reportLoad(workerOne, 0.9);
    await reportLoad(workerTwo, 0.3);
    const first = await submit(space.name);
    expect(await nextJobId(workerTwo)).toBe(first.id);
    await finish(workerTwo, first.id);
    await reportLoad(workerOne, 0.1);
    const second = await submit(space.name);
    expect(await nextJobId(workerOne)).toBe(second.id);
    // Only the loaded worker is free, so it gets the job.
    await reportLoad(workerTwo, 1);
    const third = await submit(space.name);
    expect(await nextJobId(workerTwo)).toBe(third.id);
  });

  it("gives no job to a worker that drains (W28)", async () => {
    const space = await makeSpace(TWO);
    const [workerOne, workerTwo] = [
      await connectNamed(space, "one"),
      await connectNamed(space, "two"),
    ];
    workerOne.send({ type: "drain" });
    await reportLoad(workerOne, 0);
    const first = await submit(space.name);
    expect(await nextJobId(workerTwo)).toBe(first.id);
    expect(await submit(space.name)).toMatchObject({ status: "queued" });
  });
});
