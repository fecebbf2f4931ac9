import { describe, expect, it } from "vitest";
import type { Job } from "../../src/queue/job.ts";
import { type Command, transition } from "../../src/queue/transition.ts";
import { applied, dispatchOver, FENCE, PROGRESS, queuedJob, runningJob, TICK } from "./example.ts";
import { START } from "./steps.ts";

const FAIL: Command = {
  type: "fail",
  fence: FENCE,
  code: "out_of_memory",
  message: "needs 9 GB",
  retryable: false,
};
const RETRYABLE: Command = { ...FAIL, retryable: true };

describe("an attempt that fails", () => {
  it("ends the job with the worker's code and message (W18)", () => {
    expect(applied(runningJob(), FAIL).job).toMatchObject({
      status: "failed",
      error: { code: "worker_error", message: "out_of_memory: needs 9 GB" },
    });
  });

  it("does not repeat the code `worker_error` in the message (W18)", () => {
    const { job } = applied(runningJob(), { ...FAIL, code: "worker_error" });
    expect(job).toMatchObject({ error: { code: "worker_error", message: "needs 9 GB" } });
  });

  it("puts the job back in the queue if it is retryable (W19)", () => {
    const { job, effects } = applied(runningJob(), RETRYABLE, 5);
    expect(job).toMatchObject({ status: "queued", attempts: 1, queuedAt: START + 5_000 });
    expect(job.history.at(-1)?.message).toBe("out_of_memory: needs 9 GB");
    expect(effects).toEqual([{ type: "ack", of: "fail" }]);
  });

  it("fails the job after the last attempt, with the message of that attempt (W19)", () => {
    let job: Job = runningJob({ maxAttempts: 2 });
    job = applied(job, RETRYABLE).job;
    job = applied(job, dispatchOver(2)).job;
    const second = { attempt: 2, workerId: "worker-1", generation: 2 };
    job = applied(job, { type: "reject", fence: second, reason: "no room" }).job;
    expect(job).toMatchObject({
      status: "failed",
      error: {
        code: "too_many_attempts",
        message: "Gave up after 2 attempts; the last one: no room",
      },
    });
  });

  it.each([
    [RETRYABLE, "worker_error", "out_of_memory: needs 9 GB"],
    [{ type: "reject", fence: FENCE, reason: "no room" }, "rejected", "no room"],
    [{ type: "lose", reason: "It left." }, "worker_lost", "It left."],
  ] as [Command, string, string][])(
    "has its own code if only one attempt is allowed: %o",
    (command, code, message) => {
      const { job } = applied(runningJob({ maxAttempts: 1 }), command);
      expect(job).toMatchObject({ status: "failed", error: { code, message } });
    },
  );

  it("keeps the progress that it reached", () => {
    const job = applied(applied(runningJob(), PROGRESS).job, FAIL).job;
    expect(job).toMatchObject({ status: "failed", progress: 50 });
  });
});

describe("the wait of a job that is queued again", () => {
  /** Milliseconds until it may be dispatched again, each time that an attempt ends so. */
  function waitsAfter(end: (attempt: number) => Command, attempts: number): number[] {
    let job: Job = queuedJob({ maxAttempts: attempts + 1 });
    return Array.from({ length: attempts }, (_, index) => {
      const running = applied(job, dispatchOver(1)).job;
      job = applied(running, end(index + 1), 100).job;
      if (job.status !== "queued") throw new Error(`the job is ${job.status}`);
      expect(job.queuedAt).toBe(START + 100_000);
      return job.availableAt - job.queuedAt;
    });
  }

  it("doubles with every attempt that fails, up to half a minute", () => {
    const fail = (attempt: number) => ({ ...RETRYABLE, fence: { ...FENCE, attempt } });
    expect(waitsAfter(fail, 7)).toEqual([1_000, 2_000, 4_000, 8_000, 16_000, 30_000, 30_000]);
    expect(waitsAfter(fail, 40).at(-1)).toBe(30_000);
  });

  it("is a second whenever a worker sends it back, and nothing when a worker is lost", () => {
    const reject = (attempt: number): Command => {
      return { type: "reject", fence: { ...FENCE, attempt }, reason: "no room" };
    };
    expect(waitsAfter(reject, 3)).toEqual([1_000, 1_000, 1_000]);
    expect(waitsAfter(() => ({ type: "lose", reason: "It left." }), 3)).toEqual([0, 0, 0]);
  });
});

describe("a late frame", () => {
  it("of a job that was queued again is stale (W22)", () => {
    const job = applied(runningJob(), RETRYABLE).job;
    expect(transition(job, RETRYABLE, START).kind).toBe("stale");
    expect(transition(job, { type: "resume", fence: FENCE }, START).kind).toBe("stale");
  });

  it("of a replaced connection changes nothing (W22)", () => {
    const resumed = applied(applied(runningJob(), { type: "detach" }).job, {
      type: "resume",
      fence: { ...FENCE, generation: 2 },
    }).job;
    const late: Command = { type: "result", fence: FENCE, output: "late", metrics: null };
    expect(transition(resumed, late, START).kind).toBe("stale");
    expect(resumed).toMatchObject({ generation: 2, detachedAt: null, attempts: 1 });
  });

  it("is stale as well if it comes over a newer connection that has not resumed the attempt (W22)", () => {
    const fence = { ...FENCE, generation: 2 };
    const result = { type: "result", fence, output: 1, metrics: null } as const;
    for (const command of [{ ...PROGRESS, fence }, { ...RETRYABLE, fence }, result]) {
      expect(transition(runningJob(), command, START).kind).toBe("stale");
    }
    expect(transition(runningJob(), { type: "resume", fence }, START).kind).toBe("applied");
    const before = { ...FENCE, generation: 0 };
    expect(transition(runningJob(), { type: "resume", fence: before }, START).kind).toBe("stale");
  });

  it("that reports another end than the stored one is stale (W22)", () => {
    const failed = applied(runningJob(), FAIL).job;
    const result: Command = { type: "result", fence: FENCE, output: 1, metrics: null };
    expect(transition(failed, result, START).kind).toBe("stale");
    const completed = applied(runningJob(), result).job;
    expect(transition(completed, FAIL, START).kind).toBe("stale");
  });

  it("that repeats the end is acknowledged, even over a newer connection (W20b)", () => {
    const failed = applied(runningJob(), FAIL).job;
    const again = { ...FAIL, fence: { ...FENCE, generation: 9 } };
    expect(transition(failed, again, START)).toEqual({
      kind: "unchanged",
      effects: [{ type: "ack", of: "fail" }],
    });
  });
});

describe("a cancel", () => {
  const CANCEL: Command = { type: "cancel", reason: "Not needed." };

  it("of a running job is sent to its worker, whose `fail` confirms it (W23, W23a)", () => {
    const asked = applied(runningJob(), CANCEL);
    expect(asked.job.status).toBe("processing");
    expect(asked.effects).toEqual([
      {
        type: "send_cancel",
        worker: { id: "worker-1", name: "One" },
        attempt: 1,
        reason: "Not needed.",
      },
    ]);
    const confirmed = applied(asked.job, { ...FAIL, code: "canceled", retryable: true }).job;
    expect(confirmed).toMatchObject({ status: "canceled", reason: "Not needed." });
  });

  it.each([
    { type: "reject", fence: FENCE, reason: "no" },
    { type: "lose", reason: "gone" },
  ] as Command[])("is confirmed by any other end of the attempt: $type (W23a)", (command) => {
    const { job } = applied(applied(runningJob(), CANCEL).job, command);
    expect(job).toMatchObject({ status: "canceled", reason: "Not needed." });
  });

  it("doesn't prevent a result that still comes (W23a)", () => {
    const asked = applied(runningJob(), CANCEL).job;
    const result: Command = { type: "result", fence: FENCE, output: 1, metrics: null };
    expect(applied(asked, result).job).toMatchObject({ status: "completed", result: 1 });
  });

  it("takes effect after ten seconds if the worker doesn't answer (W23a)", () => {
    const asked = applied(runningJob(), CANCEL, 1).job;
    expect(transition(asked, TICK, START + 10_999).kind).toBe("unchanged");
    expect(applied(asked, TICK, 11).job.status).toBe("canceled");
  });

  it("takes effect at once if a limit of the attempt runs out first", () => {
    const asked = applied(runningJob({ jobTimeoutS: 5 }), CANCEL, 1).job;
    const { job, effects } = applied(asked, TICK, 5);
    expect(job).toMatchObject({ status: "canceled", reason: "Not needed." });
    expect(effects).toMatchObject([{ type: "send_cancel", attempt: 1 }]);
  });
});

describe("a worker that drops", () => {
  it("has its job queued again after the grace, and is sent no cancel (W24a)", () => {
    const gone = applied(runningJob(), { type: "detach" }, 10).job;
    const { job, effects } = applied(gone, TICK, 25);
    expect(job).toMatchObject({ status: "queued", attempts: 1 });
    expect(effects).toEqual([]);
  });

  it("starts its grace once, however often the lost socket is noticed", () => {
    const gone = applied(runningJob(), { type: "detach" }, 10).job;
    expect(transition(gone, { type: "detach" }, START + 20_000).kind).toBe("unchanged");
  });

  it("goes on with its attempt when it comes back, and its absence doesn't count as silence (W29b)", () => {
    const stalling = applied(runningJob({ stallTimeoutS: 10 }), PROGRESS).job;
    const gone = applied(stalling, { type: "detach" }, 5).job;
    expect(transition(gone, TICK, START + 12_000).kind).toBe("unchanged");
    const fence = { ...FENCE, generation: 2 };
    const back = applied(gone, { type: "resume", fence }, 14).job;
    expect(transition(back, TICK, START + 23_999).kind).toBe("unchanged");
    expect(applied(back, TICK, 24).job).toMatchObject({ error: { code: "timeout" } });
  });
});

describe("what an attempt reports", () => {
  it("are the next events of the job's log, with the time and the attempt (C14)", () => {
    const output: Command = { type: "output", fence: FENCE, delta: "a" };
    const running = runningJob();
    const first = transition(running, PROGRESS, START + 1);
    if (first.kind !== "applied") throw new Error(first.kind);
    const second = transition(first.job, output, START + 2);
    const at = (ms: number) => ({ at: START + ms, attempt: 1, offset: running.offset + ms });
    expect(first.log).toEqual([
      { kind: "progress", ...at(1), progress: 50, message: null, estimatedRemaining: null },
    ]);
    expect(second).toMatchObject({
      kind: "applied",
      log: [{ kind: "output", ...at(2), delta: "a" }],
      job: {
        offset: running.offset + 2,
        updatedAt: START + 2,
        live: { progress: 50, outputs: 1, lastFrameAt: START + 2, reportedAt: START + 1 },
      },
    });
  });
});

describe("the place of a queued job", () => {
  it("is an event of its log, not a change of status", () => {
    const outcome = transition(queuedJob(), { type: "position", position: 3 }, START + 1);
    expect(outcome).toMatchObject({
      kind: "applied",
      job: { offset: 2, history: [{ offset: 1 }] },
      log: [{ kind: "position", offset: 2, at: START + 1, position: 3 }],
    });
  });
});
