import { type Position, parsePosition } from "../channel/position.ts";
import type { EventFilter } from "../protocol/room-frames.ts";
import { type Edge, segment } from "./edge.ts";
import type { Gap } from "./job-channel.ts";
import { gapBetween } from "./room-channel.ts";
import { type HistoryPage, historySchema, pageOf, type RoomEvent } from "./room-events.ts";
import type { SendOptions } from "./sending.ts";

/** Which of a room's stored events to read. `timeout` and `onSending` are about each page. */
export interface HistoryRange extends SendOptions {
  /** Only events after this position. */
  since?: string;
  /** Only events before this position. */
  before?: string;
  /** `asc`: oldest first; `desc`: newest first. The default is `asc`, but `desc` if only `before` is given. */
  order?: "asc" | "desc";
  filter?: EventFilter;
}

export interface HistoryOptions extends HistoryRange {
  /** Most events in a page, up to 1,000. */
  limit?: number;
  /** The newest events of the range, up to 1,000, oldest first; `next` is the `before` of those before them. */
  last?: number;
}

/** Events in one page if all of them are read. */
const PAGE = 500;

/** Reads the stored events of one room. */
export class RoomHistory {
  readonly #edge: Edge;
  readonly #path: string;

  constructor(edge: Edge, room: string) {
    this.#edge = edge;
    this.#path = `/api/rooms/${segment(room)}/history`;
  }

  async page({ last, ...options }: HistoryOptions): Promise<HistoryPage> {
    if (last === undefined) return this.#fetch(options);
    const page = await this.#fetch({ ...options, order: "desc", limit: last });
    return { ...page, events: page.events.toReversed() };
  }

  /** Every event of the range, page by page, with a `gap` for those that were dropped before they were read. */
  async *events(range: HistoryRange): AsyncGenerator<RoomEvent | Gap, void, undefined> {
    const isBackwards = (range.order ?? (range.before && !range.since ? "desc" : "asc")) === "desc";
    const start = isBackwards ? "before" : "since";
    for (let options = range; ; ) {
      const order = isBackwards ? "desc" : "asc";
      const page = await this.#fetch({ ...options, order, limit: PAGE });
      const gap = isBackwards ? null : gapBefore(page, parsePosition(options.since));
      if (gap) yield gap;
      yield* page.events;
      if (!page.more) return;
      options = { ...range, [start]: page.next };
    }
  }

  /** The newest `count` events up to and including `end`, oldest first. */
  async endingAt(
    { epoch, offset }: Position,
    count: number,
    { filter, signal }: Pick<HistoryRange, "filter" | "signal">,
  ): Promise<RoomEvent[]> {
    const events: RoomEvent[] = [];
    let before = `${epoch}:${offset + 1}`;
    while (events.length < count) {
      const limit = Math.min(count - events.length, PAGE);
      const page = await this.#fetch({ before, order: "desc", limit, filter, signal });
      events.push(...page.events);
      before = page.next;
      if (!page.more) break;
    }
    return events.reverse();
  }

  async #fetch(options: Omit<HistoryOptions, "last">): Promise<HistoryPage> {
    const { signal, timeout, onSending, filter, ...range } = options;
    const query = { ...range, filter: filter && JSON.stringify(filter) };
    const send = { signal, timeout, onSending };
    return pageOf(await this.#edge.http.call({ ...send, path: this.#path, query }, historySchema));
  }
}

/** The events between a position and the page after it, if the edge no longer has them. */
function gapBefore(
  { recovered, epoch, events, next }: HistoryPage,
  since: Position | null,
): Gap | null {
  if (recovered || since === null) return null;
  const offset = (events[0]?.offset ?? (parsePosition(next)?.offset ?? 0) + 1) - 1;
  if (since.epoch === epoch && offset <= since.offset) return null;
  return gapBetween(since, { epoch, offset });
}
