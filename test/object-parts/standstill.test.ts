import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { LATE_MS, StandstillWatch } from "../../src/objects/standstill.ts";

/** A watch whose timer the test lets go off. */
function watchAt(now: number) {
  let timer: { at: number; run: (now: number) => void } | null = null;
  let late = 0;
  let isNeeded = true;
  let clock = now;
  const watch = new StandstillWatch({
    isNeeded: () => isNeeded,
    startTimer: (ms, onTimer) => {
      timer = { at: clock + ms, run: onTimer };
      return () => {
        timer = null;
      };
    },
    onLate: () => {
      late += 1;
    },
  });
  watch.update(clock);
  return {
    watch,
    get late() {
      return late;
    },
    get isWatching() {
      return timer !== null;
    },
    rest: () => {
      isNeeded = false;
    },
    /** Time passes as it does while the edge runs. */
    pass(ms: number) {
      const end = clock + ms;
      for (let due = timer; due !== null && due.at <= end; due = timer) {
        clock = Math.max(clock, due.at);
        timer = null;
        due.run(clock);
      }
      clock = end;
      return clock;
    },
    /** Time passes while the edge stands still; then it looks, or else its timer goes off. */
    standStill(ms: number) {
      clock += ms;
      return clock;
    },
    goOff() {
      const due = timer;
      timer = null;
      due?.run(clock);
    },
  };
}

describe("the watch over the clock", () => {
  it("notices every standstill, and reports no less time than it took (W24d)", () => {
    const acts = fc.array(
      fc.record({ runs: fc.nat(90_000), stands: fc.integer({ min: LATE_MS + 1_001, max: 1e9 }) }),
    );
    fc.assert(
      fc.property(acts, fc.boolean(), (given, timerFirst) => {
        const clock = watchAt(1_000);
        for (const { runs, stands } of given) {
          expect(clock.watch.look(clock.pass(runs))).toBe(0);
          const now = clock.standStill(stands);
          const before = clock.late;
          if (timerFirst) clock.goOff();
          expect(clock.late - before).toBe(timerFirst ? 1 : 0);
          const away = clock.watch.look(now);
          expect(away).toBeGreaterThanOrEqual(stands);
          expect(away).toBeLessThanOrEqual(stands + 1_000);
          expect(clock.watch.look(now)).toBe(0);
        }
      }),
    );
  });

  it("takes a busy moment for none", () => {
    const clock = watchAt(1_000);
    clock.pass(10_000);
    expect(clock.watch.look(clock.standStill(LATE_MS))).toBe(0);
    clock.goOff();
    expect(clock.late).toBe(0);
  });

  it("has no timer while nobody's time counts, and then notices nothing", () => {
    const clock = watchAt(1_000);
    clock.rest();
    clock.pass(2_000);
    expect(clock.isWatching).toBe(false);
    expect(clock.watch.look(clock.standStill(1e6))).toBe(0);
  });
});
