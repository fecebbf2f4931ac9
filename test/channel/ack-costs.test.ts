import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { AckCosts } from "../../src/channel/ack-costs.ts";
import { LIMITS } from "../../src/protocol/limits.ts";

const { ackFrame } = LIMITS;

describe("an acknowledgement", () => {
  it("counts as a tenth of a frame if it goes further than the last one (S20a)", () => {
    const costs = new AckCosts<object>();
    const subscriber = {};
    expect(costs.costOf(subscriber, 0, 10)).toBe(ackFrame);
    expect(costs.costOf(subscriber, 0, 10)).toBe(1);
    expect(costs.costOf(subscriber, 7, 10)).toBe(ackFrame);
    expect(costs.costOf(subscriber, 6, 10)).toBe(1);
    expect(costs.costOf({}, 7, 10)).toBe(ackFrame);
  });

  it("counts as a frame if the subscriber was sent none for it, or doesn't have to acknowledge", () => {
    const costs = new AckCosts<object>();
    const subscriber = {};
    expect(costs.costOf(subscriber, 5, 0)).toBe(1);
    expect([1, 2, 3].map((offset) => costs.costOf(subscriber, offset, 2))).toEqual([
      ackFrame,
      ackFrame,
      1,
    ]);
    expect(costs.costOf(subscriber, 3, 3)).toBe(ackFrame);
  });

  it("is never cheap more often than frames were sent, whatever is acknowledged", () =>
    fc.assert(
      fc.property(fc.array(fc.record({ offset: fc.nat(20), isSent: fc.boolean() })), (steps) => {
        const costs = new AckCosts<object>();
        const subscriber = {};
        let sent = 0;
        let cheap = 0;
        let furthest = -1;
        for (const { offset, isSent } of steps) {
          if (isSent) sent += 1;
          const cost = costs.costOf(subscriber, offset, sent);
          const isCheap = offset > furthest && cheap < sent;
          expect(cost).toBe(isCheap ? ackFrame : 1);
          if (!isCheap) continue;
          cheap += 1;
          furthest = offset;
        }
      }),
    ));
});
