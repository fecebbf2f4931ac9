import { type LogBounds, type Position, recover } from "./position.ts";

/** In which order a page has its events, and so from which end of the range it is filled. */
export type PageOrder = "asc" | "desc";

/** The offsets between which a page is read, both excluded. */
export interface PageRange {
  after: number;
  before: number;
  /** A position was named, and the events next to it are all still stored. */
  recovered: boolean;
}

/** A page of a log. */
export interface LogPage<E> {
  events: E[];
  /** Where the next page in the same order goes on: the offset after which, or before which, it begins. */
  end: number;
  /** Whether the next page would have any events. */
  more: boolean;
}

/**
 * The range of the events after `since` and before `before`, of those that are stored. If `since` is of
 * another epoch or its next event is gone, the range begins with the oldest event. If `before` is of another
 * epoch the range is empty: every event of this one came later. Example: a client has read back to event 30
 * of a room, which is then erased and gets new events. Given those, the client would take them for older ones.
 */
export function pageRange(
  since: Position | null,
  before: Position | null,
  log: LogBounds,
): PageRange {
  const { epoch, first, last } = log;
  if (before !== null && before.epoch !== epoch) {
    return { after: last, before: last + 1, recovered: false };
  }
  const recovery = recover(since, log);
  const after = recovery.recovered ? recovery.after : first - 1;
  const end = Math.min(before?.offset ?? last + 1, last + 1);
  const isEndKept = before === null || before.offset <= 1 || before.offset > first;
  const isStartKept = since === null ? before !== null : recovery.recovered;
  return { after, before: Math.max(end, after + 1), recovered: isEndKept && isStartKept };
}

/** Events that are tested against a filter at once. The log of a room has 10,000 at most. */
const CHUNK = 500;

interface PageQuery<E> {
  order: PageOrder;
  limit: number;
  /** Tells which events to take; `null` for all. */
  wants: ((event: E) => boolean) | null;
}

/**
 * Reads a page, from the start of the range or from its end.
 *
 * @param between reads the events from one offset to another, both included, in order
 */
export function readPage<E extends { offset: number }>(
  { after, before }: Pick<PageRange, "after" | "before">,
  { order, limit, wants }: PageQuery<E>,
  between: (first: number, last: number) => E[],
): LogPage<E> {
  const events: E[] = [];
  const [step, last] = order === "asc" ? [1, before] : [-1, after];
  let end = order === "asc" ? after : before;
  while (end + step !== last && (wants !== null || events.length < limit)) {
    const count = Math.min(wants === null ? limit : CHUNK, Math.abs(last - end) - 1);
    const chunk =
      order === "asc" ? between(end + 1, end + count) : between(end - count, end - 1).reverse();
    // Nothing is missing in the middle of a log; but a loop that makes no progress would never end.
    if (chunk.length === 0) return { events, end, more: false };
    for (const event of chunk) {
      const isWanted = wants === null || wants(event);
      if (isWanted && events.length === limit) return { events, end, more: true };
      if (isWanted) events.push(event);
      end = event.offset;
    }
  }
  return { events, end, more: end + step !== last };
}
