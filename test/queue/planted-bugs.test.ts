import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { isEnded, type Job } from "../../src/queue/job.ts";
import { type Command, type Outcome, transition } from "../../src/queue/transition.ts";
import type { ServingWorker } from "../../src/space/jobs/unit-of-work.ts";
import { JobStore, type Standing } from "../../src/storage/job-store.ts";
import { PROMISES } from "./promises.ts";
import {
  boundDays,
  busyDays,
  type Checks,
  type Day,
  days,
  expectAllStored,
  liveThrough,
  SpaceModel,
} from "./space-model.ts";
import { lives, newJobs, play } from "./steps.ts";
import { takingTurns } from "./turns.ts";

/** Thousands of histories, the same ones in every run. */
const MANY = { numRuns: 3_000, seed: 20_261_121, endOnFailure: true };

type Machine = typeof transition;

/** Whether any history reveals that this machine breaks a promise. */
function isFoundOut(machine: Machine): boolean {
  const everyPromise = fc.property(newJobs, lives, (job, steps) => {
    const moments = [...play(job, steps, machine)];
    for (const holds of Object.values(PROMISES)) holds(moments);
  });
  return fc.check(everyPromise, MANY).failed;
}

/** The real machine, with a bug: `plant` returns the outcome, and calls `right` for the correct one. */
function planted(
  plant: (job: Job, command: Command, right: () => Outcome, now: number) => Outcome,
): Machine {
  return (job, command, now) => plant(job, command, () => transition(job, command, now), now);
}

const STALE: Outcome = { kind: "stale" };

const BUGS: Record<string, Machine> = {
  "2: a second result replaces the first": planted((job, command, right) => {
    if (job.status !== "completed" || command.type !== "result") return right();
    return { kind: "applied", job: { ...job, result: command.output }, log: [], effects: [] };
  }),
  "2: a canceled job fails later": planted((job, command, right) => {
    if (job.status !== "canceled" || command.type !== "tick") return right();
    const error = { code: "timeout", message: "" } as const;
    return { kind: "applied", job: { ...job, status: "failed", error }, log: [], effects: [] };
  }),
  "3: a frame of an older attempt counts": planted((job, command, right, now) => {
    if (!("fence" in command)) return right();
    const fence = { ...command.fence, attempt: Math.max(1, job.attempts) };
    return transition(job, { ...command, fence }, now);
  }),
  "3: a frame of an older generation counts": planted((job, command, right, now) => {
    if (!("fence" in command) || job.status !== "processing") return right();
    const fence = { ...command.fence, generation: job.generation };
    return transition(job, { ...command, fence }, now);
  }),
  "3: a running job is dispatched again": planted((job, command, right, now) => {
    if (command.type !== "dispatch" || job.status !== "processing") return right();
    const lost = transition(job, { type: "lose", reason: "" }, now);
    return lost.kind === "applied" ? transition(lost.job, command, now) : right();
  }),
  "4: a result is acknowledged and forgotten": planted((_job, command, right) => {
    const outcome = right();
    if (command.type !== "result" || outcome.kind !== "applied") return outcome;
    return { kind: "unchanged", effects: outcome.effects };
  }),
  "4: a repeated result is not acknowledged": planted((job, command, right) =>
    isEnded(job) && command.type === "result" ? STALE : right(),
  ),
  "6: the number of attempts is not limited": planted((job, command, right, now) => {
    if (command.type !== "lose" && command.type !== "tick") return right();
    const limits = { ...job.limits, maxAttempts: 1_000 };
    const outcome = transition({ ...job, limits }, command, now);
    if (outcome.kind !== "applied") return outcome;
    return { ...outcome, job: { ...outcome.job, limits: job.limits } };
  }),
  "6: a worker that comes back in time has lost its attempt": planted((_job, command, right) =>
    command.type === "resume" ? STALE : right(),
  ),
  "7: a dropped worker cancels the job": planted((job, command, right, now) => {
    if (command.type !== "detach" || job.status !== "processing") return right();
    const { limits: _l, live: _v, ...rest } = job;
    const canceled = transition({ ...job, ...rest }, { type: "cancel", reason: "gone" }, now);
    return canceled.kind === "applied" ? canceled : right();
  }),
  "9: time in which the edge was away counts": planted((job, command, right, now) =>
    command.type === "detach" ? transition(job, { type: "detach" }, now) : right(),
  ),
  "an event gets the offset of another": planted((_job, command, right) => {
    const outcome = right();
    if (command.type !== "output" || outcome.kind !== "applied") return outcome;
    return { ...outcome, job: { ...outcome.job, offset: outcome.job.offset - 1 } };
  }),
  "a limit that has run out has no effect": planted((job, command, right) =>
    command.type === "tick" && job.status === "processing"
      ? { kind: "unchanged", effects: [] }
      : right(),
  ),
};

/** A store that doesn't write the changes of a running job. */
class Forgetful extends JobStore {
  override update(job: Job, before: Job): boolean {
    return job.status === "processing" || super.update(job, before);
  }
}

/** A store that returns the newest job first. */
class LastInFirstOut extends JobStore {
  override head(requires: readonly string[], now: number, count: number): Standing[] {
    return super.head(requires, now, 1_000).reverse().slice(0, count);
  }
}

function isStoreFoundOut(Store: typeof JobStore, checks: Checks): boolean {
  const anyDay = fc.property(days, (day) => liveThrough(new SpaceModel(Store), day, checks));
  return fc.check(anyDay, { ...MANY, numRuns: 500 }).failed;
}

const DURABLE: Checks = {
  stored: expectAllStored,
};
const IN_ORDER: Checks = {
  dispatched: (_, jobs, _line, due) => {
    expect(jobs.map(({ ulid }) => ulid)).toEqual(due.map(({ ulid }) => ulid));
  },
};

/** A store that hides the first row, when jobs are searched that need not let others pass. */
class Shortsighted extends JobStore {
  override inLine(...search: Parameters<JobStore["inLine"]>): Standing[] {
    return super.inLine(...search).slice(1);
  }
}

/** A space in which everybody waits for all who came before. */
class FirstComeFirstServed extends SpaceModel {
  override dispatch(workers: ServingWorker[]) {
    this.work.queue.rounds.next = () => 1;
    return super.dispatch(workers);
  }
}

/** A space in which the last who came is always ahead. */
class NewcomersFirst extends SpaceModel {
  private readonly given = new Map<string | null, number>();

  override dispatch(workers: ServingWorker[]) {
    this.work.queue.rounds.next = (_, party) => {
      const round = (this.given.get(party) ?? 0) + 1;
      this.given.set(party, round);
      return round;
    };
    return super.dispatch(workers);
  }
}

/** A space that forgets how many jobs of a user may run. */
class Boundless extends SpaceModel {
  override dispatch(workers: ServingWorker[]) {
    return this.work.dispatch(workers, this.now, null).dispatched;
  }
}

function isSpaceFoundOut(
  Space: typeof SpaceModel,
  checksOf: () => Checks,
  ofDays: fc.Arbitrary<Day>,
): boolean {
  const anyDay = fc.property(ofDays, (day) => liveThrough(new Space(), day, checksOf()));
  return fc.check(anyDay, { ...MANY, numRuns: 150, endOnFailure: true }).failed;
}

describe("a planted bug is found", () => {
  it.each(Object.entries(BUGS))("when it breaks promise %s", (_, machine) => {
    expect(isFoundOut(machine)).toBe(true);
  });

  it("when it breaks promise 1: a change is not stored", () => {
    expect(isStoreFoundOut(Forgetful, DURABLE)).toBe(true);
  });

  it("when it breaks promise 5: the newest job goes first", () => {
    expect(isStoreFoundOut(LastInFirstOut, IN_ORDER)).toBe(true);
  });

  it.each([
    ["everybody waits for all who came before", FirstComeFirstServed],
    ["newcomers are always ahead", NewcomersFirst],
  ])("when users don't take turns: %s", (_, Space) => {
    expect(isSpaceFoundOut(Space, takingTurns, busyDays)).toBe(true);
  });

  it("when more jobs of a user run than may", () => {
    expect(isSpaceFoundOut(Boundless, () => IN_ORDER, boundDays)).toBe(true);
  });

  it("when a job of another user isn't found behind those that have to wait", () => {
    const space = () => new SpaceModel(Shortsighted);
    const anyDay = fc.property(boundDays, (day) => liveThrough(space(), day, IN_ORDER));
    expect(fc.check(anyDay, { ...MANY, numRuns: 500 }).failed).toBe(true);
  });
});

describe("without a planted bug", () => {
  it.each([
    ["every promise about a job", () => isFoundOut(transition)],
    ["promise 1", () => isStoreFoundOut(JobStore, DURABLE)],
    ["promise 5", () => isStoreFoundOut(JobStore, IN_ORDER)],
    ["the turns of users", () => isSpaceFoundOut(SpaceModel, takingTurns, busyDays)],
    [
      "how many jobs of a user may run",
      () => isSpaceFoundOut(SpaceModel, () => IN_ORDER, boundDays),
    ],
  ])(
    "thousands of histories keep %s",
    (_, isBroken) => {
      expect(isBroken()).toBe(false);
    },
    120_000,
  );
});
