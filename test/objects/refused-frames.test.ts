import { evictDurableObject } from "cloudflare:test";
import { describe, expect, it } from "vitest";
import { LIMITS } from "../../src/protocol/limits.ts";
import {
  connectWorker,
  type Frame,
  getJob,
  makeSpace,
  objectOf,
  submit,
  TestSocket,
} from "./support.ts";

/** A worker that runs one job of its space. */
async function startJob(settings: Parameters<typeof makeSpace>[0] = {}) {
  const space = await makeSpace(settings);
  const { socket: worker } = await connectWorker(space, { concurrency: 10 });
  const { id } = await submit(space.name);
  await worker.next("job");
  return { space, worker, id };
}

const nan = (job_id: string, attempt = 1) =>
  `{"type":"result","job_id":"${job_id}","attempt":${attempt},"output":NaN}`;

/** Shows that the connection is still open and that the worker still gets jobs. */
async function expectServing(space: { name: string }, worker: TestSocket): Promise<void> {
  const { id: job_id } = await submit(space.name);
  const { attempt } = await worker.next((frame) => frame.type === "job" && frame.job_id === job_id);
  worker.send({ type: "result", job_id, attempt, output: "fine" });
  await worker.next("ack");
  expect(await getJob(job_id)).toMatchObject({ status: "completed", result: "fine" });
}

const nested = "[".repeat(70) + "]".repeat(70);
const POLL = { timeout: 20_000 };
const TOO_LARGE = "x".repeat(LIMITS.frameBytes + 1);

describe("a frame about an attempt that the edge can't take", () => {
  it.each<[string, (ref: { job_id: string; attempt: number }) => object | string, string, string]>([
    ["isn't JSON", ({ job_id }) => nan(job_id), "malformed_frame", "NaN"],
    [
      "has metrics that are a list",
      (ref) => ({ type: "result", ...ref, output: 1, metrics: [1] }),
      "malformed_frame",
      "metrics: must be a JSON object",
    ],
    [
      "has a message that is too long",
      (ref) => ({ type: "fail", ...ref, code: "x", message: "m".repeat(9_000), retryable: true }),
      "malformed_frame",
      "8000 characters",
    ],
    [
      "is nested too deep",
      ({ job_id }) => `{"type":"output","job_id":"${job_id}","attempt":1,"delta":${nested}}`,
      "malformed_frame",
      "64 levels",
    ],
    [
      "is too large",
      (ref) => ({ type: "result", output: TOO_LARGE, ...ref }),
      "frame_too_large",
      "1048576 bytes",
    ],
    [
      "has an unknown type",
      (ref) => ({ type: "results", ...ref, output: 1 }),
      "unknown_frame",
      "must be one of",
    ],
    [
      "has a progress of 101",
      (ref) => ({ type: "progress", ...ref, progress: 101 }),
      "malformed_frame",
      "progress: must be 100 or less",
    ],
    [
      "has a progress below 0",
      (ref) => ({ type: "progress", ...ref, progress: -1 }),
      "malformed_frame",
      "progress: must be 0 or more",
    ],
    [
      "has a progress that is text",
      (ref) => ({ type: "progress", ...ref, progress: "50" }),
      "malformed_frame",
      "progress: must be a number",
    ],
    [
      "has no progress",
      (ref) => ({ type: "progress", ...ref, progress: null }),
      "malformed_frame",
      "progress: must be a number",
    ],
  ])(
    "because it %s fails that attempt for good, and the connection goes on (W16a, W30a, W30b)",
    async (_, frameOf, code, words) => {
      const { space, worker, id } = await startJob();
      const ref = { job_id: id, attempt: 1 };
      worker.send(frameOf(ref));
      expect(await worker.next("error")).toMatchObject({
        ...ref,
        code,
        refused_frames: 1,
        message: expect.stringContaining(words),
      });
      expect(await worker.next("stale")).toEqual({ type: "stale", ...ref });
      expect(await getJob(id)).toMatchObject({
        status: "failed",
        attempt: 1,
        error: { code: "worker_error", message: expect.stringContaining(words) },
      });
      await expectServing(space, worker);
    },
  );

  it("cancels a job that somebody has canceled meanwhile", async () => {
    const { space, worker, id } = await startJob();
    const viewer = await TestSocket.open(`/api/spaces/${space.name}/ws`);
    viewer.send({ type: "cancel", job_id: id });
    await worker.next("cancel");
    worker.send(nan(id));
    await worker.next("stale");
    expect(await getJob(id)).toMatchObject({ status: "canceled" });
  });

  it("changes nothing if the attempt is over, belongs to another worker or space, or never was (W30c)", async () => {
    const { space, worker, id } = await startJob({ max_workers: 2 });
    const other = await connectWorker(space, { worker_id: "worker-2" });
    const elsewhere = await startJob();
    const wrong: [TestSocket, string, number][] = [
      [other.socket, id, 1],
      [worker, id, 2],
      [worker, elsewhere.id, 1],
      [worker, `${space.name}.01JZZZZZZZZZZZZZZZZZZZZZZZ`, 1],
      [worker, "nonsense", 1],
    ];
    for (const [socket, job_id, attempt] of wrong) {
      socket.send(nan(job_id, attempt));
      const frames = await socket.until("stale");
      expect(frames.at(-1)).toEqual({ type: "stale", job_id, attempt });
      expect(frames.map(({ type }) => type)).not.toContain("error");
    }
    expect(await getJob(id)).toMatchObject({ status: "processing", attempt: 1 });
    expect(await getJob(elsewhere.id)).toMatchObject({ status: "processing", attempt: 1 });
    worker.send({ type: "result", job_id: id, attempt: 1, output: 1 });
    await worker.next("ack");
    worker.send(nan(id));
    await worker.next("stale");
    expect(await getJob(id)).toMatchObject({ status: "completed", result: 1 });
  });

  it("changes nothing if it comes over a connection that was replaced", async () => {
    const space = await makeSpace();
    const first = await connectWorker(space);
    const { id: job_id } = await submit(space.name);
    await first.socket.next("job");
    const second = await connectWorker(space, { resume: [{ job_id, attempt: 1 }] });
    expect((await first.socket.closed).code).toBe(4409);
    second.socket.send({ type: "output", job_id, attempt: 1, delta: "on" });
    second.socket.send({ type: "result", job_id, attempt: 1, output: 1 });
    await second.socket.next("ack");
    expect(await getJob(job_id)).toMatchObject({ status: "completed", output: "on" });
  });

  it("may come any number of times: all are answered and counted, also after hibernation (W30b, W30c)", async () => {
    const { space, worker, id } = await startJob();
    for (let count = 0; count < 300; count += 1) worker.send(nan(id));
    const stale: Frame[] = [];
    while (stale.length < 300) stale.push(await worker.next("stale"));
    await evictDurableObject(objectOf(space));
    const { id: job_id } = await submit(space.name);
    await worker.next("job");
    worker.send(nan(job_id));
    expect(await worker.next("error")).toMatchObject({ job_id, refused_frames: 301 });
    expect(await getJob(job_id)).toMatchObject({ status: "failed" });
    await expectServing(space, worker);
  });

  it("in a batch leaves the other frames as they are, even if the batch is no JSON (C6b, W30d)", async () => {
    const space = await makeSpace({ concurrency: 3 });
    const authorization = `Bearer ${space.token}`;
    const worker = await TestSocket.open(`/api/spaces/${space.name}/connect?batch=1`, {
      authorization,
    });
    worker.send({ type: "register", worker_id: "w", concurrency: 3 });
    await worker.next("registered");
    const jobs = [await submit(space.name), await submit(space.name), await submit(space.name)];
    const [first, second, third] = jobs.map(({ id }) => id) as [string, string, string];
    await expect.poll(async () => (await getJob(third)).status, POLL).toBe("processing");
    const result = (job_id: string) =>
      JSON.stringify({ type: "result", job_id, attempt: 1, output: 1 });
    worker.send(`{"type":"batch","frames":[${result(first)},${nan(second)},${result(third)}]}`);
    for (const [id, status] of [
      [first, "completed"],
      [second, "failed"],
      [third, "completed"],
    ] as const) {
      await expect.poll(async () => (await getJob(id)).status, POLL).toBe(status);
    }
    const next = await submit(space.name);
    await worker.next((message) => JSON.stringify(message).includes(next.id));
  });

  it("ends the connection if no attempt can be read, or before `register` (W30)", async () => {
    const { worker, id } = await startJob();
    worker.send('{"type":"result","output":NaN}');
    expect(await worker.next("error")).toMatchObject({ code: "malformed_frame" });
    expect((await worker.closed).code).toBe(4400);
    expect(await getJob(id)).toMatchObject({ status: "processing" });

    const space = await makeSpace();
    const early = await TestSocket.open(`/api/spaces/${space.name}/connect?token=${space.token}`);
    early.send(nan(`${space.name}.01JZZZZZZZZZZZZZZZZZZZZZZZ`));
    expect((await early.closed).code).toBe(4400);
  });
});
