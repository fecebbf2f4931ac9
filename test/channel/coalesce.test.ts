import fc from "fast-check";
import { describe, expect, it } from "vitest";
import {
  Coalescer,
  type OutgoingEvent,
  type Weight,
  weightOf,
  withSkipped,
} from "../../src/channel/coalesce.ts";

interface Event {
  offset: number;
  weight: Weight;
}
interface SentEvent extends OutgoingEvent<Event> {
  at: number;
}

const INTERVAL_MS = 50;

/** Events, each with the time that passed before it; the last one may be the channel's last. */
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

/** Runs a history with a timer that fires exactly when it is due. */
function play(steps: { wait: number; event: Event }[]): { sent: SentEvent[]; offeredAt: number[] } {
  const coalescer = new Coalescer<Event>(INTERVAL_MS);
  const sent: SentEvent[] = [];
  const offeredAt: number[] = [];
  let now = 1_000;
  const record = (outgoing: OutgoingEvent<Event>[], at: number) => {
    sent.push(...outgoing.map((event) => ({ ...event, at })));
  };
  const runTimersUntil = (limit: number) => {
    for (let due = coalescer.dueAt; due !== null && due <= limit; due = coalescer.dueAt) {
      record(coalescer.release(due), due);
    }
  };
  for (const { wait, event } of steps) {
    runTimersUntil(now + wait);
    now += wait;
    offeredAt.push(now);
    record(coalescer.offer(event, event.weight, now), now);
  }
  runTimersUntil(Number.POSITIVE_INFINITY);
  return { sent, offeredAt };
}

function always(holds: (sent: SentEvent[], offered: Event[], offeredAt: number[]) => void): void {
  fc.assert(
    fc.property(histories, (steps) => {
      const { sent, offeredAt } = play(steps);
      holds(
        sent,
        steps.map(({ event }) => event),
        offeredAt,
      );
    }),
    { numRuns: 500 },
  );
}

describe("coalesced events", () => {
  it("are sent in order, and each says how many just before it were left out (S17b)", () => {
    always((sent) => {
      let last = 0;
      for (const { event, skipped } of sent) {
        expect(event.offset).toBe(last + 1 + skipped);
        last = event.offset;
      }
    });
  });

  it("leave out only states: every piece and the last event are sent (S17c)", () => {
    always((sent, offered) => {
      const offsets = new Set(sent.map(({ event }) => event.offset));
      for (const { offset, weight } of offered) {
        if (weight !== "state") expect(offsets).toContain(offset);
      }
    });
  });

  it("end with the newest one: nothing is delayed forever", () => {
    always((sent, offered) => {
      expect(sent.at(-1)?.event.offset).toBe(offered.at(-1)?.offset);
    });
  });

  it("have at most one state in each interval (S17a)", () => {
    always((sent) => {
      const states = sent.filter(({ event }) => event.weight === "state");
      for (const [index, { at }] of states.entries()) {
        const before = states[index - 1];
        if (before) expect(at - before.at).toBeGreaterThanOrEqual(INTERVAL_MS);
      }
    });
  });

  it("wait for at most one interval, and the last one doesn't wait (S17c)", () => {
    always((sent, _offered, offeredAt) => {
      for (const { event, at } of sent) {
        const waited = at - (offeredAt[event.offset - 1] ?? 0);
        expect(waited).toBeLessThanOrEqual(event.weight === "last" ? 0 : INTERVAL_MS);
      }
    });
  });

  it("that are rare enough are all sent at once", () => {
    const steps = Array.from({ length: 5 }, (_, index) => ({
      wait: INTERVAL_MS,
      event: { offset: index + 1, weight: "state" as const },
    }));
    const { sent, offeredAt } = play(steps);
    expect(sent.map(({ at }) => at)).toEqual(offeredAt);
    expect(sent.every(({ skipped }) => skipped === 0)).toBe(true);
  });
});

describe("a frame before which states were left out", () => {
  it("says how many, and has all else unchanged; one that follows directly says nothing (S17b)", () => {
    const frame = { type: "output", offset: 3, delta: { text: "}" } };
    const text = JSON.stringify(frame);
    expect(withSkipped(text, 0)).toBe(text);
    for (const skipped of [1, 2, 40]) {
      expect(JSON.parse(withSkipped(text, skipped))).toEqual({ ...frame, skipped });
    }
  });
});

describe("the weight of a job's frame", () => {
  it.each([
    [{ type: "output" }, "kept"],
    [{ type: "output", status: "queued" }, "kept"],
    [{ type: "progress", status: "pending" }, "state"],
    [{ type: "progress", status: "queued" }, "state"],
    [{ type: "progress", status: "processing" }, "state"],
    [{ type: "progress", status: "completed" }, "last"],
    [{ type: "progress", status: "failed" }, "last"],
    [{ type: "progress", status: "canceled" }, "last"],
    [{ type: "progress" }, "last"],
  ] as const)(
    "of %j is `%s`: only states of a job that goes on may be left out (S17c)",
    (frame, weight) => {
      expect(weightOf(frame)).toBe(weight);
    },
  );
});

describe("a coalescer that delays a state", () => {
  it("knows the last offset that it sent, from which the log can go on after the memory was lost", () => {
    fc.assert(
      fc.property(histories, (steps) => {
        const coalescer = new Coalescer<Event>(INTERVAL_MS);
        let now = 0;
        let last = 0;
        for (const { wait, event } of steps) {
          now += wait;
          for (const outgoing of coalescer.offer(event, event.weight, now))
            last = outgoing.event.offset;
          if (coalescer.sentTo === null) expect(last).toBe(event.offset);
          else expect(coalescer.sentTo).toBe(last);
        }
      }),
    );
  });

  it("doesn't delay it longer if the clock was set back", () => {
    const coalescer = new Coalescer<Event>(INTERVAL_MS);
    const state = (offset: number): Event => ({ offset, weight: "state" });
    coalescer.offer(state(1), "state", 1_000_000);
    expect(coalescer.offer(state(2), "state", 10)).toEqual([]);
    expect(coalescer.dueAt).toBe(10 + INTERVAL_MS);
  });
});
