import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { AckWindow } from "../../src/channel/ack-window.ts";
import { FLOW_WINDOW_BYTES } from "../../src/channel/flow.ts";

const ROOMS = ["a", "b", "c"];
const room = fc.nat(ROOMS.length - 1).map((index) => ROOMS[index] ?? "a");

type Step =
  | { do: "send"; room: string; sizes: number[] }
  | { do: "ack" | "forget"; room: string; back: number };

const step: fc.Arbitrary<Step> = fc.oneof(
  fc.record({
    do: fc.constant("send" as const),
    room,
    sizes: fc.array(fc.integer({ min: 1, max: 300_000 }), { maxLength: 6 }),
  }),
  fc.record({ do: fc.constantFrom("ack" as const, "forget" as const), room, back: fc.nat(5) }),
);

function eventsOf(first: number, sizes: readonly number[]) {
  return sizes.map((size, index) => ({ offset: first + index, text: "x".repeat(size) }));
}

describe("the bytes that a socket of many rooms has not acknowledged", () => {
  it("are counted over all rooms, and the socket is cut off exactly when they exceed the window (R15a)", () => {
    fc.assert(
      fc.property(fc.array(step, { maxLength: 40 }), (steps) => {
        const ackWindow = new AckWindow<object>();
        const socket = {};
        const unacknowledged = new Map(
          ROOMS.map((name) => [name, [] as { offset: number; size: number }[]]),
        );
        const last = new Map<string, number>();
        const total = () =>
          [...unacknowledged.values()].flat().reduce((bytes, { size }) => bytes + size, 0);
        for (const step of steps) {
          const before = last.get(step.room) ?? 0;
          const mine = unacknowledged.get(step.room) ?? [];
          if (step.do === "send") {
            const events = eventsOf(before + 1, step.sizes);
            const admitted = ackWindow.admit(socket, step.room, events);
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
            ackWindow.onAck(socket, step.room, offset);
            unacknowledged.set(
              step.room,
              mine.filter((event) => event.offset > offset),
            );
          } else {
            ackWindow.forget(socket, step.room);
            unacknowledged.set(step.room, []);
          }
        }
      }),
    );
  });

  it("are counted for each socket separately", () => {
    const ackWindow = new AckWindow<object>();
    const events = eventsOf(1, [FLOW_WINDOW_BYTES, 1, 1]);
    expect(ackWindow.admit({}, "a", events)).toHaveLength(2);
    expect(ackWindow.admit({}, "a", events)).toHaveLength(2);
  });

  it("are not reduced by an acknowledgement of another room, or of a room that it doesn't follow", () => {
    const ackWindow = new AckWindow<object>();
    const socket = {};
    ackWindow.admit(socket, "a", eventsOf(1, [FLOW_WINDOW_BYTES, 1]));
    ackWindow.onAck(socket, "b", 9);
    expect(ackWindow.admit(socket, "b", eventsOf(1, [1]))).toEqual([]);
    ackWindow.onAck(socket, "a", 1);
    expect(ackWindow.admit(socket, "b", eventsOf(1, [1]))).toHaveLength(1);
  });
});
