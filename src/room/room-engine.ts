import { wants } from "../channel/filter.ts";
import { pageRange, readPage } from "../channel/log-page.ts";
import { type Position, recover } from "../channel/position.ts";
import { BurstDetector } from "../objects/burst-detector.ts";
import { type BatchStep, Inbox } from "../objects/inbox.ts";
import { logErrors } from "../objects/log-errors.ts";
import { GLOBAL_ROOM } from "../protocol/address.ts";
import { iso } from "../protocol/iso.ts";
import { LIMITS } from "../protocol/limits.ts";
import type { EventToPublish, RoomEventFrame } from "../protocol/room-events.ts";
import type { RoomStore, RoomStores, StoredRoomEvent } from "../storage/room-store.ts";
import type { Sql } from "../storage/sql.ts";
import type {
  HistoryPage,
  HistoryQuery,
  PresenceChange,
  PublishedPosition,
  Relayed,
  RoomLog,
  RoomLogEnd,
} from "./calls.ts";
import type { GatewayDeliveries } from "./gateway-deliveries.ts";
import { PublishBatch } from "./publish-batch.ts";
import type { PresenceEvent, RoomMembers } from "./room-members.ts";
import { RoomPresence } from "./room-presence.ts";
import type { RoomSocket, RoomSockets } from "./room-sockets.ts";

interface RoomEngineDeps {
  name: string;
  /** The room's name if the object keeps several rooms, otherwise `null`. */
  shared: string | null;
  sql: Sql;
  stores: RoomStores;
  members: RoomMembers;
  sockets: RoomSockets;
  deliveries: GatewayDeliveries;
  /** Makes the object call `presence.settle` at this time, milliseconds since 1970. */
  arm: (at: number) => void;
  /** Restarts the object, because its memory no longer agrees with what is stored. */
  crash: (error: unknown) => void;
}

/**
 * From this many subscribers on, sending an event takes longer than the shortest timer (1 ms). A batch then
 * waits for that timer, so that events published meanwhile are sent together with it.
 */
const MANY_SUBSCRIBERS = 100;

/** The offsets in the log of a room without events. */
const NO_EVENTS = { first: 1, last: 0 };

/** Stands for the epoch of a room that nobody has used yet; no room has it. */
const NO_EPOCH = "";

/** Events in order: those that arrive in one turn are stored in one transaction, then sent (decision 0006). */
export class RoomEngine {
  readonly presence: RoomPresence;
  private store: RoomStore | null;
  private readonly deps: RoomEngineDeps;
  private readonly burst = new BurstDetector();
  private readonly inbox: Inbox;
  /** The events of the current turn; only while its commands run. */
  private batch: PublishBatch | null = null;
  /** Answers to the publishers of the current turn, called once it is stored. */
  private answers: (() => void)[] = [];

  constructor(deps: RoomEngineDeps) {
    this.deps = deps;
    this.store = deps.stores.find(deps.shared);
    this.presence = new RoomPresence({
      ...deps,
      send: (events, gateways) => this.sendPresence(events, gateways),
    });
    this.inbox = new Inbox({
      sendBuffer: { after: (answer) => this.answers.push(answer) },
      isBurst: (now) => this.hasManySubscribers() || this.burst.isBurst(0, now),
      run: (works) => this.run(works),
    });
  }

  /** Looks for users whose sockets were lost when the object stopped. */
  restorePresence(): void {
    if (this.exists()) this.presence.restore();
  }

  get logEnd(): RoomLogEnd {
    return { epoch: this.deps.members.epoch(), last: this.range.last };
  }

  /**
   * Resolves once the events are stored, before they are sent to subscribers.
   *
   * @param length the length of their JSON, characters
   */
  publish(events: readonly EventToPublish[], length: number): Promise<PublishedPosition[]> {
    this.burst.onArrival(Date.now());
    return this.inbox.join((now) => {
      const published = this.batch?.add(events, now) ?? [];
      return { answer: () => published };
    }, length);
  }

  /** The first events after `since`, as many as fit into a page. If some are no longer stored, starts with the oldest. */
  read(since: Position | null): RoomLog {
    const { epoch, range } = this.logState;
    const recovery = recover(since, { epoch, ...range });
    const after = recovery.recovered ? recovery.after : range.first - 1;
    const stored = this.store?.firstAfter(after, LIMITS.historyBytes) ?? [];
    const more = (stored.at(-1)?.offset ?? range.last) < range.last;
    const events = stored.map((event) => this.relayedOf(event));
    return { epoch, last: range.last, recovered: recovery.recovered, more, events };
  }

  /** A page of the events that are stored. */
  history({ since, before, order, limit, filter }: HistoryQuery): HistoryPage {
    const { epoch, range } = this.logState;
    const { recovered, ...bounds } = pageRange(since, before, { epoch, ...range });
    const isWanted = (event: StoredRoomEvent) => wants(filter, event);
    const query = { order, limit, wants: filter && isWanted };
    const read = (first: number, last: number) => this.store?.between(first, last) ?? [];
    const page = readPage(bounds, query, read);
    const events: Relayed[] = [];
    let length = 0;
    for (const event of page.events) {
      const relayed = this.relayedOf(event);
      length += relayed.text.length;
      const end = events.at(-1)?.offset;
      if (end !== undefined && length > LIMITS.historyBytes) {
        return { end, more: true, epoch, last: range.last, recovered, events };
      }
      events.push(relayed);
    }
    return { ...page, epoch, last: range.last, recovered, events };
  }

  /**
   * Adds a gateway that has subscribers from now on.
   *
   * @param isWatched a subscriber over this gateway wants presence events, those of this join included
   */
  join(gateway: string, present: readonly PresenceChange[], isWatched: boolean): RoomLogEnd {
    this.deps.deliveries.noteJoin(gateway);
    const others = this.gateways().filter((name) => name !== gateway);
    this.presence.join(gateway, present, isWatched ? [...others, gateway] : others);
    return this.logEnd;
  }

  /** Removes a gateway that has no subscribers any more. @param isSure its users will not come back over it */
  leave(gateway: string, isSure = false): void {
    this.deps.deliveries.forget(gateway);
    this.presence.dropGateway(gateway, isSure);
  }

  gateways(): string[] {
    return this.deps.members.gateways();
  }

  /** About how many bytes of events a socket is sent that opens with this position. */
  catchUpBytes(since: Position | null): number {
    const { epoch, range } = this.logState;
    const recovery = recover(since, { epoch, ...range });
    return recovery.recovered ? (this.store?.bytesAfter(recovery.after) ?? 0) : 0;
  }

  /** Sends a new socket its first frames: its position and the events it missed. */
  open(subscriber: RoomSocket, since: Position | null): void {
    const { epoch, last } = this.logEnd;
    const recovery = recover(since, { epoch, ...this.range });
    const { recovered } = recovery;
    const offset = recovered ? recovery.after : last;
    const { name: room, sockets } = this.deps;
    const timestamp = iso(Date.now());
    const connection = { type: "connection", room, epoch, offset, recovered, timestamp };
    sockets.send(subscriber, connection);
    const missed = recovered ? (this.store?.after(offset) ?? []) : [];
    const wanted = missed.filter((event) => wants(subscriber.attachment.filter, event));
    const texts = wanted.map((event) => this.relayedOf(event).text);
    sockets.sendTexts(subscriber, texts);
    this.presence.onOpen(subscriber);
  }

  /** @param isLeaving the client is done; otherwise it may be back soon */
  onClose(subscriber: RoomSocket, isLeaving = false): void {
    this.deps.sockets.remove(subscriber);
    this.presence.onClose(subscriber, isLeaving);
  }

  expire(now: number): void {
    const { store } = this;
    if (store) this.deps.sql.transaction(() => store.expire(now));
  }

  /** Whether memory holds nothing that is not stored, and nobody follows the room. */
  isIdle(): boolean {
    if (!this.inbox.isEmpty || this.presence.isWaiting) return false;
    return this.deps.sockets.size === 0 && this.gateways().length === 0;
  }

  /** Whether the log has no events. */
  isEmpty(): boolean {
    return this.range.first > this.range.last;
  }

  /**
   * When the oldest stored events expire, milliseconds since 1970; `null` if no event is stored.
   */
  expiresAt(): number | null {
    return this.store?.expiresAt() ?? null;
  }

  /** Deletes everything about the room; it can be used again as a new one. */
  erase(): void {
    const { members, sql } = this.deps;
    sql.transaction(() => {
      this.store?.erase();
      members.erase();
    });
    this.store = null;
  }

  private get logState() {
    return { epoch: this.deps.members.knownEpoch() ?? NO_EPOCH, range: this.range };
  }

  /** The first and the last offset in the log. */
  private get range() {
    return this.store?.held ?? NO_EVENTS;
  }

  /** Whether anybody has followed the room or published to it. */
  private exists(): boolean {
    return this.deps.members.knownEpoch() !== null;
  }

  private hasManySubscribers(): boolean {
    const { sockets, deliveries } = this.deps;
    return sockets.size + deliveries.subscribers >= MANY_SUBSCRIBERS;
  }

  private openStore(): RoomStore {
    const { members, stores, shared } = this.deps;
    // The epoch is stored with the first events.
    members.epoch();
    this.store ??= stores.make(shared);
    return this.store;
  }

  /** Stores all that was published in this turn, then answers the publishers, then sends the events. */
  private run(works: readonly BatchStep[]): void {
    const { sql, deliveries, crash } = this.deps;
    const batch = new PublishBatch(() => this.openStore());
    this.batch = batch;
    try {
      sql.transaction(() => {
        const now = Date.now();
        for (const work of works) work(now);
        batch.save();
      });
    } catch (error) {
      crash(error);
      throw error;
    } finally {
      this.batch = null;
    }
    for (const answer of this.answers.splice(0)) answer();
    this.broadcast(batch.newEvents, []);
    // A publisher that repeats an id got no answer the first time: the object may have stopped after storing
    // the event and before sending it. The gateways are called, and read whatever they have missed.
    if (batch.hasRepeats) deliveries.send(this.gateways(), [], []);
  }

  /** Sends what is stored: to the room's own sockets, and once to every gateway with subscribers. */
  private broadcast(
    events: readonly StoredRoomEvent[],
    presenceEvents: readonly PresenceEvent[],
    gateways: readonly string[] = this.gateways(),
  ): void {
    if (events.length === 0 && presenceEvents.length === 0) return;
    const { sockets, deliveries } = this.deps;
    const relayed = events.map((event) => this.relayedOf(event));
    const texts = relayed.map(({ text }) => text);
    const presence = presenceEvents.map((event) => this.presenceText(event));
    for (const subscriber of events.length > 0 ? sockets.all() : []) {
      const { filter, acks } = subscriber.attachment;
      if (acks || filter) logErrors(() => this.sendWanted(subscriber, events, relayed));
      else sockets.sendTexts(subscriber, texts);
    }
    for (const subscriber of presence.length > 0 ? sockets.presenceWatchers() : []) {
      sockets.sendTexts(subscriber, presence);
    }
    deliveries.send(gateways, relayed, presence);
  }

  /**
   * Sends a subscriber the events that pass its filter. If it acknowledges and is too far behind, it is closed;
   * it can come back and resume where it was.
   */
  private sendWanted(
    subscriber: RoomSocket,
    events: readonly StoredRoomEvent[],
    relayed: readonly Relayed[],
  ): void {
    const { sockets, name } = this.deps;
    const { filter, acks } = subscriber.attachment;
    const wanted = relayed.filter((_, index) => wants(filter, events[index] ?? NO_EVENT));
    if (!acks) {
      const texts = wanted.map(({ text }) => text);
      sockets.sendTexts(subscriber, texts);
    } else if (!sockets.sendCounted(subscriber, name, wanted)) this.onClose(subscriber);
  }

  /** Sends who joined and left. In `global`, where everyone is, nobody is told. */
  private sendPresence(events: readonly PresenceEvent[], gateways?: readonly string[]): void {
    if (this.deps.name !== GLOBAL_ROOM) this.broadcast([], events, gateways);
  }

  private relayedOf({ type, id, offset, at, data }: StoredRoomEvent): Relayed {
    const { name: room } = this.deps;
    const frame: RoomEventFrame = { type, room, id, offset, timestamp: iso(at), data };
    return { offset, text: JSON.stringify(frame) };
  }

  private presenceText({ type, userId }: PresenceEvent): string {
    const timestamp = iso(Date.now());
    return JSON.stringify({ type, room: this.deps.name, user_id: userId, timestamp });
  }
}

/** Satisfies the type checker where an index could, in theory, be out of range. */
const NO_EVENT = { type: "", data: {} };
