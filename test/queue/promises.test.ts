import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { dueAt } from "../../src/queue/deadline.ts";
import { isEnded, type Job } from "../../src/queue/job.ts";
import { submitted, transition } from "../../src/queue/transition.ts";
import { PROMISES } from "./promises.ts";
import { lives, newJobs, play, START, type Step } from "./steps.ts";

describe("a job, whatever happens to it:", () => {
  it.each(Object.entries(PROMISES))("%s", (_, holds) => {
    const anyLife = fc.property(newJobs, lives, (job, steps) => holds([...play(job, steps)]));
    fc.assert(anyLife, { numRuns: 300 });
  });

  it("it ends by time alone, unless it waits without a limit", () => {
    fc.assert(
      fc.property(newJobs, lives, (newJob, steps) => {
        let job: Job = [...play(newJob, steps)].at(-1)?.after ?? submitted(newJob, START);
        for (let ticks = 0; ticks < 3 && !isEnded(job); ticks += 1) {
          const due = dueAt(job);
          if (due === null) break;
          const outcome = transition(job, { type: "tick" }, due);
          if (outcome.kind === "applied") job = outcome.job;
        }
        const waitsForever = job.status === "queued" && job.limits.queueTimeoutS === null;
        expect(isEnded(job) || waitsForever).toBe(true);
      }),
      { numRuns: 200 },
    );
  });
});

describe("the steps these properties are made of", () => {
  it("reach every state and every kind of failure", () => {
    const seen = new Set<string>();
    const sample = fc.sample(fc.tuple(newJobs, lives), { numRuns: 1_500, seed: 20_261_120 });
    for (const [job, steps] of sample as [Parameters<typeof play>[0], Step[]][]) {
      for (const { outcome, after } of play(job, steps)) {
        seen.add(outcome.kind).add(after.status);
        if (after.status === "failed") seen.add(after.error.code);
      }
    }
    expect([...seen].sort()).toEqual(
      [
        ...["applied", "unchanged", "stale", "no_such_file"],
        ...["queued", "processing", "completed", "failed", "canceled"],
        ...["timeout", "worker_lost", "worker_error", "expired", "rejected", "too_many_attempts"],
      ].sort(),
    );
  });
});
