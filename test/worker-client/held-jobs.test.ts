import { setImmediate as turn } from "node:timers/promises";
import { describe, expect, test } from "vitest";
import { LIMITS } from "../../src/protocol/limits.ts";
import type { WorkerFrame } from "../../src/protocol/worker-frames.ts";
import type { Job } from "../../worker-client/job.ts";
import { Jobs } from "../../worker-client/jobs.ts";
import { NODE } from "../../worker-client/node-platform.ts";
import type { RegisteredFrame } from "../../worker-client/session.ts";
import { jobFrame, SPACE } from "../support/fake-edge.ts";

const MAX_FRAME = 1_048_576;

function refOf(n: number, attempt = 1) {
  return { job_id: `${SPACE}.01JZZZZZZZZZZZZZZZZZZZZ${String(n).padStart(3, "0")}`, attempt };
}

/** The attempts of a worker whose handlers end when the test says so; nothing is sent anywhere. */
function start({ concurrency = 1, holdsAborted = false } = {}) {
  const sent: WorkerFrame[] = [];
  const warnings: string[] = [];
  const running = new Map<string, { job: Job; end: (result: string | Error) => void }>();
  let emptied = 0;
  const jobs = new Jobs({
    platform: NODE,
    concurrency,
    handler: (job) =>
      new Promise((resolve, reject) => {
        const end = (result: string | Error) =>
          result instanceof Error ? reject(result) : resolve(result);
        if (!holdsAborted) job.signal.addEventListener("abort", () => end(job.signal.reason));
        running.set(`${job.id}#${job.attempt}`, { job, end });
      }),
    edgeUrl: "http://127.0.0.1:1",
    log: {
      debug: () => {},
      info: () => {},
      warn: (line) => void warnings.push(line),
      error: () => {},
    },
    send: (text) => void sent.push(JSON.parse(text)),
    hearEdge: async () => undefined,
    onEmpty: () => {
      emptied += 1;
    },
  });
  const one = (n: number, attempt = 1) => {
    const { job_id } = refOf(n, attempt);
    const found = running.get(`${job_id}#${attempt}`);
    if (found === undefined) throw new Error(`job ${n} doesn't run`);
    return found;
  };
  const receive = (...numbers: number[]) => {
    for (const n of numbers) jobs.onJob({ ...jobFrame(refOf(n)), inputText: null });
  };
  /** The frames that were sent since the last call, once every handler had its turn. */
  const frames = async () => {
    await turn();
    return sent.splice(0);
  };
  const end = async (n: number, result: string | Error = "done") => {
    one(n).end(result);
    return frames();
  };
  return { jobs, one, receive, frames, end, warnings, emptied: () => emptied };
}

function resume(jobs: Jobs, resumed: RegisteredFrame["resumed"], dropped = [] as number[]): void {
  const config = {
    concurrency: 1,
    job_timeout_s: 60,
    first_output_timeout_s: null,
    stall_timeout_s: null,
    reconnect_grace_s: 15,
  };
  const gone = dropped.map((n) => refOf(n));
  jobs.resume({ type: "registered", generation: 2, config, resumed, dropped: gone }, MAX_FRAME);
}

describe("the attempts that a worker holds", () => {
  test("are run once, however often their `job` frame comes; each time it is accepted (W12)", async () => {
    const { jobs, receive, frames } = start();
    receive(1, 1);
    expect(await frames()).toEqual([
      { type: "accept", ...refOf(1) },
      { type: "accept", ...refOf(1) },
    ]);
    expect(jobs.counts).toMatchObject({ received: 1, held: 1 });
  });

  test("are forgotten by the `ack` of their own end alone, and counted by it (W20)", async () => {
    const { jobs, receive, end, emptied } = start({ concurrency: 4 });
    receive(1, 2, 3);
    const ack = (n: number, of: "result" | "fail" | "reject") =>
      jobs.onAck({ type: "ack", ...refOf(n), of });
    ack(1, "result");
    expect(jobs.size).toBe(3);
    await end(1);
    await end(2, new Error("broken"));
    jobs.onCancel({ ...refOf(3), reason: "asked" });
    await turn();
    for (const of of ["fail", "reject"] as const) ack(1, of);
    ack(2, "result");
    ack(9, "result");
    expect(jobs.size).toBe(3);
    ack(1, "result");
    ack(2, "fail");
    expect(emptied()).toBe(0);
    ack(3, "fail");
    expect(emptied()).toBe(1);
    jobs.rejectNew("no more");
    receive(4);
    ack(4, "reject");
    expect(jobs.counts).toEqual({
      received: 4,
      completed: 1,
      failed: 1,
      canceled: 1,
      rejected: 1,
      stale: 0,
      held: 0,
    });
  });

  test("are sent back beyond the concurrency; an aborted one doesn't count, as it is about to end", async () => {
    const { jobs, receive, frames } = start({ concurrency: 2, holdsAborted: true });
    receive(1, 2, 3);
    expect((await frames()).at(-1)).toEqual({
      type: "reject",
      ...refOf(3),
      reason: "all slots are taken",
    });
    jobs.onCancel({ ...refOf(1), reason: "asked" });
    receive(4);
    expect(await frames()).toEqual([{ type: "accept", ...refOf(4) }]);
  });

  test("are all sent back once the worker leaves, with its first reason", async () => {
    const { jobs, receive, frames } = start();
    jobs.rejectNew("draining");
    jobs.rejectNew("another reason");
    receive(1);
    expect(await frames()).toEqual([{ type: "reject", ...refOf(1), reason: "draining" }]);
  });

  test("are listed for a new connection, running ones first, as many as the edge takes", async () => {
    const { jobs, receive, end } = start({ concurrency: LIMITS.concurrency + 5 });
    receive(1, 2, 3);
    await end(1);
    expect(jobs.resumable).toEqual([refOf(2), refOf(3), refOf(1)]);
    receive(...Array.from({ length: LIMITS.concurrency }, (_, index) => index + 4));
    expect(jobs.resumable).toHaveLength(LIMITS.concurrency);
    expect(jobs.resumable).not.toContainEqual(refOf(1));
    jobs.stop();
  });
});

describe("after a reconnect, the attempt", () => {
  test("that the edge resumed goes on, and the one that it dropped is aborted and no longer held (W25a)", async () => {
    const { jobs, receive, one, frames, end } = start({ concurrency: 2 });
    receive(1, 2);
    one(1).job.output("a");
    one(1).job.output("b");
    one(1).job.progress(10);
    one(1).job.progress(20);
    await frames();
    resume(jobs, [{ ...refOf(1), outputs: 1 }], [2]);
    expect(await frames()).toMatchObject([
      { type: "output", ...refOf(1), delta: "b" },
      { type: "progress", ...refOf(1), progress: 20 },
    ]);
    expect(one(2).job.signal.reason).toMatchObject({ why: "dropped" });
    expect(one(1).job.signal.aborted).toBe(false);
    expect(jobs.counts).toMatchObject({ held: 1, stale: 1 });
    expect(await end(1)).toMatchObject([{ type: "result", output: "done" }]);
  });

  test("that the edge doesn't mention is given up if it runs; if it has ended, its end is sent", async () => {
    const { jobs, receive, one, end, frames } = start({ concurrency: 2 });
    receive(1, 2);
    await end(1);
    resume(jobs, []);
    expect(await frames()).toMatchObject([{ type: "result", ...refOf(1) }]);
    expect(one(2).job.signal.reason).toMatchObject({ why: "dropped" });
    expect(jobs.counts).toMatchObject({ held: 1, stale: 1 });
  });

  test("that this worker doesn't hold changes nothing", async () => {
    const { jobs, frames } = start();
    resume(jobs, [{ ...refOf(7), outputs: 0 }], [8]);
    expect(await frames()).toEqual([]);
    expect(jobs.counts).toMatchObject({ held: 0, stale: 0 });
  });
});

describe("what a handler reports", () => {
  test("is not sent after its end, nor is an empty piece of output", async () => {
    const { receive, one, frames, end } = start();
    receive(1);
    const { job } = one(1);
    job.output("");
    expect(await frames()).toMatchObject([{ type: "accept" }]);
    await end(1);
    job.output("late");
    job.progress(50);
    expect(await frames()).toEqual([]);
  });

  test("has a message of 2000 characters at most, and a remaining time if it is a number (W16)", async () => {
    const { receive, one, frames } = start();
    receive(1);
    const { job } = one(1);
    job.progress(1, "m".repeat(3_000), -5);
    job.progress(2, undefined, Number.NaN);
    const [, first, second] = await frames();
    expect(first).toMatchObject({ message: "m".repeat(2_000), estimated_remaining: 0 });
    expect(second).toEqual({ type: "progress", ...refOf(1), progress: 2 });
  });
});

describe("what can't be sent", () => {
  test.each([
    ["50", '"50"'],
    [null, "null"],
    [Number.NaN, "NaN"],
    [undefined, "undefined"],
  ])("is a progress of %j: the handler is told so", (percent, shown) => {
    const { receive, one } = start();
    receive(1);
    expect(() => one(1).job.progress(percent as number)).toThrow(
      `Progress must be a number from 0 to 100, not ${shown}.`,
    );
  });

  test("is a piece of output larger than a frame: it ends the attempt, whose handler is told so and aborted", async () => {
    const { jobs, receive, one, frames } = start({ holdsAborted: true });
    receive(1);
    await frames();
    const { job } = one(1);
    expect(() => job.output({ data: "x".repeat(MAX_FRAME) })).toThrow("A piece of output makes");
    expect(await frames()).toMatchObject([{ type: "fail", ...refOf(1), retryable: false }]);
    expect(job.signal.reason).toMatchObject({ why: "failed" });
    expect(jobs.counts.held).toBe(1);
  });
});

describe("a worker that is stopped", () => {
  test("aborts all its handlers, and sends nothing of what they return then", async () => {
    const { jobs, receive, one, frames } = start({ concurrency: 2 });
    receive(1, 2);
    await frames();
    jobs.stop();
    for (const n of [1, 2]) expect(one(n).job.signal.reason).toMatchObject({ why: "stopped" });
    expect(await frames()).toEqual([]);
    expect(jobs.counts.held).toBe(2);
  });
});

describe("a cancel", () => {
  test("of an attempt that has ended changes nothing: its end is on the way (W23)", async () => {
    const { jobs, receive, end, frames } = start();
    receive(1);
    await end(1);
    jobs.onCancel({ ...refOf(1), reason: "asked" });
    expect(await frames()).toEqual([]);
    expect(jobs.size).toBe(1);
  });

  test("of an attempt that waits for an aborted one ends it at once", async () => {
    const { jobs, receive, frames } = start({ holdsAborted: true });
    receive(1);
    jobs.onCancel({ ...refOf(1), reason: "asked" });
    receive(2);
    await frames();
    jobs.onCancel({ ...refOf(2), reason: "asked" });
    expect(await frames()).toMatchObject([{ type: "fail", ...refOf(2), code: "canceled" }]);
  });
});
