import { ulid } from "ulid";
import { userIdOf } from "../auth/session.ts";
import { wants } from "../channel/filter.ts";
import { type Position, recover } from "../channel/position.ts";
import { BurstDetector } from "../objects/burst-detector.ts";
import { logErrors } from "../objects/log-errors.ts";
import { iso } from "../protocol/iso.ts";
import type { PublishedEvent, RoomEventFrame } from "../protocol/room-events.ts";
import type { RoomEvent, RoomStore, RoomStores } from "../storage/room-store.ts";
import type { Sql } from "../storage/sql.ts";
import type { PresenceChange, Present, Published, Relayed, RoomLog, RoomLogEnd } from "./calls.ts";
import type { GatewayDeliveries } from "./gateway-deliveries.ts";
import type { Move, RoomMembers } from "./room-members.ts";
import type { RoomSocket, RoomSockets } from "./room-sockets.ts";

interface Parts {
  name: string;
  /** Its name where the object keeps several rooms, otherwise `null`. */
  shared: string | null;
  sql: Sql;
  stores: RoomStores;
  members: RoomMembers;
  sockets: RoomSockets;
  links: GatewayDeliveries;
  /** Memory and rows no longer agree: start again from the rows. */
  crash: (error: unknown) => void;
}

interface Publication {
  events: readonly PublishedEvent[];
  answer: (published: Published[]) => void;
}

/** So many take longer to tell than the shortest wait: what came meanwhile goes out together. */
const CROWD = 100;

/** Sockets of the room itself, as presence names what somebody is there over. */
const DIRECT = "";

/** Of a room that has no events yet. */
const NOTHING_HELD = { first: 1, last: 0 };

/** Events in order: stored together as they arrive together, then told. */
export class RoomEngine {
  private store: RoomStore | null;
  private readonly parts: Parts;
  private readonly burst = new BurstDetector();
  private inbox: Publication[] = [];
  private drained: Promise<void> | null = null;

  constructor(parts: Parts) {
    this.parts = parts;
    this.store = parts.stores.find(parts.shared);
  }

  /** Sockets that were lost with the last memory said no goodbye. */
  wake(): void {
    const { members, sockets } = this.parts;
    if (!this.isMade()) return;
    this.change((now) => members.replace(DIRECT, sockets.present(), now));
  }

  get logEnd(): RoomLogEnd {
    return { epoch: this.parts.members.epoch(), last: this.held.last };
  }

  publish(events: readonly PublishedEvent[]): Promise<Published[]> {
    this.burst.note(Date.now());
    return new Promise((answer) => {
      this.inbox.push({ events, answer });
      this.drained ??= this.drainSoon();
    });
  }

  /** What there is after `since`, `count` events at most; all that is left where some of it is lost. */
  read(since: Position | null, count?: number): RoomLog {
    const epoch = this.parts.members.knownEpoch() ?? "";
    const { held } = this;
    const recovery = recover(since, { epoch, ...held });
    const after = recovery.recovered ? recovery.after : held.first - 1;
    const events = (this.store?.after(after, count) ?? []).map((event) => this.relayedOf(event));
    return { epoch, last: held.last, recovered: recovery.recovered, events };
  }

  /** A gateway has subscribers here from now on; who came with it is told to it if that `isWatched` there. */
  join(
    gateway: string,
    replacePresence: readonly PresenceChange[],
    isWatched: boolean,
  ): RoomLogEnd {
    const { links, members } = this.parts;
    links.noteJoin(gateway);
    const known = this.gateways();
    const others = known.filter((one) => one !== gateway);
    const told = isWatched ? [...others, gateway] : others;
    this.change((now) => {
      if (known.includes(gateway)) return members.replace(gateway, replacePresence, now);
      members.addGateway(gateway);
      return members.change(gateway, replacePresence, now);
    }, told);
    return this.logEnd;
  }

  leave(gateway: string): void {
    const { links, members } = this.parts;
    links.forget(gateway);
    this.change((now) => {
      members.dropGateway(gateway);
      return members.replace(gateway, [], now);
    });
  }

  /** Everyone who is there over a gateway now. */
  present(gateway: string, present: readonly PresenceChange[]): void {
    this.change((now) => this.parts.members.replace(gateway, present, now));
  }

  /** Users came or went over a gateway. */
  changePresence(gateway: string, changes: readonly PresenceChange[]): void {
    if (!this.gateways().includes(gateway)) return;
    this.change((now) => this.parts.members.change(gateway, changes, now));
  }

  roster(): Present[] {
    return this.parts.members.roster().map(({ userId: user_id, connections, since }) => {
      return { user_id, connections, since: iso(since) };
    });
  }

  gateways(): string[] {
    return this.parts.members.gateways();
  }

  /** The first frames of a socket of this room: where it is, and what it missed. */
  open(subscriber: RoomSocket, since: Position | null): void {
    const { epoch, last } = this.logEnd;
    const recovery = recover(since, { epoch, ...this.held });
    const { recovered } = recovery;
    const offset = recovered ? recovery.after : last;
    const { name: room, sockets } = this.parts;
    const timestamp = iso(Date.now());
    const connection = { type: "connection", room, epoch, offset, recovered, timestamp };
    sockets.send(subscriber, connection);
    const missed = recovered ? (this.store?.after(offset) ?? []) : [];
    const wanted = missed.filter((event) => wants(subscriber.attachment.filter, event));
    const texts = wanted.map((event) => this.relayedOf(event).text);
    sockets.sendTexts(subscriber, texts);
    this.changeDirectPresence(subscriber);
  }

  onClose(subscriber: RoomSocket): void {
    this.parts.sockets.remove(subscriber);
    this.changeDirectPresence(subscriber);
  }

  expire(now: number): void {
    const { store } = this;
    if (store) this.parts.sql.transaction(() => store.expire(now));
  }

  /** Nothing of it is only in memory, and nobody is there. */
  isIdle(): boolean {
    return this.drained === null && this.parts.sockets.size === 0 && this.gateways().length === 0;
  }

  /** It has no event. */
  isEmpty(): boolean {
    return this.held.first > this.held.last;
  }

  /** When events are too old; `null` where there are none. */
  expiresAt(): number | null {
    return this.store?.expiresAt() ?? null;
  }

  /** Everything of the room goes; it may begin anew. */
  erase(): void {
    const { members, sql } = this.parts;
    sql.transaction(() => {
      this.store?.erase();
      members.erase();
    });
    this.store = null;
  }

  private get held() {
    return this.store?.held ?? NOTHING_HELD;
  }

  /** Somebody followed it or published to it. */
  private isMade(): boolean {
    return this.parts.members.knownEpoch() !== null;
  }

  private async drainSoon(): Promise<void> {
    // What came in with this one has its turn first.
    await Promise.resolve();
    const { sockets, links } = this.parts;
    const isCrowd = sockets.size + links.audience >= CROWD;
    if (isCrowd || this.burst.isBurst(0, Date.now())) await scheduler.wait(0);
    this.drained = null;
    const publications = this.inbox;
    this.inbox = [];
    this.commit(publications);
  }

  private commit(publications: readonly Publication[]): void {
    const { sql, stores, shared, members, links, crash } = this.parts;
    const fresh: RoomEvent[] = [];
    let answers: Published[][];
    try {
      answers = sql.transaction(() => {
        members.epoch();
        this.store ??= stores.make(shared);
        return this.place(this.store, publications, fresh);
      });
    } catch (error) {
      crash(error);
      throw error;
    }
    for (const [index, { answer }] of publications.entries()) answer(answers[index] ?? []);
    this.broadcast(fresh, []);
    // Who publishes again had no answer: what was stored then may not have been told.
    const isRepeated = answers.some((published) => published.some(({ repeated }) => repeated));
    if (isRepeated) links.send(this.gateways(), [], []);
  }

  /** Gives events their offsets and stores them; one whose id is known has its offset already. */
  private place(store: RoomStore, publications: readonly Publication[], fresh: RoomEvent[]) {
    const at = Date.now();
    const named = new Map<string, Published>();
    let { last } = store.held;
    const answers = publications.map(({ events }) =>
      events.map(({ id: chosen, type, data }): Published => {
        const known = chosen === undefined ? null : (named.get(chosen) ?? store.known(chosen));
        const id = chosen ?? ulid(at);
        if (known) return { id, offset: known.offset, at: known.at, repeated: true };
        last += 1;
        fresh.push({ offset: last, at, id, type, data });
        const published = { id, offset: last, at, repeated: false };
        if (chosen !== undefined) named.set(chosen, published);
        return published;
      }),
    );
    store.append(fresh, new Set(named.keys()));
    return answers;
  }

  /** Tells what is stored: here, and once to every gateway with subscribers. */
  private broadcast(
    events: readonly RoomEvent[],
    moves: readonly Move[],
    gateways: readonly string[] = this.gateways(),
  ): void {
    if (events.length === 0 && moves.length === 0) return;
    const { sockets, links } = this.parts;
    const relayed = events.map((event) => this.relayedOf(event));
    const texts = relayed.map(({ text }) => text);
    const presence = moves.map((move) => this.presenceText(move));
    for (const subscriber of events.length > 0 ? sockets.all() : []) {
      const { filter, acks } = subscriber.attachment;
      if (acks || filter) logErrors(() => this.sendWanted(subscriber, events, relayed));
      else sockets.sendTexts(subscriber, texts);
    }
    for (const subscriber of presence.length > 0 ? sockets.watchers() : []) {
      sockets.sendTexts(subscriber, presence);
    }
    links.send(gateways, relayed, presence);
  }

  /** Sends what one subscriber wants. Who acknowledges and can't take it may come again, and go on where it was. */
  private sendWanted(
    subscriber: RoomSocket,
    events: readonly RoomEvent[],
    relayed: readonly Relayed[],
  ): void {
    const { sockets, name } = this.parts;
    const { filter, acks } = subscriber.attachment;
    const wanted = relayed.filter((_, at) => wants(filter, events[at] ?? NONE));
    if (!acks) {
      const texts = wanted.map(({ text }) => text);
      sockets.sendTexts(subscriber, texts);
    } else if (!sockets.sendCounted(subscriber, name, wanted)) this.onClose(subscriber);
  }

  private changeDirectPresence({ attachment }: RoomSocket): void {
    const userId = userIdOf(attachment.principal);
    if (userId === null) return;
    const { members, sockets } = this.parts;
    const connections = sockets.countOf(userId);
    this.change((now) => members.change(DIRECT, [{ userId, connections }], now));
  }

  /** Stores who is there now, and tells who came and went. Everyone is in `global`: nobody is told. */
  private change(store: (now: number) => Move[], gateways?: readonly string[]): void {
    const moves = this.parts.sql.transaction(() => store(Date.now()));
    if (this.parts.name !== GLOBAL_ROOM) this.broadcast([], moves, gateways);
  }

  private relayedOf({ type, id, offset, at, data }: RoomEvent): Relayed {
    const { name: room } = this.parts;
    const frame: RoomEventFrame = { type, room, id, offset, timestamp: iso(at), data };
    return { offset, text: JSON.stringify(frame) };
  }

  private presenceText({ type, userId }: Move): string {
    const timestamp = iso(Date.now());
    return JSON.stringify({ type, room: this.parts.name, user_id: userId, timestamp });
  }
}

/** The room of everyone, of whom nobody keeps count. */
export const GLOBAL_ROOM = "global";

/** No event there is. */
const NONE = { type: "", data: {} };
