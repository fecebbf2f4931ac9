import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { AckWindow } from "../../src/channel/ack-window.ts";
import { FLOW_WINDOW_BYTES } from "../../src/channel/flow.ts";

const ROOMS = ["a", "b", "c"];
const room = fc.nat(ROOMS.length - 1).map((index) => ROOMS[index] ?? "a");

type Step =
  | { do: "tell"; room: string; sizes: number[] }
  | { do: "ack" | "forget"; room: string; back: number };

const step: fc.Arbitrary<Step> = fc.oneof(
  fc.record({
    do: fc.constant("tell" as const),
    room,
    sizes: fc.array(fc.integer({ min: 1, max: 300_000 }), { maxLength: 6 }),
  }),
  fc.record({ do: fc.constantFrom("ack" as const, "forget" as const), room, back: fc.nat(5) }),
);

function eventsOf(first: number, sizes: readonly number[]) {
  return sizes.map((size, index) => ({ offset: first + index, text: "x".repeat(size) }));
}

describe("what a socket of many rooms has yet to acknowledge", () => {
  it("is counted over all of them, and it is cut off exactly beyond the window", () => {
    fc.assert(
      fc.property(fc.array(step, { maxLength: 40 }), (steps) => {
        const counted = new AckWindow<object>();
        const one = {};
        const owed = new Map(ROOMS.map((name) => [name, [] as { offset: number; size: number }[]]));
        const last = new Map<string, number>();
        const total = () => [...owed.values()].flat().reduce((bytes, { size }) => bytes + size, 0);
        for (const step of steps) {
          const before = last.get(step.room) ?? 0;
          const mine = owed.get(step.room) ?? [];
          if (step.do === "tell") {
            const events = eventsOf(before + 1, step.sizes);
            const admitted = counted.admit(one, step.room, events);
            let expected = 0;
            for (const { offset, text } of events) {
              if (total() > FLOW_WINDOW_BYTES) break;
              mine.push({ offset, size: text.length });
              expected += 1;
            }
            expect(admitted).toEqual(events.slice(0, expected));
            if (expected < events.length) return;
            last.set(step.room, before + events.length);
          } else if (step.do === "ack") {
            const offset = Math.max(0, before - step.back);
            counted.onAck(one, step.room, offset);
            owed.set(
              step.room,
              mine.filter((event) => event.offset > offset),
            );
          } else {
            counted.forget(one, step.room);
            owed.set(step.room, []);
          }
        }
      }),
    );
  });

  it("is its own: another socket owes nothing", () => {
    const counted = new AckWindow<object>();
    const events = eventsOf(1, [FLOW_WINDOW_BYTES, 1, 1]);
    expect(counted.admit({}, "a", events)).toHaveLength(2);
    expect(counted.admit({}, "a", events)).toHaveLength(2);
  });

  it("is no less for an acknowledgement of another room, or of one it does not follow", () => {
    const counted = new AckWindow<object>();
    const one = {};
    counted.admit(one, "a", eventsOf(1, [FLOW_WINDOW_BYTES, 1]));
    counted.onAck(one, "b", 9);
    expect(counted.admit(one, "b", eventsOf(1, [1]))).toEqual([]);
    counted.onAck(one, "a", 1);
    expect(counted.admit(one, "b", eventsOf(1, [1]))).toHaveLength(1);
  });
});
