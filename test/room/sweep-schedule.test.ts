import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { SweepSchedule } from "../../src/room/sweep-schedule.ts";

const DAY = 86_400_000;
const NOW = 1_800_000_000_000;

/** The storage of an object, as far as a sweep needs it. */
function storedIn(values: Map<string, unknown>) {
  return {
    get: (key: string) => values.get(key),
    put: (key: string, value: unknown) => void values.set(key, value),
  };
}

describe("the sweeps over an object's rooms", () => {
  it("begin a day after the first one is scheduled, and not before", () => {
    const sweeps = new SweepSchedule(storedIn(new Map()));
    expect(sweeps.dueAt(NOW)).toBe(NOW + DAY);
    expect(sweeps.dueAt(NOW + 5)).toBe(NOW + DAY);
    expect(sweeps.take(["a"], NOW + DAY - 1)).toEqual([]);
    expect(sweeps.take(["a"], NOW + DAY)).toEqual(["a"]);
    expect(sweeps.dueAt(NOW + DAY)).toBe(NOW + 2 * DAY);
  });

  it("give 600 rooms their turn once, in three parts", () => {
    const rooms = Array.from({ length: 600 }, (_, n) => `room-${String(n).padStart(3, "0")}`);
    const sweeps = new SweepSchedule(storedIn(new Map()));
    let now = sweeps.dueAt(NOW);
    const parts: string[][] = [];
    for (let part = 0; part < 3; part += 1) {
      parts.push(sweeps.take(rooms, now));
      now = sweeps.dueAt(now);
    }
    expect(parts.map(({ length }) => length)).toEqual([250, 250, 100]);
    expect(parts.flat()).toEqual(rooms);
    expect(now).toBeGreaterThan(NOW + 2 * DAY);
  });

  it("give every room its turn once, at most 250 at a time, even if memory is lost in between", () => {
    const names = fc.uniqueArray(fc.stringMatching(/^[a-z]{1,4}$/), { maxLength: 900 });
    fc.assert(
      fc.property(names, (rooms) => {
        const values = new Map<string, unknown>();
        new SweepSchedule(storedIn(values)).dueAt(NOW - DAY);
        const taken: string[] = [];
        let now = NOW;
        do {
          const turn = new SweepSchedule(storedIn(values)).take(rooms, now);
          expect(turn.length).toBeLessThanOrEqual(250);
          taken.push(...turn);
          now = new SweepSchedule(storedIn(values)).dueAt(now);
        } while (now < NOW + DAY);
        expect(taken).toEqual([...rooms].sort());
      }),
      { numRuns: 60 },
    );
  });
});
