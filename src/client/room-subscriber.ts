import { wants } from "../channel/filter.ts";
import { type Position, parsePosition } from "../channel/position.ts";
import type { RoomEventFrame } from "../protocol/room-events.ts";
import type { EventFilter } from "../protocol/room-frames.ts";
import { DialoutError } from "./errors.ts";
import { MOST_UNREAD } from "./event-stream.ts";
import type { Gap } from "./job-channel.ts";
import {
  gapBetween,
  type RoomCursor,
  readEvent,
  readSubscribed,
  type Subscribed,
} from "./room-channel.ts";
import { type HistoryPage, type RoomEvent, roomEventOf } from "./room-events.ts";
import { callHandler, type OpenSubscription } from "./subscription.ts";

/** A user joined or left the room. */
export interface Presence {
  type: "presence.joined" | "presence.left";
  room: string;
  user_id: string;
  timestamp: string;
}

export interface RoomEventHandlers {
  onEvent(event: RoomEvent): void;
  onGap(gap: Gap): void;
  onPresence?(presence: Presence): void;
}

export interface SubscriberOptions {
  since: string | undefined;
  filter: EventFilter | null;
  /** Fetches a page of the room's history to fill gaps; `null` if gaps are only reported. */
  history: ((since: string) => Promise<HistoryPage>) | null;
  /** Reads the events up to this position with which to begin; if not given, begins with the next event. */
  past?: ((end: Position) => Promise<RoomEvent[]>) | undefined;
  /** `false`: it follows presence only. */
  wantsEvents?: boolean;
}

/** A placeholder in the queue for the past events up to this position, which are still being fetched. */
interface Past {
  type: "past";
  end: Position;
}

/** One local subscriber of a room; several may share the room's subscription at the edge. */
export class RoomSubscriber {
  readonly filter: EventFilter | null;
  readonly wantsPresence: boolean;
  readonly wantsEvents: boolean;
  readonly #handlers: RoomEventHandlers;
  readonly #subscription: OpenSubscription;
  readonly #history: SubscriberOptions["history"];
  readonly #past: SubscriberOptions["past"];
  #cursor: RoomCursor;
  #isLive = false;
  /** While past events are being read, later ones wait here so that the order is kept. */
  #waiting: (RoomEvent | Gap | Past)[] = [];
  #isFilling = false;

  constructor(
    subscription: OpenSubscription,
    options: SubscriberOptions,
    handlers: RoomEventHandlers,
  ) {
    this.filter = options.filter;
    this.wantsPresence = handlers.onPresence !== undefined;
    this.wantsEvents = options.wantsEvents ?? true;
    this.#history = options.history;
    this.#past = options.past;
    this.#cursor = parsePosition(options.since);
    this.#subscription = subscription;
    this.#handlers = handlers;
  }

  /** The position to continue from; `null` to start with the next event. */
  get cursor(): RoomCursor {
    return this.wantsEvents ? this.#cursor : null;
  }

  onSubscribed(frame: Subscribed, asked: Position | null): void {
    const isFirst = this.cursor === null;
    const { cursor, gap } = readSubscribed(this.cursor, frame, asked);
    this.#cursor = cursor;
    this.#isLive = true;
    this.#subscription.link("open");
    if (isFirst && cursor !== null && this.#past) this.#enqueue({ type: "past", end: cursor });
    if (gap) this.#enqueue(gap);
  }

  onDisconnect(error: DialoutError | null): void {
    this.#isLive = false;
    this.#subscription.link("lost", error);
  }

  fail(error: DialoutError): void {
    this.#subscription.finish(error);
  }

  onEvent(frame: RoomEventFrame, isWhole: boolean): void {
    const before = this.#cursor;
    if (!this.#isLive || before === null || !this.wantsEvents) return;
    const { cursor, gap } = readEvent(before, frame.offset, isWhole);
    if (cursor === before || cursor === null) return;
    this.#cursor = cursor;
    if (gap) this.#enqueue(gap);
    const event = roomEventOf(frame, cursor.epoch);
    if (event && wants(this.filter, event)) this.#enqueue(event);
  }

  onPresence(presence: Presence): void {
    if (this.#isLive) callHandler(() => this.#handlers.onPresence?.(presence));
  }

  #enqueue(item: RoomEvent | Gap | Past): void {
    const isRead = item.type === "past" || (item.type === "gap" && this.#history !== null);
    if (item.type !== "past" && !isRead && !this.#isFilling) {
      this.#deliver(item);
      return;
    }
    this.#waiting.push(item);
    if (this.#waiting.length > MOST_UNREAD) {
      this.fail(
        new DialoutError(
          "too_slow",
          "Past events could not be read before too much came after them.",
        ),
      );
    }
    if (!this.#isFilling) void this.#drain();
  }

  async #drain(): Promise<void> {
    this.#isFilling = true;
    for (let item = this.#waiting.shift(); item; item = this.#waiting.shift()) {
      if (this.#subscription.isOver) return;
      for await (const found of this.#read(item)) this.#deliver(found);
    }
    this.#isFilling = false;
  }

  /** Yields an item, or the past events for which it stands. If they can't be read, there is a gap instead. */
  async *#read(item: RoomEvent | Gap | Past): AsyncGenerator<RoomEvent | Gap> {
    if (item.type === "past") {
      const { end } = item;
      const events = await this.#past?.(end).catch(() => null);
      if (events) yield* events;
      else if (end.offset > 0) yield gapBetween({ ...end, offset: 0 }, end);
    } else if (item.type === "gap" && this.#history) yield* readMissing(item, this.#history);
    else yield item as RoomEvent | Gap;
  }

  #deliver(item: RoomEvent | Gap): void {
    if (this.#subscription.isOver) return;
    callHandler(() => {
      if (item.type === "gap") this.#handlers.onGap(item);
      else if (wants(this.filter, item)) this.#handlers.onEvent(item);
    });
  }
}

/** Yields a gap's events from the history in order, and a smaller gap for each range it lacks. */
async function* readMissing(
  { after, until }: Gap,
  history: (since: string) => Promise<HistoryPage>,
): AsyncGenerator<RoomEvent | Gap> {
  const end = parsePosition(until);
  const start = parsePosition(after);
  if (start === null || end === null) return;
  let at: Position = start;
  if (at.epoch !== end.epoch) {
    at = { epoch: end.epoch, offset: 0 };
    yield gapBetween(start, at);
  }
  while (at.offset < end.offset) {
    const page = await history(`${at.epoch}:${at.offset}`).catch(() => null);
    const found = page?.epoch === end.epoch ? page.events : [];
    const from = at.offset;
    const events = found.filter(({ offset }) => offset > from && offset <= end.offset);
    const before = (events[0]?.offset ?? end.offset + 1) - 1;
    if (before > at.offset) yield gapBetween(at, { ...at, offset: before });
    yield* events;
    at = { ...at, offset: events.at(-1)?.offset ?? end.offset };
  }
}
