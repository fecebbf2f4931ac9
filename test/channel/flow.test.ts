import fc from "fast-check";
import { describe, expect, it } from "vitest";
import {
  afterAck,
  afterSending,
  FLOW_WINDOW_BYTES,
  type Flow,
  isBehind,
  isSlow,
  NOTHING_SENT,
} from "../../src/channel/flow.ts";

/** Frames of these sizes, the first of offset 1. */
function sending(sizes: readonly number[], from: Flow = NOTHING_SENT): Flow {
  return sizes.reduce((flow, bytes, index) => afterSending(flow, index + 1, bytes), from);
}

const sizes = fc.array(fc.integer({ min: 1, max: 400_000 }), { maxLength: 300 });

function sum(numbers: readonly number[]): number {
  return numbers.reduce((total, number) => total + number, 0);
}

describe("a subscriber that acknowledges", () => {
  it("is slow beyond 64 KiB that are not acknowledged, and cut off beyond 1 MiB (S18a, S18b)", () => {
    const open = (bytes: number) => ({ sent: 7 + bytes, acked: 7, marks: [] });
    expect([isSlow(open(65_536)), isSlow(open(65_537))]).toEqual([false, true]);
    expect([isBehind(open(1_048_576)), isBehind(open(1_048_577))]).toEqual([false, true]);
  });

  it("is behind exactly when more than the window is not acknowledged (S18b)", () => {
    fc.assert(
      fc.property(sizes, (sent) => {
        expect(isBehind(sending(sent))).toBe(sum(sent) > FLOW_WINDOW_BYTES);
      }),
    );
  });

  it("may always be sent one more frame when it has acknowledged all, however large that is", () => {
    expect(isBehind(NOTHING_SENT)).toBe(false);
    const large = sending([2 * FLOW_WINDOW_BYTES]);
    expect(isBehind(large)).toBe(true);
    expect(isBehind(afterAck(large, 1))).toBe(false);
  });

  it("is not behind once it has acknowledged everything, even if it acknowledged twice or out of order before (S18)", () => {
    fc.assert(
      fc.property(sizes, fc.array(fc.nat(400)), (sent, acks) => {
        const flow = acks.reduce(afterAck, sending(sent));
        expect(flow.acked).toBeLessThanOrEqual(flow.sent);
        const whole = afterAck(flow, sent.length);
        expect(whole.acked).toBe(sum(sent));
        expect(whole.marks).toEqual([]);
      }),
    );
  });

  it("is never credited with more than it acknowledged, and the credit only grows", () => {
    fc.assert(
      fc.property(sizes, fc.array(fc.nat(300)), (sent, acks) => {
        let flow = sending(sent);
        let highest = 0;
        for (const offset of acks) {
          const { acked } = flow;
          flow = afterAck(flow, offset);
          highest = Math.max(highest, offset);
          expect(flow.acked).toBeGreaterThanOrEqual(acked);
          expect(flow.acked).toBeLessThanOrEqual(sum(sent.slice(0, highest)));
        }
      }),
    );
  });

  it("that acknowledges every frame is counted to the byte", () => {
    const flow = sending([10, 20, 30]);
    expect(afterAck(flow, 2)).toMatchObject({ sent: 60, acked: 30 });
    expect(afterAck(flow, 0)).toEqual(flow);
  });

  it("that acknowledges the newest frame has acknowledged all, however many there are", () => {
    for (let count = 1; count <= 300; count += 1) {
      const flow = sending(Array(count).fill(10));
      expect(flow.marks.length).toBeLessThanOrEqual(64);
      expect(afterAck(flow, count)).toEqual({ sent: 10 * count, acked: 10 * count, marks: [] });
      // Of many frames only some offsets are known: an acknowledgement counts up to the one before.
      const acked = afterAck(flow, count - 1).acked / 10;
      expect(count - 1 - acked).toBeLessThanOrEqual(Math.ceil(count / 32));
    }
  });

  it("is counted frame by frame up to 64 frames", () => {
    const flow = sending(Array(64).fill(10));
    for (let offset = 0; offset <= 64; offset += 1) {
      expect(afterAck(flow, offset).acked).toBe(10 * offset);
    }
  });

  it("needs little space, however much it is sent", () => {
    const flow = sending(Array(10_000).fill(1));
    expect(flow.marks.length).toBeLessThanOrEqual(64);
    expect(JSON.stringify(flow).length).toBeLessThan(4_096);
  });
});
