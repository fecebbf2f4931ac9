import fc from "fast-check";
import { describe, expect, it } from "vitest";
import {
  type AttemptReport,
  estimatedWait,
  type RunningAttempt,
  type WorkerPlaces,
} from "../../src/queue/estimated-wait.ts";

/** An attempt that ran this long, with a report if one is given. */
function attempt(ranS: number, report: Partial<AttemptReport> | null = null): RunningAttempt {
  const nothing = { agoS: 0, progress: 0, remainingS: null };
  return { ranS, report: report === null ? null : { ...nothing, ...report }, limitS: 1_000 };
}

function worker(...attempts: RunningAttempt[]): WorkerPlaces {
  return { slots: attempts.length, attempts };
}

const seconds = fc.double({ min: 0, max: 1e4, noNaN: true });
/** What a clock and a worker tell. */
const wholeMs = fc.nat(10_000_000).map((ms) => ms / 1_000);
const reports: fc.Arbitrary<AttemptReport> = fc.record({
  agoS: wholeMs,
  progress: fc.oneof(fc.integer({ min: 0, max: 100 }), fc.constant(1e-300)),
  remainingS: fc.option(wholeMs),
});
const attempts: fc.Arbitrary<RunningAttempt> = fc
  .record({
    ranS: wholeMs,
    report: fc.option(reports),
    limitS: fc.double({ min: -1, max: 1e5, noNaN: true }),
  })
  // A report came while the attempt ran.
  .map(({ ranS, report, limitS }) => ({
    ranS: ranS + (report?.agoS ?? 0),
    report,
    limitS,
  }));
const workers: fc.Arbitrary<WorkerPlaces> = fc.record({
  slots: fc.integer({ min: 1, max: 4 }),
  attempts: fc.array(attempts, { maxLength: 5 }),
});
const spaces = fc.array(workers, { maxLength: 3 });
const means = fc.option(seconds);
const counts = fc.nat(30);

function hasFreePlace(space: readonly WorkerPlaces[]): boolean {
  return space.some(({ slots, attempts }) => attempts.length < slots);
}

describe("the estimated wait", () => {
  it("is what the running attempt of the only place says is left", () => {
    expect(estimatedWait([worker(attempt(3, { remainingS: 27 }))], 0, 0.1)).toBe(27);
    expect(estimatedWait([worker(attempt(13, { remainingS: 27, agoS: 10 }))], 0, null)).toBe(17);
  });

  it("follows from the progress and the time it took, if no remaining time was reported", () => {
    expect(estimatedWait([worker(attempt(10, { progress: 25 }))], 0, null)).toBe(30);
    expect(estimatedWait([worker(attempt(16, { progress: 25, agoS: 6 }))], 0, null)).toBe(24);
  });

  it("follows from the mean run and the time that the attempt ran, if it reported nothing", () => {
    expect(estimatedWait([worker(attempt(4))], 0, 10)).toBe(6);
    expect(estimatedWait([worker(attempt(4, { progress: 0 }))], 0, 10)).toBe(6);
  });

  it("is unknown if no job has finished and none reported, and without a worker", () => {
    expect(estimatedWait([worker(attempt(4))], 0, null)).toBeNull();
    expect(estimatedWait([], 0, 10)).toBeNull();
  });

  it("counts the jobs ahead on all places, with the mean run or that of the running jobs", () => {
    const two = [worker(attempt(5), attempt(8))];
    expect([0, 1, 2, 3].map((ahead) => estimatedWait(two, ahead, 10))).toEqual([2, 5, 12, 15]);
    expect(estimatedWait([worker(attempt(3, { remainingS: 27 }))], 1, null)).toBe(57);
  });

  it("waits for more than one end of a worker that has more jobs than it may take now", () => {
    const attempts = [attempt(0, { remainingS: 5 }), attempt(0, { remainingS: 20 })];
    expect(estimatedWait([{ slots: 1, attempts }], 0, null)).toBe(20);
  });

  it("is never later than the limit of the running attempt", () => {
    const late = { ...attempt(50, { remainingS: 900 }), limitS: 7 };
    expect(estimatedWait([worker(late)], 0, null)).toBe(7);
  });

  it("grows with the delay of an attempt that has exceeded what it said", () => {
    const late = (by: number) => worker(attempt(10 + by, { remainingS: 10, agoS: 10 + by }));
    expect([1, 20, 60].map((by) => estimatedWait([late(by)], 0, 3))).toEqual([1, 10, 30]);
    expect(estimatedWait([worker(attempt(30, { progress: 100 }))], 0, 60)).toBe(1);
  });

  it("counts that delay from the latest of all that the attempt said", () => {
    // After ten seconds it said that ten more remain, and that it was a quarter done: it ends after 20 or 40.
    const said = { agoS: 40, remainingS: 10, progress: 25 };
    expect(estimatedWait([worker(attempt(50, said))], 0, null)).toBe(5);
    expect(estimatedWait([worker(attempt(30, said))], 0, null)).toBe(10);
    expect(estimatedWait([worker(attempt(15, { ...said, agoS: 5 }))], 0, null)).toBe(5);
  });

  it("of many jobs is found at once", () => {
    const many = [worker(...Array.from({ length: 1_000 }, () => attempt(1)))];
    expect(estimatedWait(many, 999_999, 2)).toBe(1 + 999 * 2);
  });

  it("is never negative, and 0 exactly if a place is free", () => {
    fc.assert(
      fc.property(spaces, counts, means, (space, ahead, mean) => {
        const wait = estimatedWait(space, ahead, mean);
        expect(wait === 0).toBe(hasFreePlace(space));
        expect(wait ?? 0).toBeGreaterThanOrEqual(0);
        expect(wait ?? 0).toBeLessThan(Number.POSITIVE_INFINITY);
      }),
    );
  });

  it("is known if a place is free, a job has finished, or a running job said how far it is", () => {
    fc.assert(
      fc.property(fc.array(workers, { minLength: 1, maxLength: 3 }), means, (space, mean) => {
        const reports = space.flatMap(({ attempts }) =>
          attempts.flatMap(({ report }) => report ?? []),
        );
        const told = reports.some(
          ({ progress, remainingS }) => progress > 0 || remainingS !== null,
        );
        const isKnown = hasFreePlace(space) || mean !== null || told;
        expect(estimatedWait(space, 0, mean) !== null).toBe(isKnown);
      }),
    );
  });

  it("never shrinks with more jobs ahead", () => {
    fc.assert(
      fc.property(spaces, counts, means, (space, ahead, mean) => {
        const wait = estimatedWait(space, ahead, mean);
        const next = estimatedWait(space, ahead + 1, mean);
        if (wait === null) expect(next).toBeNull();
        else expect(next).toBeGreaterThanOrEqual(wait);
      }),
    );
  });

  it("never grows with one more worker", () => {
    fc.assert(
      fc.property(spaces, workers, counts, seconds, (space, more, ahead, mean) => {
        const wait = estimatedWait(space, ahead, mean);
        const with_ = estimatedWait([...space, more], ahead, mean);
        if (wait !== null) expect(with_).toBeLessThanOrEqual(wait + 0.1);
      }),
    );
  });

  it("is at most what any running attempt said is left, for the job that is next", () => {
    fc.assert(
      fc.property(fc.array(attempts, { minLength: 1, maxLength: 4 }), means, (running, mean) => {
        const wait = estimatedWait([worker(...running)], 0, mean);
        for (const { report } of running) {
          const leftS = (report?.remainingS ?? 0) - (report?.agoS ?? 0);
          if (leftS >= 0.001) expect(wait).toBeLessThanOrEqual(Math.max(0.1, leftS + 1e-9));
        }
      }),
    );
  });
});
