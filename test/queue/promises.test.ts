import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { dueAt } from "../../src/queue/deadline.ts";
import { isEnded, type Job } from "../../src/queue/job.ts";
import { type Command, type Fence, submitted, transition } from "../../src/queue/transition.ts";
import { lives, type Moment, newJobs, play, START, type Step } from "./steps.ts";

/** Holds `check` against every moment of any life of any job. */
function always(check: (moment: Moment) => void, numRuns = 200): void {
  fc.assert(
    fc.property(newJobs, lives, (job, steps) => {
      for (const moment of play(job, steps)) check(moment);
    }),
    { numRuns },
  );
}

/** A job of any life, with the moments it is made of. */
function everyLife(check: (moments: Moment[]) => void, numRuns = 200): void {
  fc.assert(
    fc.property(newJobs, lives, (job, steps) => check([...play(job, steps)])),
    { numRuns },
  );
}

function fenceOf(command: Command): Fence | null {
  return "fence" in command ? command.fence : null;
}

/** By the protocol's words: whether a frame speaks of what is no longer, or never was. */
function isLate(job: Job, command: Command): boolean {
  const fence = fenceOf(command);
  if (fence === null) return false;
  if (job.status === "queued" || fence.attempt !== job.attempts) return true;
  if (fence.workerId !== job.worker?.id) return true;
  if (job.status === "processing") {
    const { generation } = fence;
    return command.type === "resume" ? generation < job.generation : generation !== job.generation;
  }
  const toldEnd = job.status === "completed" ? "result" : "fail";
  return command.type !== toldEnd;
}

describe("a job, whatever happens to it", () => {
  it("has one end, which never changes", () => {
    always(({ before, outcome }) => {
      if (isEnded(before)) expect(outcome.kind).not.toBe("applied");
    });
  });

  it("tells its end once, last in its history", () => {
    always(({ after }) => {
      const ends = after.history.filter(
        ({ status }) => status !== "queued" && status !== "processing",
      );
      expect(ends.length).toBe(isEnded(after) ? 1 : 0);
      expect(after.history.at(-1)?.status).toBe(after.status);
    });
  });

  it("answers frames of another attempt, worker or generation with stale, and no others", () => {
    always(({ before, command, outcome }) => {
      expect(outcome.kind === "stale").toBe(isLate(before, command));
    });
  });

  it("acknowledges the end it knows again, and only to the worker and attempt that told it", () => {
    always(({ before, command, outcome }) => {
      if (!isEnded(before) || fenceOf(command) === null || outcome.kind === "stale") return;
      expect(outcome).toEqual({
        kind: "unchanged",
        effects: [{ type: "ack", of: command.type }],
      });
    });
  });

  it("acknowledges every result, failure and refusal of the running attempt", () => {
    always(({ before, command, outcome }) => {
      if (before.status !== "processing" || isLate(before, command)) return;
      const { type } = command;
      const effects = outcome.kind === "stale" ? [] : outcome.effects;
      const acks = effects.filter((effect) => effect.type === "ack");
      const told = type === "result" || type === "fail" || type === "reject";
      expect(acks).toEqual(told ? [{ type: "ack", of: type }] : []);
    });
  });

  it("gives its changes and events offsets from 1, in order and without a gap", () => {
    everyLife((moments) => {
      const last = moments.at(-1)?.after;
      if (!last) return;
      const logged = moments.flatMap(({ outcome }) =>
        outcome.kind === "applied" ? outcome.log.map(({ offset }) => offset) : [],
      );
      const changes = last.history.map(({ offset }) => offset);
      const offsets = [...changes, ...logged].sort((a, b) => a - b);
      expect(offsets).toEqual(Array.from({ length: last.offset }, (_, index) => index + 1));
      expect([...changes].sort((a, b) => a - b)).toEqual(changes);
    });
  });

  it("only ever adds to its history", () => {
    always(({ before, after }) => {
      expect(after.history.slice(0, before.history.length)).toEqual(before.history);
    });
  });

  it("counts an attempt at its dispatch and nowhere else, and never more than are allowed", () => {
    always(({ before, command, outcome, after }) => {
      const dispatched = command.type === "dispatch" && outcome.kind === "applied";
      expect(after.attempts).toBe(before.attempts + (dispatched ? 1 : 0));
      expect(after.attempts).toBeLessThanOrEqual(after.limits.maxAttempts);
    });
  });

  it("is dispatched only while it waits: two attempts never run at once", () => {
    always(({ before, command, outcome }) => {
      if (command.type !== "dispatch") return;
      expect(outcome.kind).toBe(before.status === "queued" ? "applied" : "unchanged");
    });
  });

  it("keeps what its submitter said, and when it first began", () => {
    always(({ before, after }) => {
      const { ulid, priority, input, files, user, limits, submitter, createdAt } = before;
      const given = { ulid, priority, input, files, user, limits, submitter, createdAt };
      expect(after).toMatchObject(given);
      if (before.startedAt !== null) expect(after.startedAt).toBe(before.startedAt);
    });
  });

  it("starts every attempt with a clean slate", () => {
    always(({ command, outcome, after }) => {
      if (command.type !== "dispatch" || outcome.kind !== "applied") return;
      expect(after).toMatchObject({
        status: "processing",
        worker: command.worker,
        generation: command.generation,
        detachedAt: null,
        cancel: null,
        live: { progress: 0, message: null, outputs: 0, lastFrameAt: null },
      });
    });
  });

  it("counts the outputs of its attempt, so that a worker that returns sends none twice", () => {
    everyLife((moments) => {
      let outputs = 0;
      for (const { command, outcome, after } of moments) {
        if (outcome.kind !== "applied") continue;
        if (command.type === "dispatch") outputs = 0;
        if (command.type === "output") outputs += 1;
        if (after.status === "processing") expect(after.live.outputs).toBe(outputs);
      }
    });
  });
});

describe("a job's limits", () => {
  it("leave it as it is on every tick before the deadline", () => {
    always(({ before, command, now, outcome }) => {
      if (command.type !== "tick" || isEnded(before)) return;
      const due = dueAt(before);
      expect(outcome.kind).toBe(due !== null && due <= now ? "applied" : "unchanged");
    });
  });

  it("are never over after a tick", () => {
    always(({ command, now, after }) => {
      if (command.type !== "tick" || isEnded(after)) return;
      expect(dueAt(after) ?? Number.POSITIVE_INFINITY).toBeGreaterThan(now);
    });
  });

  it("end the attempt, or put the job back in the queue, when they run out", () => {
    always(({ before, command, outcome, after }) => {
      if (command.type !== "tick" || outcome.kind !== "applied") return;
      if (before.status === "processing") expect(after.status).not.toBe("processing");
      else expect(after).toMatchObject({ status: "failed", error: { code: "expired" } });
    });
  });

  it("end every attempt in the end, with nobody there", () => {
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

describe("a canceled job", () => {
  it("never goes back to the queue, and ends canceled unless its result came first", () => {
    everyLife((moments) => {
      for (const { before, after } of moments) {
        if (before.status !== "processing" || before.cancel === null) continue;
        expect(["processing", "canceled", "completed"]).toContain(after.status);
        if (after.status === "canceled") expect(after.reason).toBe(before.cancel.reason);
      }
    });
  });

  it("is over at once where it waits, and told to its worker once where it runs", () => {
    always(({ before, command, outcome, after }) => {
      if (command.type !== "cancel" || isEnded(before)) return;
      if (before.status === "queued") expect(after.status).toBe("canceled");
      else {
        const told = outcome.kind === "stale" ? [] : outcome.effects;
        expect(told.length).toBe(before.cancel === null ? 1 : 0);
      }
    });
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
        ...["applied", "unchanged", "stale"],
        ...["queued", "processing", "completed", "failed", "canceled"],
        ...["timeout", "worker_lost", "worker_error", "expired", "rejected", "too_many_attempts"],
      ].sort(),
    );
  });
});
