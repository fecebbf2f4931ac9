import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { isEnded, type Job } from "../../src/queue/job.ts";
import {
  boundDays,
  busyDays,
  type Checks,
  days,
  expectAllStored,
  liveThrough,
  SpaceModel,
} from "./space-model.ts";
import { firstInFirstOut, takingTurns } from "./turns.ts";

/** Checks any histories; `checksOf` makes fresh checks for each of them. */
function always(checksOf: () => Checks): void {
  const anyDay = fc.property(days, (day) => liveThrough(new SpaceModel(), day, checksOf()));
  fc.assert(anyDay, { numRuns: 100 });
}

function ulids(jobs: Job[]): string[] {
  return jobs.map(({ ulid }) => ulid);
}

describe("the jobs of a space, whatever happens", () => {
  it("run in the order of priority, then of rounds, then of submit, including those that were queued again", () => {
    always(() => ({
      dispatched: (_, jobs, _line, due) => expect(ulids(jobs)).toEqual(ulids(due)),
    }));
  });

  it("run as soon as a worker has a place and their user may have more running, and then only (Q3, W32a)", () => {
    const anyDay = fc.property(boundDays, (day) =>
      liveThrough(new SpaceModel(), day, {
        dispatched: (_, jobs, _line, due) => expect(ulids(jobs)).toEqual(ulids(due)),
      }),
    );
    fc.assert(anyDay, { numRuns: 100 });
  });

  it("of one user run in the order of submits, as far as the same workers can take them (Q1a)", () => {
    always(() => ({ dispatched: firstInFirstOut }));
  });

  it("wait for few jobs of any other user, however many those have submitted (Q1)", () => {
    always(takingTurns);
    const anyDay = fc.property(busyDays, (day) =>
      liveThrough(new SpaceModel(), day, takingTurns()),
    );
    fc.assert(anyDay, { numRuns: 30 });
  });

  it("never run on more slots than their worker has, and no new one runs on a draining worker (W11, W28)", () => {
    always(() => ({
      dispatched: (space, jobs) => {
        for (const { generation, slots, busy, draining } of space.serving()) {
          expect(busy).toBeLessThanOrEqual(slots);
          if (draining) expect(jobs.map((job) => job.generation)).not.toContain(generation);
        }
      },
    }));
  });

  it("have ids that sort in the order of submits, even after the memory was lost", () => {
    always(() => ({
      over: ({ submitted }) => {
        expect(submitted.toSorted()).toEqual(submitted);
        expect(new Set(submitted).size).toBe(submitted.length);
      },
    }));
  });

  it("know their place in the queue, and are counted, even while new ones are deferred", () => {
    const inLine = (space: SpaceModel) => {
      const line = space.line();
      const places = line.map((job) => space.work.queue.position(job));
      expect(places).toEqual(line.map((_, index) => index + 1));
      expect(space.work.queue.size).toBe(line.length);
    };
    always(() => ({ stored: inLine }));
  });

  it("are deferred, and lost with the memory while they are, in many of these histories", () => {
    let deferred = 0;
    let deferredInPart = 0;
    let lost = 0;
    for (const day of fc.sample(days, { numRuns: 300, seed: 20_261_121 })) {
      const space = new SpaceModel();
      let accepted = 0;
      liveThrough(space, day, {
        dispatched: () => {
          if (space.submitted.length < accepted) lost += 1;
          accepted = space.submitted.length;
        },
        stored: ({ work }, changes) => {
          if (work.deferredSince === null) return;
          deferred += 1;
          if (changes.length > 0) deferredInPart += 1;
        },
      });
    }
    expect(deferred).toBeGreaterThan(50);
    expect(deferredInPart).toBeGreaterThan(20);
    expect(lost).toBeGreaterThan(5);
  });

  it("are the same in the store as in memory after every batch", () => {
    always(() => ({
      stored: (space) => {
        expect(space.jobs().length).toBe(space.submitted.length);
        expectAllStored(space);
      },
    }));
  });

  it("never change once they have ended", () => {
    always(() => {
      const ended = new Map<string, Job>();
      return {
        stored: (space) => {
          for (const job of space.jobs().filter(isEnded)) {
            expect(job).toEqual(ended.get(job.ulid) ?? job);
            ended.set(job.ulid, job);
          }
        },
      };
    });
  });

  it("all end by time alone if no worker ever comes", () => {
    always(() => ({
      over: (space) => {
        for (const worker of [0, 1]) space.perform({ type: "drop", worker });
        for (let pass = 0; pass < 3; pass += 1) {
          space.perform({ type: "pass", seconds: 60 });
          space.save(false);
        }
        expect(space.jobs().filter((job) => !isEnded(job))).toEqual([]);
      },
    }));
  });
});
