import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { type LogPage, type PageOrder, pageRange, readPage } from "../../src/channel/log-page.ts";

/** A log of which events 11 to 20 are left. */
const LOG = { epoch: "now", first: 11, last: 20 };

function at(offset: number, epoch = "now") {
  return { epoch, offset };
}

describe("the range of a page", () => {
  it("is everything that is left if no position is named (R18)", () => {
    expect(pageRange(null, null, LOG)).toEqual({ after: 10, before: 21, recovered: false });
  });

  it("lies between the positions (R18, R18a)", () => {
    expect(pageRange(at(12), at(15), LOG)).toEqual({ after: 12, before: 15, recovered: true });
    expect(pageRange(null, at(15), LOG)).toEqual({ after: 10, before: 15, recovered: true });
  });

  it("begins with the oldest event if those after `since` are gone, and says so (R18d)", () => {
    for (const since of [at(9), at(21), at(15, "earlier")]) {
      expect(pageRange(since, null, LOG)).toEqual({ after: 10, before: 21, recovered: false });
    }
    expect(pageRange(at(10), null, LOG)).toMatchObject({ after: 10, recovered: true });
  });

  it("is empty if `before` is of an earlier life of the room: all its events came later (R18d)", () => {
    const { after, before, recovered } = pageRange(null, at(15, "earlier"), LOG);
    expect([before - after, recovered]).toEqual([1, false]);
  });

  it("is empty if the events before `before` are gone, and says so unless there never were any (R18d)", () => {
    for (const gone of [2, 8]) {
      expect(pageRange(null, at(gone), LOG)).toEqual({ after: 10, before: 11, recovered: false });
    }
    expect(pageRange(null, at(11), LOG)).toEqual({ after: 10, before: 11, recovered: false });
    const whole = { epoch: "now", first: 1, last: 20 };
    expect(pageRange(null, at(1), whole)).toEqual({ after: 0, before: 1, recovered: true });
    expect(pageRange(null, at(0), whole)).toEqual({ after: 0, before: 1, recovered: true });
  });

  it("ends with the newest event if `before` is beyond it (R18a)", () => {
    expect(pageRange(null, at(99), LOG)).toEqual({ after: 10, before: 21, recovered: true });
  });

  it("of a room without events is empty", () => {
    const none = { epoch: "", first: 1, last: 0 };
    expect(pageRange(null, null, none)).toEqual({ after: 0, before: 1, recovered: false });
  });
});

describe("the pages of a log", () => {
  interface Event {
    offset: number;
  }
  const orders = fc.constantFrom<PageOrder>("asc", "desc");

  /** Reads every page of the events `first` to `last`, and notes how many events were read at once. */
  function pagesOf(
    { first, last }: { first: number; last: number },
    {
      order,
      limit,
      wants,
    }: { order: PageOrder; limit: number; wants: ((e: Event) => boolean) | null },
  ) {
    const pages: LogPage<Event>[] = [];
    let most = 0;
    const between = (from: number, to: number) => {
      expect(from).toBeGreaterThanOrEqual(first);
      expect(to).toBeLessThanOrEqual(last);
      most = Math.max(most, to - from + 1);
      return Array.from({ length: to - from + 1 }, (_, index) => ({ offset: from + index }));
    };
    let range = { after: first - 1, before: last + 1 };
    do {
      const page = readPage(range, { order, limit, wants }, between);
      pages.push(page);
      range = order === "asc" ? { ...range, after: page.end } : { ...range, before: page.end };
    } while (pages.at(-1)?.more && pages.length <= last);
    return { pages, most };
  }

  const logs = fc.record({ first: fc.integer({ min: 1, max: 40 }), size: fc.nat(60) });

  it("have every event once and in order, each as many as it may, and only the last is not followed (R18)", () => {
    fc.assert(
      fc.property(
        logs,
        orders,
        fc.integer({ min: 1, max: 20 }),
        fc.nat(4),
        (log, order, limit, k) => {
          const { first, size } = log;
          const last = first + size - 1;
          const wants = k === 0 ? null : ({ offset }: Event) => offset % k === 0;
          const all = Array.from({ length: size }, (_, index) => ({ offset: first + index }));
          const wanted = wants === null ? all : all.filter(wants);
          if (order === "desc") wanted.reverse();
          const { pages } = pagesOf({ first, last }, { order, limit, wants });
          expect(pages.flatMap(({ events }) => events)).toEqual(wanted);
          for (const { events, more } of pages) if (more) expect(events).toHaveLength(limit);
          expect(pages.at(-1)?.more).toBe(false);
          expect(pages).toHaveLength(Math.max(1, Math.ceil(wanted.length / limit)));
        },
      ),
    );
  });

  it.each<PageOrder>(["asc", "desc"])(
    "read no more than 500 events at once, however few of them are wanted (%s)",
    (order) => {
      const wants = ({ offset }: Event) => offset === 3 || offset === 1_200;
      const { pages, most } = pagesOf({ first: 1, last: 1_203 }, { order, limit: 5, wants });
      const found = pages.flatMap(({ events }) => events.map(({ offset }) => offset));
      expect(found).toEqual(order === "asc" ? [3, 1_200] : [1_200, 3]);
      expect(most).toBe(500);
    },
  );

  it.each<PageOrder>(["asc", "desc"])(
    "end where the log has a hole, instead of never (%s)",
    (order) => {
      const page = readPage({ after: 0, before: 9 }, { order, limit: 5, wants: null }, () => []);
      expect(page).toEqual({ events: [], end: order === "asc" ? 0 : 9, more: false });
    },
  );
});
