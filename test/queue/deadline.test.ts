import { describe, expect, it } from "vitest";
import { attemptDeadline, dueAt, exceededLimit, limitsOf } from "../../src/queue/deadline.ts";
import type { Job, ProcessingJob, QueuedJob } from "../../src/queue/job.ts";
import { applied, PROGRESS, queuedJob, runningJob, TICK } from "./example.ts";
import { START } from "./steps.ts";

function openJob(job: Job): QueuedJob | ProcessingJob {
  if (job.status === "queued" || job.status === "processing") return job;
  throw new Error(`the job is ${job.status}`);
}

describe("a limit that runs out", () => {
  it("in the queue fails the job, and says how long it could wait and what to change", () => {
    const { job } = applied(queuedJob({ queueTimeoutS: 30 }), TICK, 30);
    expect(job).toMatchObject({
      status: "failed",
      error: {
        code: "expired",
        message:
          "No worker took the job within 30 s (queue_timeout_s). Raise the limit, or add workers.",
      },
      worker: null,
      generation: null,
    });
  });

  it("before the first output fails the job, and says so (W23)", () => {
    const { job, effects } = applied(runningJob({ firstOutputTimeoutS: 20 }), TICK, 20);
    const message =
      "The worker sent nothing about the job within 20 s (first_output_timeout_s). " +
      "Raise the limit in the space's settings if the model needs longer.";
    expect(job).toMatchObject({ status: "failed", error: { code: "timeout", message } });
    expect(effects).toMatchObject([{ type: "send_cancel", reason: message }]);
  });

  it("between two frames fails the job, and says so (W23)", () => {
    const reported = applied(
      runningJob({ firstOutputTimeoutS: 20, stallTimeoutS: 7.5 }),
      PROGRESS,
      10,
    ).job;
    expect(dueAt(openJob(reported))).toBe(START + 17_500);
    const { job, effects } = applied(reported, TICK, 17.5);
    const message =
      "The worker sent nothing more about the job within 7.5 s (stall_timeout_s). " +
      "Raise the limit in the space's settings if the model needs longer.";
    expect(job).toMatchObject({ status: "failed", error: { code: "timeout", message } });
    expect(effects).toMatchObject([{ type: "send_cancel", reason: message }]);
  });

  it("for the whole attempt fails the job, and says so, however many frames came (W15)", () => {
    const reported = applied(runningJob({ jobTimeoutS: 60 }), PROGRESS, 59.9).job;
    const { job, effects } = applied(reported, TICK, 60);
    const message =
      "The attempt did not end within 60 s (job_timeout_s). " +
      "Raise the limit in the space's settings if the model needs longer.";
    expect(job).toMatchObject({ status: "failed", error: { code: "timeout", message } });
    expect(effects).toMatchObject([{ type: "send_cancel", reason: message }]);
  });

  it("while the worker is gone queues the job again, and the history says why (W24a)", () => {
    const gone = applied(runningJob({ reconnectGraceS: 15 }), { type: "detach" }, 1).job;
    const { job } = applied(gone, TICK, 16);
    expect(job.status).toBe("queued");
    expect(job.history.at(-1)?.message).toBe("The worker was gone for 15 s (reconnect_grace_s).");
  });

  it("is the earliest one, if several have run out before anything checks", () => {
    const job = runningJob({ jobTimeoutS: 60, firstOutputTimeoutS: 20 });
    expect(exceededLimit(job, START + 300_000)?.message).toContain("first_output_timeout_s");
  });
});

describe("the deadline of a job", () => {
  it("doesn't exist while it waits without a limit", () => {
    expect(dueAt(queuedJob())).toBeNull();
    expect(limitsOf(queuedJob())).toEqual([]);
  });

  it("is the earliest of all its limits", () => {
    expect(dueAt(queuedJob({ queueTimeoutS: 30 }))).toBe(START + 30_000);
    const limits = { jobTimeoutS: 60, firstOutputTimeoutS: 20, stallTimeoutS: 5 };
    const dispatched = runningJob(limits);
    expect(dueAt(dispatched)).toBe(START + 20_000);
    const reported = applied(dispatched, PROGRESS, 58).job;
    expect(dueAt(openJob(reported))).toBe(START + 60_000);
  });

  it("starts again in the queue when an attempt was taken back", () => {
    const { job } = applied(
      runningJob({ queueTimeoutS: 30 }),
      { type: "lose", reason: "It left." },
      100,
    );
    expect(dueAt(openJob(job))).toBe(START + 130_000);
  });

  it("is the end of the grace while the worker is gone, whatever its silence (W24, W29b)", () => {
    const limits = { firstOutputTimeoutS: 2, stallTimeoutS: 2, reconnectGraceS: 15 };
    const gone = applied(runningJob(limits), { type: "detach" }, 1).job;
    expect(dueAt(openJob(gone))).toBe(START + 16_000);
  });

  it("has passed as soon as a worker drops if there is no grace", () => {
    const gone = applied(runningJob({ reconnectGraceS: 0 }), { type: "detach" }, 1).job;
    expect(dueAt(openJob(gone))).toBe(START + 1_000);
  });

  it("is ten seconds after its cancel if no limit comes first (W23a)", () => {
    const canceled = (jobTimeoutS: number) =>
      openJob(applied(runningJob({ jobTimeoutS }), { type: "cancel", reason: "No." }, 3).job);
    expect(dueAt(canceled(60))).toBe(START + 13_000);
    expect(dueAt(canceled(8))).toBe(START + 8_000);
  });

  it("in the `job` frame is that of the whole attempt (W15)", () => {
    expect(attemptDeadline(runningJob({ jobTimeoutS: 60, stallTimeoutS: 5 }))).toBe(START + 60_000);
  });
});
