import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { Coalescer, type OutgoingEvent, type Weight } from "../../src/channel/coalesce.ts";

interface Event {
  offset: number;
  weight: Weight;
}
interface Told extends OutgoingEvent<Event> {
  at: number;
}

const INTERVAL_MS = 50;

/** Events with the time that passed before each; the last of them may be the channel's last. */
const histories = fc
  .tuple(
    fc.array(fc.record({ wait: fc.nat(120), kept: fc.boolean() }), { maxLength: 60 }),
    fc.boolean(),
  )
  .map(([steps, ends]) =>
    steps.map(({ wait, kept }, index) => {
      const isLast = ends && index === steps.length - 1;
      const weight: Weight = isLast ? "last" : kept ? "kept" : "state";
      return { wait, event: { offset: index + 1, weight } };
    }),
  );

/** Runs a history with a timer that rings exactly when it is due. */
function play(steps: { wait: number; event: Event }[]): { told: Told[]; offeredAt: number[] } {
  const coalescer = new Coalescer<Event>(INTERVAL_MS);
  const told: Told[] = [];
  const offeredAt: number[] = [];
  let now = 1_000;
  const tell = (passed: OutgoingEvent<Event>[], at: number) => {
    told.push(...passed.map((one) => ({ ...one, at })));
  };
  const ringUntil = (limit: number) => {
    for (let due = coalescer.dueAt; due !== null && due <= limit; due = coalescer.dueAt) {
      tell(coalescer.release(due), due);
    }
  };
  for (const { wait, event } of steps) {
    ringUntil(now + wait);
    now += wait;
    offeredAt.push(now);
    tell(coalescer.offer(event, event.weight, now), now);
  }
  ringUntil(Number.POSITIVE_INFINITY);
  return { told, offeredAt };
}

function always(holds: (told: Told[], offered: Event[], offeredAt: number[]) => void): void {
  fc.assert(
    fc.property(histories, (steps) => {
      const { told, offeredAt } = play(steps);
      holds(
        told,
        steps.map(({ event }) => event),
        offeredAt,
      );
    }),
    { numRuns: 500 },
  );
}

describe("coalesced events", () => {
  it("go out in order, and each says how many just before it were left out", () => {
    always((told) => {
      let last = 0;
      for (const { event, skipped } of told) {
        expect(event.offset).toBe(last + 1 + skipped);
        last = event.offset;
      }
    });
  });

  it("leave out states only: every piece and the last event go out", () => {
    always((told, offered) => {
      const sent = new Set(told.map(({ event }) => event.offset));
      for (const { offset, weight } of offered) {
        if (weight !== "state") expect(sent).toContain(offset);
      }
    });
  });

  it("end with the newest: nothing is held for good", () => {
    always((told, offered) => {
      expect(told.at(-1)?.event.offset).toBe(offered.at(-1)?.offset);
    });
  });

  it("have one state an interval at most", () => {
    always((told) => {
      const states = told.filter(({ event }) => event.weight === "state");
      for (const [index, { at }] of states.entries()) {
        const before = states[index - 1];
        if (before) expect(at - before.at).toBeGreaterThanOrEqual(INTERVAL_MS);
      }
    });
  });

  it("wait for an interval at most, the last of all for nothing", () => {
    always((told, _offered, offeredAt) => {
      for (const { event, at } of told) {
        const waited = at - (offeredAt[event.offset - 1] ?? 0);
        expect(waited).toBeLessThanOrEqual(event.weight === "last" ? 0 : INTERVAL_MS);
      }
    });
  });

  it("that are rare enough all go out at once", () => {
    const steps = Array.from({ length: 5 }, (_, index) => ({
      wait: INTERVAL_MS,
      event: { offset: index + 1, weight: "state" as const },
    }));
    const { told, offeredAt } = play(steps);
    expect(told.map(({ at }) => at)).toEqual(offeredAt);
    expect(told.every(({ skipped }) => skipped === 0)).toBe(true);
  });
});

describe("what is known while a state is held", () => {
  it("is up to where all went out, from which a log can go on after memory was lost", () => {
    fc.assert(
      fc.property(histories, (steps) => {
        const coalescer = new Coalescer<Event>(INTERVAL_MS);
        let now = 0;
        let last = 0;
        for (const { wait, event } of steps) {
          now += wait;
          for (const one of coalescer.offer(event, event.weight, now)) last = one.event.offset;
          if (coalescer.sentTo === null) expect(last).toBe(event.offset);
          else expect(coalescer.sentTo).toBe(last);
        }
      }),
    );
  });

  it("does not hold longer where the clock was set back", () => {
    const coalescer = new Coalescer<Event>(INTERVAL_MS);
    const state = (offset: number): Event => ({ offset, weight: "state" });
    coalescer.offer(state(1), "state", 1_000_000);
    expect(coalescer.offer(state(2), "state", 10)).toEqual([]);
    expect(coalescer.dueAt).toBe(10 + INTERVAL_MS);
  });
});
