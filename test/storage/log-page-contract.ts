import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { type PageOrder, pageRange, readPage } from "../../src/channel/log-page.ts";
import type { Position } from "../../src/channel/position.ts";
import { migrateTo } from "../../src/storage/schema.ts";
import { CHANNEL_LOG_TABLE, SegmentLog } from "../../src/storage/segment-log.ts";
import type { Sql, SqlRow } from "../../src/storage/sql.ts";
import type { WithSql } from "./with-sql.ts";

interface NumberedEvent {
  offset: number;
  at: number;
  kind: number;
}

interface PageAt {
  since?: Position | null;
  before?: Position | null;
  order: PageOrder;
  limit: number;
  /** Only events of this kind. */
  kind?: number | null;
}

const CHANNEL = "events";

function positionOf(offset: number): Position {
  return { epoch: "e", offset };
}

/** A log that is read page by page while it grows and its oldest events are dropped. */
class PagedLog {
  last = 0;
  private readonly log: SegmentLog<NumberedEvent>;
  /** The same log with a limit of age, by which its oldest events are dropped. */
  private readonly aging: SegmentLog<NumberedEvent>;

  constructor(sql: Sql) {
    migrateTo(sql, [[CHANNEL_LOG_TABLE]]);
    this.log = new SegmentLog(sql, { bytes: 1_000_000 });
    this.aging = new SegmentLog(sql, { bytes: 1_000_000, ageMs: 1 });
  }

  get first(): number {
    return this.log.storedRange(CHANNEL).first;
  }

  /** Stores events together. Their time is the offset of the last of them. */
  append(count: number): void {
    const before = this.last;
    this.last += count;
    const events = Array.from({ length: count }, (_, index) => {
      const offset = before + index + 1;
      return { offset, at: this.last, kind: offset % 3 };
    });
    this.log.append(CHANNEL, events);
    this.log.append("another", events);
  }

  /** Drops the events up to this offset, except those that were stored together with later ones. */
  trim(offset: number): void {
    this.aging.expire(CHANNEL, offset + 1);
  }

  page({ since = null, before = null, order, limit, kind = null }: PageAt) {
    const bounds = { epoch: "e", ...this.log.storedRange(CHANNEL) };
    const range = pageRange(since, before, bounds);
    const wants = kind === null ? null : (event: NumberedEvent) => event.kind === kind;
    const between = (first: number, last: number) => this.log.between(CHANNEL, first, last);
    const page = readPage(range, { order, limit, wants }, between);
    const offsets = page.events.map(({ offset }) => offset);
    return { ...page, offsets, recovered: range.recovered };
  }

  /** The offsets that are stored and have the kind, in order. */
  stored(kind: number | null): number[] {
    const { first, last } = this;
    const offsets = Array.from({ length: last - first + 1 }, (_, index) => first + index);
    return offsets.filter((offset) => kind === null || offset % 3 === kind);
  }
}

/** What happens to the log between two pages. */
const change = fc.record({
  appended: fc.array(fc.integer({ min: 1, max: 5 }), { maxLength: 3 }),
  /** The share of the stored events that is dropped. */
  dropped: fc.oneof(fc.constant(0), fc.double({ min: 0, max: 1, noNaN: true })),
  limit: fc.integer({ min: 1, max: 7 }),
});
const changes = fc.array(change, { minLength: 1, maxLength: 12 });
const kinds = fc.option(fc.nat(2));

function apply(log: PagedLog, { appended, dropped }: { appended: number[]; dropped: number }) {
  for (const count of appended) log.append(count);
  log.trim(log.first - 1 + Math.floor(dropped * (log.last - log.first + 1)));
}

export function logPageContract(withSql: WithSql): void {
  const withLog = (work: (log: PagedLog) => void) => withSql((sql) => work(new PagedLog(sql)));

  describe("the pages of a log that changes between them", () => {
    it("have each event once from the newest to the oldest that is left, and none that came later", () =>
      fc.assert(
        fc.asyncProperty(changes, kinds, (given, kind) =>
          withLog((log) => {
            log.append(5);
            const newest = log.stored(kind).reverse();
            const seen: number[] = [];
            let before: Position | null = null;
            for (const step of [...given, ...given]) {
              const expected = log
                .stored(kind)
                .filter((offset) => before === null || offset < before.offset)
                .reverse();
              const { limit } = step;
              const page = log.page({ before, order: "desc", limit, kind });
              expect(page.offsets).toEqual(expected.slice(0, limit));
              expect(page.more).toBe(expected.length > limit);
              seen.push(...page.offsets);
              before = positionOf(page.end);
              apply(log, step);
            }
            expect(seen).toEqual(newest.slice(0, seen.length));
          }),
        ),
        { numRuns: 100 },
      ));

    it("have each event once from the oldest to the newest, those that come meanwhile too", () =>
      fc.assert(
        fc.asyncProperty(changes, kinds, (given, kind) =>
          withLog((log) => {
            log.append(3);
            let since: Position | null = positionOf(0);
            for (const step of [...given, ...given]) {
              const from: number = since?.offset ?? 0;
              const expected = log.stored(kind).filter((offset) => offset > from);
              const { limit } = step;
              const page = log.page({ since, order: "asc", limit, kind });
              expect(page.offsets).toEqual(expected.slice(0, limit));
              expect(page.more).toBe(expected.length > limit);
              // A page after a hole says that it is one.
              expect(page.recovered).toBe(from + 1 >= log.first);
              since = positionOf(page.end);
              apply(log, step);
            }
          }),
        ),
        { numRuns: 100 },
      ));

    it("can be read back from where reading forwards ended, and forwards again", () =>
      withLog((log) => {
        log.append(4);
        log.append(4);
        const forwards = log.page({ since: positionOf(2), order: "asc", limit: 3 });
        expect([forwards.offsets, forwards.end]).toEqual([[3, 4, 5], 5]);
        const back = log.page({ before: positionOf(forwards.end), order: "desc", limit: 2 });
        expect([back.offsets, back.end]).toEqual([[4, 3], 3]);
        const again = log.page({ since: positionOf(back.end), order: "asc", limit: 2 });
        expect(again.offsets).toEqual([4, 5]);
      }));

    it("keep between two positions, from either end", () =>
      withLog((log) => {
        log.append(9);
        const range = { since: positionOf(2), before: positionOf(8), limit: 3 };
        const [first, last] = [
          log.page({ ...range, order: "asc" }),
          log.page({ ...range, order: "desc" }),
        ];
        expect([first.offsets, first.more]).toEqual([[3, 4, 5], true]);
        expect([last.offsets, last.more]).toEqual([[7, 6, 5], true]);
        const none = log.page({
          since: positionOf(5),
          before: positionOf(4),
          order: "asc",
          limit: 3,
        });
        expect([none.offsets, none.more]).toEqual([[], false]);
      }));

    it("read only the rows that have the page's events, at either end", () =>
      withSql((sql) => {
        const read: number[] = [];
        const counting: Sql = {
          run: (query, ...bindings) => sql.run(query, ...bindings),
          transaction: (work) => sql.transaction(work),
          all: <R extends SqlRow>(query: string, ...bindings: (string | number | null)[]) => {
            const rows = sql.all<R>(query, ...bindings);
            read.push(rows.filter((row) => "events" in row).length);
            return rows;
          },
        };
        const log = new PagedLog(counting);
        for (let n = 0; n < 50; n += 1) log.append(4);
        for (const at of [{ since: positionOf(0) }, { before: positionOf(200) }, {}]) {
          for (const order of ["asc", "desc"] as const) {
            read.length = 0;
            expect(log.page({ ...at, order, limit: 4 }).events).toHaveLength(4);
            expect(read.reduce((sum, rows) => sum + rows)).toBeLessThanOrEqual(3);
          }
        }
      }));
  });
}
