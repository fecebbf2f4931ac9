import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { migrateTo } from "../../src/storage/schema.ts";
import { CHANNEL_LOG_TABLE, type LogLimits, SegmentLog } from "../../src/storage/segment-log.ts";
import type { Sql } from "../../src/storage/sql.ts";
import type { WithSql } from "./with-sql.ts";

interface TestEvent {
  offset: number;
  at: number;
  text: string;
}

const CHANNEL = "events";

/** Batches of events, each with the time that passed before it. */
const batches = fc.array(
  fc.record({
    later: fc.nat(40),
    sizes: fc.array(fc.nat(60), { minLength: 1, maxLength: 6 }),
  }),
  { minLength: 1, maxLength: 25 },
);
const limits: fc.Arbitrary<LogLimits> = fc.record(
  {
    bytes: fc.integer({ min: 200, max: 3_000 }),
    events: fc.integer({ min: 1, max: 40 }),
    ageMs: fc.integer({ min: 1, max: 200 }),
  },
  { requiredKeys: ["bytes"] },
);

function logOf(sql: Sql, bounds: LogLimits): SegmentLog<TestEvent, number> {
  return new SegmentLog(sql, bounds, (kept, dropped) => (kept ?? 0) + dropped.length);
}

/** Checks that the log has the end of all events that were stored; returns the events that it still has. */
function expectTail(log: SegmentLog<TestEvent, number>, all: readonly TestEvent[]): TestEvent[] {
  const { first, last } = log.storedRange(CHANNEL);
  expect(last).toBe(all.length);
  const kept = log.after(CHANNEL, 0);
  expect(kept).toEqual(all.slice(first - 1));
  expect(log.remembered(CHANNEL) ?? 0).toBe(first - 1);
  for (const offset of [0, first - 1, first, last - 1, last]) {
    const after = all.filter((event) => event.offset > Math.max(offset, first - 1));
    expect(log.after(CHANNEL, offset)).toEqual(after);
    expect(log.after(CHANNEL, offset, 2)).toEqual(after.slice(0, 2));
    expect(log.firstAfter(CHANNEL, offset, Number.MAX_SAFE_INTEGER)).toEqual(after);
    const some = log.firstAfter(CHANNEL, offset, 100);
    expect(some).toEqual(after.slice(0, some.length));
    expect(some.length > 0).toBe(after.length > 0);
    expect(log.bytesAfter(CHANNEL, offset) > 0).toBe(after.length > 0);
  }
  return kept;
}

export function segmentLogContract(withSql: WithSql): void {
  const withLog = (
    bounds: LogLimits,
    work: (log: SegmentLog<TestEvent, number>, sql: Sql) => void,
  ) =>
    withSql((sql) => {
      migrateTo(sql, [[CHANNEL_LOG_TABLE]]);
      work(logOf(sql, bounds), sql);
    });

  describe("the log of a channel", () => {
    it("has the latest of all events that were stored, and stays within its limits", () =>
      fc.assert(
        fc.asyncProperty(batches, limits, (given, bounds) =>
          withLog(bounds, (log, sql) => {
            const all: TestEvent[] = [];
            let at = 1_000;
            for (const { later, sizes } of given) {
              at += later;
              const batch = sizes.map((size, index) => {
                return { offset: all.length + index + 1, at, text: "x".repeat(size) };
              });
              all.push(...batch);
              log.append(CHANNEL, batch);
              log.append("another", [{ offset: all.length, at, text: "" }]);
              // A second log on the same rows, as after the memory was lost, has the same content.
              const kept = expectTail(logOf(sql, bounds), all);
              const older = kept.slice(0, kept.length - batch.length);
              const bytes = JSON.stringify(kept).length;
              if (older.length > 0) {
                expect(bytes).toBeLessThanOrEqual(bounds.bytes + older.length + batch.length + 2);
                expect(older.every((event) => event.at > at - (bounds.ageMs ?? at))).toBe(true);
              }
            }
          }),
        ),
        { numRuns: 150 },
      ));

    it("drops all events that are too old, and offsets go on from there", () =>
      withLog({ bytes: 1_000, ageMs: 100 }, (log) => {
        log.append(CHANNEL, [{ offset: 1, at: 1_000, text: "a" }]);
        log.append(CHANNEL, [{ offset: 2, at: 1_050, text: "b" }]);
        expect(log.expiresAt(CHANNEL)).toBe(1_100);
        log.expire(CHANNEL, 1_100);
        expect(log.storedRange(CHANNEL)).toEqual({ first: 2, last: 2 });
        log.expire(CHANNEL, 1_150);
        expect(log.storedRange(CHANNEL)).toEqual({ first: 3, last: 2 });
        expect([log.after(CHANNEL, 0), log.expiresAt(CHANNEL)]).toEqual([[], null]);
        log.append(CHANNEL, [{ offset: 3, at: 1_200, text: "c" }]);
        expect(log.storedRange(CHANNEL)).toEqual({ first: 3, last: 3 });
      }));

    it("keeps about as many events as it may, and drops those that were stored together as a whole", () =>
      withLog({ bytes: 100_000, events: 10 }, (log) => {
        for (let first = 1; first <= 28; first += 4) {
          const offsets = [first, first + 1, first + 2, first + 3];
          log.append(
            CHANNEL,
            offsets.map((offset) => ({ offset, at: 1, text: "" })),
          );
        }
        expect(log.storedRange(CHANNEL)).toEqual({ first: 17, last: 28 });
      }));
  });
}
