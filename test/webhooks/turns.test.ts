import fc from "fast-check";
import { describe, expect, it } from "vitest";
import {
  MAX_CONCURRENT,
  nextReceiver,
  type Sending,
  SLOW_MS,
  type Standing,
  toPostpone,
  type WaitingReceiver,
} from "../../src/webhooks/turns.ts";

const STANDINGS = { good: "proven", good2: "proven", new: "unknown", new2: "unknown", bad: "slow" };

function standingOf(receiver: string): Standing {
  return (STANDINGS[receiver as keyof typeof STANDINGS] ?? "slow") as Standing;
}

const receiver = fc.constantFrom("good", "good2", "new", "new2", "bad", "bad2", "bad3", "bad4");
const waitingList: fc.Arbitrary<WaitingReceiver[]> = fc.uniqueArray(
  fc.record({ receiver, dueAt: fc.nat(1_000) }),
  { selector: (waiting) => waiting.receiver },
);

/** Fills the connections as the sender does, with messages without end. */
function fill(waiting: WaitingReceiver[], sending: Sending[]): Sending[] {
  const all = [...sending];
  for (let next = nextReceiver(waiting, all, standingOf); next !== null; ) {
    all.push({ receiver: next.receiver, since: 0 });
    next = nextReceiver(waiting, all, standingOf);
  }
  return all;
}

describe("receivers of webhooks", () => {
  it("never use more connections than there are, and slow ones never more than half of them", () => {
    fc.assert(
      fc.property(waitingList, (waiting) => {
        const sending = fill(waiting, []);
        expect(sending.length).toBeLessThanOrEqual(MAX_CONCURRENT);
        const slow = sending.filter((message) => standingOf(message.receiver) === "slow");
        expect(slow.length).toBeLessThanOrEqual(MAX_CONCURRENT / 2);
      }),
    );
  });

  it("get a connection at once when they answer at once, whatever slow ones have to get", () => {
    const slow = ["bad", "bad2", "bad3", "bad4"].map((name) => ({ receiver: name, dueAt: 0 }));
    const sending = fill(slow, []);
    const next = nextReceiver([...slow, { receiver: "good", dueAt: 99 }], sending, standingOf);
    expect(next?.receiver).toBe("good");
  });

  it("take turns: who uses fewer connections goes first, then whose message is due first", () => {
    const waiting = [
      { receiver: "good", dueAt: 1 },
      { receiver: "good2", dueAt: 2 },
    ];
    const names = fill(waiting, []).map((message) => message.receiver);
    expect(names.slice(0, 4)).toEqual(["good", "good2", "good", "good2"]);
  });

  it("that hang for a second keep half of the connections; the oldest others are postponed", () => {
    const sending = Array.from({ length: 6 }, (_, since) => ({ receiver: `r${since}`, since }));
    expect(toPostpone(sending, SLOW_MS - 1)).toEqual([]);
    expect(toPostpone(sending, SLOW_MS + 5).map(({ since }) => since)).toEqual([0, 1, 2]);
  });
});

describe("a message that hangs", () => {
  it("is postponed once it has hung for a second, not earlier, and only beyond three", () => {
    const hanging = (ms: number, count: number) =>
      Array.from({ length: count }, (_, index) => ({ receiver: `r${index}`, since: -ms - index }));
    expect(toPostpone(hanging(995, 4), 0)).toEqual([]);
    expect(toPostpone(hanging(1_000, 3), 0)).toEqual([]);
    expect(toPostpone(hanging(1_000, 4), 0)).toEqual([{ receiver: "r3", since: -1_003 }]);
  });
});
