import type { z } from "zod";
import { formatPosition, type Position } from "../channel/position.ts";
import type { RoomEventFrame } from "../protocol/room-events.ts";
import type {
  EventFilter,
  GatewayClientFrameInput,
  gatewayErrorFrame,
  subscribedFrame,
} from "../protocol/room-frames.ts";
import { DialoutError } from "./errors.ts";
import type { Presence, RoomSubscriber } from "./room-subscriber.ts";

/** The one subscription at the edge that serves all local subscribers of a room. */
interface UpstreamSubscription {
  ref: number;
  asked: Position | null;
  filter: EventFilter | undefined;
  presence: boolean;
  /** The local subscribers it was made for; later ones may need another subscription. */
  subscribers: ReadonlySet<RoomSubscriber>;
}

/** Error codes after which subscribing again can succeed. */
const PASSING = ["temporarily_unavailable", "internal", "rate_limited"];
const RETRY_MS = 2_000;

/** Passes one room's frames from the client's shared socket to all local subscribers. */
export class RoomFeed {
  readonly #room: string;
  readonly #send: (frame: GatewayClientFrameInput) => void;
  readonly #subscribers = new Set<RoomSubscriber>();
  #isUp = false;
  #refs = 0;
  /** The subscription sent but not yet answered, and the one in effect. */
  #pending: UpstreamSubscription | null = null;
  #upstream: UpstreamSubscription | null = null;
  #logEnd: Position | null = null;
  #retry: ReturnType<typeof setTimeout> | undefined;

  constructor(room: string, send: (frame: GatewayClientFrameInput) => void) {
    this.#room = room;
    this.#send = send;
  }

  get size(): number {
    return this.#subscribers.size;
  }

  add(subscriber: RoomSubscriber): void {
    this.#subscribers.add(subscriber);
    if (this.#isUp && this.#pending === null) this.#serveSubscribers();
  }

  remove(subscriber: RoomSubscriber): void {
    this.#subscribers.delete(subscriber);
    if (this.size > 0) return;
    clearTimeout(this.#retry);
    if (this.#isUp) this.#send({ type: "unsubscribe", room: this.#room });
  }

  onConnect(): void {
    this.#isUp = true;
    this.#serveSubscribers();
  }

  onDisconnect(error: DialoutError | null): void {
    this.#isUp = false;
    this.#pending = null;
    this.#upstream = null;
    clearTimeout(this.#retry);
    for (const subscriber of this.#subscribers) subscriber.onDisconnect(error);
  }

  fail(error: DialoutError): void {
    for (const subscriber of [...this.#subscribers]) subscriber.fail(error);
  }

  onSubscribed(frame: z.infer<typeof subscribedFrame>): void {
    const { epoch, offset, ref } = frame;
    // The edge subscribes to some rooms by itself (R3), without a `ref`; the answer to our own
    // `subscribe` still follows.
    if (ref === undefined ? this.#upstream === null : ref !== this.#pending?.ref) return;
    if (ref !== undefined) {
      this.#upstream = this.#pending;
      this.#pending = null;
    }
    this.#logEnd = { epoch, offset };
    for (const subscriber of this.#upstream?.subscribers ?? []) {
      if (!this.#subscribers.has(subscriber)) continue;
      subscriber.onSubscribed(frame, ref === undefined ? null : (this.#upstream?.asked ?? null));
    }
    if (this.#pending === null) this.#serveSubscribers();
  }

  onEvent(frame: RoomEventFrame): void {
    const { offset } = frame;
    if (this.#upstream === null || this.#logEnd === null) return;
    this.#logEnd = { ...this.#logEnd, offset: Math.max(offset, this.#logEnd.offset) };
    const isWhole = this.#upstream.filter === undefined;
    for (const subscriber of this.#subscribers) subscriber.onEvent(frame, isWhole);
  }

  onPresence(frame: Presence): void {
    for (const subscriber of this.#subscribers) subscriber.onPresence(frame);
  }

  onError({ code, message, ref }: z.infer<typeof gatewayErrorFrame>): void {
    if (ref !== undefined && ref !== this.#pending?.ref) return;
    const error = new DialoutError(code, message);
    this.#pending = null;
    if (!PASSING.includes(code)) {
      this.fail(error);
      return;
    }
    // After a refusal the edge has dropped the earlier subscription, too.
    this.#upstream = null;
    for (const subscriber of this.#subscribers) subscriber.onDisconnect(error);
    clearTimeout(this.#retry);
    this.#retry = setTimeout(() => this.#serveSubscribers(), RETRY_MS * (0.5 + Math.random()));
  }

  /** Attaches new subscribers to the current subscription, or subscribes again if it lacks events for them. */
  #serveSubscribers(): void {
    const unserved = [...this.#subscribers].filter(
      (subscriber) => !this.#upstream?.subscribers.has(subscriber),
    );
    if (unserved.length === 0 || !this.#isUp) return;
    if (this.#upstream === null || !unserved.every((subscriber) => this.#covers(subscriber))) {
      this.#subscribe();
      return;
    }
    const { epoch, offset } = this.#logEnd ?? { epoch: "", offset: 0 };
    const subscribers = new Set([...this.#upstream.subscribers, ...unserved]);
    this.#upstream = { ...this.#upstream, subscribers };
    for (const subscriber of unserved)
      subscriber.onSubscribed({ epoch, offset, recovered: false }, null);
  }

  /** Whether the current subscription already delivers everything this subscriber needs. */
  #covers({ cursor, filter, wantsPresence, wantsEvents }: RoomSubscriber): boolean {
    const upstream = this.#upstream;
    if (upstream === null || this.#logEnd === null || cursor !== null) return false;
    if (wantsPresence && !upstream.presence) return false;
    if (!wantsEvents) return true;
    return upstream.filter === undefined || sameFilter(upstream.filter, filter ?? undefined);
  }

  #subscribe(): void {
    const subscribers = new Set(this.#subscribers);
    const asked = earliestCursor([...subscribers], this.#logEnd?.epoch);
    const filter = commonFilter([...subscribers]);
    const presence = [...subscribers].some((subscriber) => subscriber.wantsPresence);
    this.#refs += 1;
    const ref = this.#refs;
    this.#pending = { ref, asked, filter, presence, subscribers };
    const since = asked === null ? undefined : formatPosition(asked);
    this.#send({ type: "subscribe", room: this.#room, ref, since, filter, presence });
  }
}

/** The earliest cursor of the current epoch, or of the first cursor's epoch if none has the current one. */
function earliestCursor(subscribers: readonly RoomSubscriber[], epoch: string | undefined) {
  const cursors = subscribers.flatMap(({ cursor }) => cursor ?? []);
  const current = cursors.find((cursor) => cursor.epoch === epoch) ?? cursors[0];
  const comparable = cursors.filter((cursor) => cursor.epoch === current?.epoch);
  return comparable.sort((a, b) => a.offset - b.offset)[0] ?? null;
}

/** No event passes it: types begin with a letter. */
const NO_EVENTS: EventFilter = { types: ["-"] };

/**
 * The filter that all subscribers of events share. If they differ, the edge sends everything and each filters
 * locally.
 */
function commonFilter(subscribers: readonly RoomSubscriber[]): EventFilter | undefined {
  const filters = subscribers
    .filter(({ wantsEvents }) => wantsEvents)
    .map(({ filter }) => filter ?? undefined);
  if (filters.length === 0) return NO_EVENTS;
  const [first, ...others] = filters;
  return others.every((other) => sameFilter(first, other)) ? first : undefined;
}

function sameFilter(a: EventFilter | undefined, b: EventFilter | undefined): boolean {
  return JSON.stringify(a) === JSON.stringify(b);
}
