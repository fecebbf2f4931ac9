import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { UnreadCount } from "../../src/channel/unread.ts";
import { LIMITS } from "../../src/protocol/limits.ts";

const { unreadBytes, unreadAtOnce, unreadWhenFull, readCheckEvery, forgivenPerSecond } = LIMITS;

/** Sends this much at once, in messages of 64 KiB, and looks whenever that is due. */
function send(count: UnreadCount, length: number, now: number): void {
  for (let sent = 0; sent < length; sent += 65_536) if (count.add(65_536)) count.forgive(now);
}

describe("what a client leaves unread", () => {
  it("is too much if it is never heard of", () => {
    const count = new UnreadCount(0);
    send(count, unreadBytes, 0);
    expect(count.isTooMuch(false)).toBe(false);
    // What any connection takes in that time is forgiven.
    send(count, readCheckEvery + 65_536, 1_000);
    expect(count.isTooMuch(false)).toBe(true);
  });

  it("is not too much as long as no client could have answered, up to a limit", () => {
    const count = new UnreadCount(0);
    send(count, unreadAtOnce, 0);
    expect(count.isTooMuch(false)).toBe(false);
    send(count, readCheckEvery, 0);
    expect(count.isTooMuch(false)).toBe(true);
  });

  it("is not too much for one that only pings, unless the object holds too much", () => {
    const count = new UnreadCount(0);
    for (let times = 0; times < 10; times += 1) {
      send(count, unreadBytes / 2, 0);
      count.onHeard();
    }
    expect(count.isTooMuch(false)).toBe(false);
    expect(count.isTooMuch(true)).toBe(true);
  });

  it("is only what was sent after the check that it answered last", () => {
    const count = new UnreadCount(0);
    send(count, unreadAtOnce + readCheckEvery, 0);
    count.onCheckSent("first");
    send(count, 65_536, 0);
    count.onCheckSent("second");
    count.onAnswer("of another");
    expect(count.isTooMuch(false)).toBe(true);
    count.onAnswer("first");
    expect(count.size).toBe(65_536);
    expect(count.isTooMuch(true)).toBe(false);
    count.onAnswer("second");
    count.onAnswer("second");
    expect(count.size).toBe(0);
  });

  it("is forgiven with time, so that a client that only listens gets ordinary amounts for days", () => {
    const count = new UnreadCount(0);
    for (let second = 1; second <= 100_000; second += 1) {
      if (count.add(forgivenPerSecond)) count.forgive(second * 1_000);
    }
    expect(count.isTooMuch(true)).toBe(false);
  });

  it("is never too much for one that answers each check, however fast it is sent to", () => {
    const step = fc.record({ length: fc.integer({ min: 1, max: 500_000 }), late: fc.nat(2) });
    fc.assert(
      fc.property(fc.array(step, { maxLength: 200 }), (steps) => {
        const count = new UnreadCount(0);
        let asked: string[] = [];
        let made = 0;
        for (const { length, late } of steps) {
          if (count.add(length)) {
            count.forgive(0);
            made += 1;
            asked.push(String(made));
            count.onCheckSent(String(made));
          }
          while (asked.length > late) {
            const [token = "", ...later] = asked;
            asked = later;
            count.onAnswer(token);
          }
          // Two checks may be on their way.
          expect(count.size).toBeLessThanOrEqual(3 * (readCheckEvery + 500_000));
          if (late === 0) expect(count.isTooMuch(true)).toBe(count.size > unreadWhenFull);
        }
      }),
    );
  });

  it("never falls below zero, and what was not heard is part of it", () => {
    const step = fc.oneof(
      fc.record({ add: fc.integer({ min: 0, max: 2_000_000 }) }),
      fc.record({ at: fc.nat(1_000_000) }),
      fc.constant("heard" as const),
      fc.constant("trusted" as const),
    );
    fc.assert(
      fc.property(fc.array(step), (steps) => {
        const count = new UnreadCount(0);
        for (const step of steps) {
          if (step === "heard") count.onHeard();
          else if (step === "trusted") count.onTrusted();
          else if ("add" in step) count.add(step.add);
          else count.forgive(step.at);
          expect(count.size).toBeGreaterThanOrEqual(0);
          if (count.size <= unreadWhenFull) expect(count.isTooMuch(true)).toBe(false);
        }
      }),
    );
  });
});
