import { ulid } from "ulid";
import { tokensDueAt, userIdOf } from "../auth/session.ts";
import { wants } from "../channel/filter.ts";
import { sendFrames } from "../channel/outlet.ts";
import { type Position, recover } from "../channel/position.ts";
import type { PublishedEvent, RoomEventFrame } from "../protocol/room-events.ts";
import { Pace } from "../space/pace.ts";
import { iso } from "../space/render.ts";
import { type RoomEvent, RoomStore } from "../storage/room-store.ts";
import type { Sql } from "../storage/sql.ts";
import type { PresenceChange, Present, Published, Relayed, RoomHead, RoomLog } from "./calls.ts";
import type { GatewayLinks } from "./gateway-links.ts";
import { applyPresence, type Move, replacing, rosterOf } from "./presence.ts";
import type { RoomSocket, RoomSockets } from "./room-sockets.ts";

interface Parts {
  name: string;
  sql: Sql;
  sockets: RoomSockets;
  links: GatewayLinks;
  /** Memory and rows no longer agree: start again from the rows. */
  crash: (error: unknown) => void;
}

interface Publication {
  events: readonly PublishedEvent[];
  answer: (published: Published[]) => void;
}

/** How long a room without events stays before it is asked whether anybody follows it. */
const CHECK_EMPTY_MS = 86_400_000;

/** So many sockets take longer to tell than the shortest wait: what came meanwhile goes out together. */
const CROWD = 100;

/** Sockets of the room itself, as presence names what somebody is there over. */
const DIRECT = "";

/** Events in order: stored together as they arrive together, then told. */
export class RoomDesk {
  private store: RoomStore | null;
  private readonly parts: Parts;
  private readonly pace = new Pace();
  private inbox: Publication[] = [];
  private drained: Promise<void> | null = null;

  constructor(parts: Parts) {
    this.parts = parts;
    this.store = RoomStore.find(parts.sql);
    if (this.store) this.settlePresence(this.store);
  }

  /** Empty before the room is made. */
  get epoch(): string {
    return this.store?.epoch ?? "";
  }

  publish(events: readonly PublishedEvent[]): Promise<Published[]> {
    this.pace.arrived(Date.now());
    return new Promise((answer) => {
      this.inbox.push({ events, answer });
      this.drained ??= this.drainSoon();
    });
  }

  /** What there is after `since`, `count` events at most; all that is left where some of it is lost. */
  read(since: Position | null, count?: number): RoomLog {
    const { store } = this;
    if (!store) return { epoch: "", last: 0, recovered: false, events: [] };
    const { epoch, held } = store;
    const recovery = recover(since, { epoch, ...held });
    const events = store.after(recovery.recovered ? recovery.after : held.first - 1, count);
    const relayed = events.map((event) => this.relayedOf(event));
    return { epoch, last: held.last, recovered: recovery.recovered, events: relayed };
  }

  /** A gateway has subscribers here from now on. */
  join(gateway: string, present: readonly PresenceChange[]): RoomHead {
    const store = this.made();
    this.parts.links.joined(gateway);
    const moves = this.parts.sql.transaction(() => {
      store.addGateway(gateway);
      return applyPresence(store, gateway, replacing(store, gateway, present), Date.now());
    });
    this.tell([], moves);
    return { epoch: store.epoch, last: store.held.last };
  }

  leave(gateway: string): void {
    const { store } = this;
    if (!store) return;
    const moves = this.parts.sql.transaction(() => {
      const moves = applyPresence(store, gateway, replacing(store, gateway, []), Date.now());
      store.dropGateway(gateway);
      return moves;
    });
    this.parts.links.forget(gateway);
    this.tell([], moves);
  }

  /** Everyone who is there over a gateway now. */
  present(gateway: string, present: readonly PresenceChange[]): void {
    if (this.store) this.moved(gateway, replacing(this.store, gateway, present));
  }

  /** Users came or went over a gateway. */
  moved(gateway: string, changes: readonly PresenceChange[]): void {
    const { store } = this;
    if (!store?.gateways().includes(gateway)) return;
    const apply = () => applyPresence(store, gateway, changes, Date.now());
    this.tell([], this.parts.sql.transaction(apply));
  }

  roster(): Present[] {
    if (!this.store) return [];
    return [...rosterOf(this.store)].map(([user_id, { connections, since }]) => ({
      user_id,
      connections,
      since: iso(since),
    }));
  }

  gateways(): string[] {
    return this.store?.gateways() ?? [];
  }

  /** The first frames of a socket of this room: where it is, and what it missed. */
  opened(subscriber: RoomSocket, since: Position | null): void {
    const store = this.made();
    const { epoch, held } = store;
    const recovery = recover(since, { epoch, ...held });
    const { recovered } = recovery;
    const offset = recovered ? recovery.after : held.last;
    const { name: room } = this.parts;
    const timestamp = iso(Date.now());
    const connection = { type: "connection", room, epoch, offset, recovered, timestamp };
    this.parts.sockets.send(subscriber, connection);
    const missed = recovered ? store.after(offset) : [];
    const wanted = missed.filter((event) => wants(subscriber.at.filter, event));
    const texts = wanted.map((event) => this.relayedOf(event).text);
    sendFrames(outletOf(subscriber), texts);
    this.directMoved(store, subscriber);
  }

  left(subscriber: RoomSocket): void {
    this.parts.sockets.left(subscriber.socket);
    if (this.store) this.directMoved(this.store, subscriber);
  }

  expire(now: number): void {
    const { store } = this;
    if (store) this.parts.sql.transaction(() => store.expire(now));
  }

  /** Nobody follows it and nothing is left in it. */
  isOver(): boolean {
    return this.isEmpty() && this.parts.sockets.size === 0 && this.gateways().length === 0;
  }

  /** It has no event. */
  isEmpty(): boolean {
    if (!this.store) return true;
    const { first, last } = this.store.held;
    return first > last;
  }

  dueAt(now: number): number | null {
    if (!this.store) return null;
    const checkAt = this.store.expiresAt() ?? now + CHECK_EMPTY_MS;
    return Math.min(checkAt, tokensDueAt(this.parts.sockets.all()) ?? checkAt);
  }

  forget(): void {
    this.store = null;
  }

  private made(): RoomStore {
    const { sql } = this.parts;
    this.store ??= sql.transaction(() => {
      const epoch = crypto.randomUUID().slice(0, 8);
      return RoomStore.make(sql, epoch, Date.now());
    });
    return this.store;
  }

  private async drainSoon(): Promise<void> {
    // What came in with this one has its turn first.
    await Promise.resolve();
    const isCrowd = this.parts.sockets.size >= CROWD;
    if (isCrowd || this.pace.isBrisk(0, Date.now())) await scheduler.wait(0);
    this.drained = null;
    const publications = this.inbox;
    this.inbox = [];
    this.commit(publications);
  }

  private commit(publications: readonly Publication[]): void {
    const fresh: RoomEvent[] = [];
    let answers: Published[][];
    try {
      const store = this.made();
      answers = this.parts.sql.transaction(() => this.place(store, publications, fresh));
    } catch (error) {
      this.parts.crash(error);
      throw error;
    }
    for (const [index, { answer }] of publications.entries()) answer(answers[index] ?? []);
    this.tell(fresh, []);
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
  private tell(events: readonly RoomEvent[], moves: readonly Move[]): void {
    if (events.length === 0 && moves.length === 0) return;
    const relayed = events.map((event) => this.relayedOf(event));
    const texts = relayed.map(({ text }) => text);
    const presence = moves.map((move) => this.presenceText(move));
    for (const subscriber of this.parts.sockets.all()) {
      const { filter, acks } = subscriber.at;
      if (acks || filter) this.tellOne(subscriber, events, relayed);
      else sendFrames(outletOf(subscriber), texts);
      if (subscriber.at.presence) sendFrames(outletOf(subscriber), presence);
    }
    this.parts.links.tell(this.gateways(), relayed, presence);
  }

  /** Sends what one subscriber wants. Who acknowledges and can't take it may come again, and go on where it was. */
  private tellOne(
    subscriber: RoomSocket,
    events: readonly RoomEvent[],
    relayed: readonly Relayed[],
  ): void {
    const { sockets, name } = this.parts;
    const { filter, acks } = subscriber.at;
    const wanted = relayed.filter((_, at) => wants(filter, events[at] ?? NONE));
    if (!acks) {
      const texts = wanted.map(({ text }) => text);
      sendFrames(outletOf(subscriber), texts);
    } else if (!sockets.sendCounted(subscriber, name, wanted)) this.left(subscriber);
  }

  private directMoved(store: RoomStore, { at }: RoomSocket): void {
    const userId = userIdOf(at.principal);
    if (userId === null) return;
    const present = this.parts.sockets.present().find((one) => one.userId === userId);
    const change = { userId, connections: present?.connections ?? 0 };
    const apply = () => applyPresence(store, DIRECT, [change], Date.now());
    this.tell([], this.parts.sql.transaction(apply));
  }

  /** Sockets that were lost with the last memory said no goodbye. */
  private settlePresence(store: RoomStore): void {
    const present = this.parts.sockets.present();
    const changes = replacing(store, DIRECT, present);
    if (changes.length === 0) return;
    const apply = () => applyPresence(store, DIRECT, changes, Date.now());
    this.tell([], this.parts.sql.transaction(apply));
  }

  private relayedOf({ type, id, offset, at, data }: RoomEvent): Relayed {
    const frame: RoomEventFrame = {
      type,
      room: this.parts.name,
      id,
      offset,
      timestamp: iso(at),
      data,
    };
    return { offset, text: JSON.stringify(frame) };
  }

  private presenceText({ type, userId }: Move): string {
    const timestamp = iso(Date.now());
    return JSON.stringify({ type, room: this.parts.name, user_id: userId, timestamp });
  }
}

/** No event there is. */
const NONE = { type: "", data: {} };

function outletOf({ socket, at }: RoomSocket) {
  return { socket, batch: at.batch };
}
