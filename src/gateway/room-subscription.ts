import { userIdOf } from "../auth/session.ts";
import type { AckWindow } from "../channel/ack-window.ts";
import { wants } from "../channel/filter.ts";
import type { Position } from "../channel/position.ts";
import type { CatchUpPace } from "../objects/catch-up-pace.ts";
import { logErrors } from "../objects/log-errors.ts";
import { type RoomEventFrame, roomEventFrame } from "../protocol/room-events.ts";
import type { PresenceChange, Relayed, RoomDelivery, RoomLog, RoomLogEnd } from "../room/calls.ts";
import { type Client, subscriptionOf, tell } from "./gateway-sockets.ts";
import { type RangeToRead, readInPieces } from "./room-pieces.ts";
import { RoomUsers } from "./room-users.ts";

/** The calls that a gateway makes to a room. */
export interface RoomCalls {
  join(gateway: string, present: PresenceChange[], isWatched: boolean): Promise<RoomLogEnd>;
  read(since: Position): Promise<RoomLog>;
  changePresence(gateway: string, changes: PresenceChange[]): Promise<void>;
  checkPresence(gateway: string): Promise<void>;
}

interface RoomSubscriptionDeps {
  room: string;
  gateway: string;
  /** Called again for each call: the stub of an object that crashed stays broken. */
  calls: () => RoomCalls;
  /** Stores the position of the last event that was sent on, for after hibernation. */
  storeLogEnd: (logEnd: Position) => void;
  ackWindow: AckWindow<Client>;
  /** Spreads over time what a client is sent to catch up. */
  pace: CatchUpPace<Client>;
  /** Closes a client that is too far behind to be sent more. */
  cutOff: (client: Client) => void;
  /** Users who dropped are awaited until this time, milliseconds since 1970. */
  onGrace: (endsAt: number) => void;
}

/** A client that follows the room. */
interface Follower {
  /** Its turn has come. Before that it needs no events: it starts at the log's end, or they are read for it. */
  isStarting: boolean;
  /** Events that arrived while what it missed is still being read; `null` once it gets them live. */
  pending: Relayed[] | null;
  /** The client has every event up to this offset already. */
  after: number;
}

/**
 * One room, which this gateway follows for all its clients (decision 0021). The room calls with each batch
 * of events; `logEnd` is the position of the last event that was sent on. It makes deliveries safe to lose
 * or repeat. Example: 5 was sent on, the call with 6 and 7 fails, the next one brings 8. As 8 does not
 * follow 5, the gateway first reads 6 and 7 from the room's log; without `logEnd` clients would get 8 right
 * after 5. If the failed call arrives late after all, 6 and 7 are left out: they are not after `logEnd`.
 */
export class RoomSubscription {
  private readonly deps: RoomSubscriptionDeps;
  private readonly followers = new Map<Client, Follower>();
  private readonly presence: RoomUsers;
  /** `null`: not joined yet. */
  private logEnd: Position | null;
  private joining: Promise<void> | null = null;
  /** Ends with the latest delivery; the next one waits for it. */
  private lastDelivery: Promise<unknown> = Promise.resolve();

  /** @param logEnd what was sent on before the gateway hibernated, if it followed the room then */
  constructor(deps: RoomSubscriptionDeps, logEnd: Position | null) {
    this.deps = deps;
    this.logEnd = logEnd;
    const { room, gateway, onGrace } = deps;
    this.presence = new RoomUsers({
      room,
      report: (changes) => deps.calls().changePresence(gateway, changes),
      onGrace,
    });
  }

  /** Whether the room is to call this gateway on: it has followers, or changes that are not reported yet. */
  get isNeeded(): boolean {
    return this.followers.size > 0 || this.presence.isUnsettled;
  }

  /** When `settlePresence` is due, milliseconds since 1970; `null` if nobody is awaited. */
  get presenceDueAt(): number | null {
    return this.presence.dueAt();
  }

  settlePresence(now: number): void {
    this.presence.settle(now);
  }

  /** Adds a client whose socket stayed open while the gateway hibernated. */
  restore(client: Client): void {
    this.followers.set(client, { isStarting: true, pending: null, after: 0 });
    this.presence.restore(userIdOf(client.attachment.principal));
  }

  /** The socket of a client closed while the gateway was hibernating: the room has yet to learn that. */
  onLateClose(client: Client, isLeaving: boolean): void {
    const userId = userIdOf(client.attachment.principal);
    if (isLeaving) this.presence.change(userId, 0);
    else this.presence.drop(userId, 0);
  }

  /**
   * Adds a client and sends it `subscribed`, then what it missed since `since`, and from then on every event.
   *
   * @param after nothing is sent before this resolves
   */
  async subscribe(
    client: Client,
    since: Position | null,
    ref?: string | number,
    after?: Promise<unknown>,
  ): Promise<void> {
    const follower: Follower = { isStarting: false, pending: [], after: 0 };
    this.followers.set(client, follower);
    this.presence.change(userIdOf(client.attachment.principal), 1);
    const isCurrent = () => this.followers.get(client) === follower;
    try {
      await this.join();
      await after;
      if (since !== null) await this.deps.pace.enter(client, 0);
      if (!isCurrent()) return;
      follower.isStarting = true;
      const missed = since === null ? null : await this.missedBy(client, since);
      // Meanwhile the client may have left, or subscribed again.
      if (isCurrent()) this.start(client, follower, since, missed, ref);
    } catch (error) {
      if (!isCurrent()) return;
      this.remove(client, true);
      throw error;
    }
  }

  /** @param isLeaving the client is done here; otherwise it may be back soon */
  remove(client: Client, isLeaving: boolean): void {
    if (!this.followers.delete(client)) return;
    this.deps.ackWindow.forget(client, this.deps.room);
    const userId = userIdOf(client.attachment.principal);
    if (isLeaving) this.presence.change(userId, -1);
    else this.presence.drop(userId, 1);
  }

  /** Sends a batch on, after the batches before it; resolves to the number of followers. */
  deliver(delivery: RoomDelivery): Promise<number> {
    const delivered = this.lastDelivery.then(() => this.onDelivery(delivery));
    this.lastDelivery = delivered.catch(() => undefined);
    return delivered;
  }

  /** Sends on the events up to this offset now, even if their delivery is still under way. */
  async sendUpTo(offset: number): Promise<void> {
    const sent = this.lastDelivery.then(async () => {
      if (this.logEnd !== null && this.logEnd.offset < offset) await this.sendMissing(offset);
    });
    this.lastDelivery = sent.catch((error) => {
      console.error(`events of ${this.deps.room} could not be read`, error);
    });
    await this.lastDelivery;
  }

  /** The users who follow the room over this gateway. */
  present(): PresenceChange[] {
    return this.presence.present();
  }

  stop(): void {
    this.presence.stop();
  }

  /** Makes the room deliver its events to this gateway, unless it does already. */
  join(): Promise<void> {
    if (this.logEnd !== null) return Promise.resolve();
    this.joining ??= this.joinNow().finally(() => {
      this.joining = null;
    });
    return this.joining;
  }

  private async joinNow(): Promise<void> {
    const { calls, gateway, room } = this.deps;
    const clients = [...this.followers.keys()];
    const isWatched = clients.some((client) => subscriptionOf(client, room)?.presence);
    const { epoch, last } = await calls().join(gateway, this.presence.takeAll(), isWatched);
    // The first batch may arrive before this answer, and has set the log end then.
    this.logEnd ??= this.stored({ epoch, offset: last });
  }

  /** Reads what a client missed, unless that is nothing. The caller has waited until the client may be sent it. */
  private async missedBy(client: Client, since: Position): Promise<RoomLog> {
    const { logEnd } = this;
    if (logEnd !== null && logEnd.epoch === since.epoch && logEnd.offset === since.offset) {
      return { epoch: since.epoch, last: since.offset, recovered: true, more: false, events: [] };
    }
    const { pace } = this.deps;
    return this.read(since, Number.POSITIVE_INFINITY, (bytes) => pace.enter(client, bytes));
  }

  private read(...range: RangeToRead): Promise<RoomLog> {
    return readInPieces((from) => this.deps.calls().read(from), ...range);
  }

  private start(
    client: Client,
    follower: Follower,
    since: Position | null,
    missed: RoomLog | null,
    ref?: string | number,
  ): void {
    const { logEnd } = this;
    if (logEnd === null) return;
    const { epoch } = logEnd;
    const recovered = missed?.recovered === true && missed.epoch === epoch;
    const offset = recovered && since ? since.offset : logEnd.offset;
    const { room } = this.deps;
    const subscribed = { type: "subscribed", room, epoch, offset, recovered, ref };
    tell(client, [JSON.stringify(subscribed)]);
    const events = recovered && missed ? missed.events : [];
    const last = events.at(-1)?.offset ?? offset;
    const later = (follower.pending ?? []).filter((event) => event.offset > last);
    this.send(client, this.wanted(client, [...events, ...later]));
    follower.after = later.at(-1)?.offset ?? last;
    follower.pending = null;
  }

  private async onDelivery({ epoch, events, last, presence }: RoomDelivery): Promise<number> {
    const from = (events[0]?.offset ?? last + 1) - 1;
    this.logEnd ??= { epoch, offset: from };
    if (this.logEnd.epoch !== epoch) this.restart({ epoch, offset: from });
    if (from > this.logEnd.offset) await this.sendMissing(from);
    // If the room began anew while its log was read, these events are of a log that is gone.
    if (this.logEnd.epoch === epoch) {
      this.sendOn(events);
      if (last > this.logEnd.offset) await this.sendMissing(last);
    }
    for (const client of presence.length > 0 ? this.followers.keys() : []) {
      if (subscriptionOf(client, this.deps.room)?.presence) {
        tell(client, presence);
      }
    }
    return this.followers.size;
  }

  /**
   * Sends on the events up to `to` that no delivery brought: reads them from the room's log. If the log no
   * longer has them, starts again after them. If the room began anew meanwhile, `to` says nothing about its log:
   * then it starts after the newest event there.
   */
  private async sendMissing(to: number): Promise<void> {
    const { logEnd } = this;
    if (logEnd === null) return;
    const { recovered, epoch, last, events } = await this.read(logEnd, to);
    const missing = events.filter(({ offset }) => offset <= to);
    if (recovered && missing.length === to - logEnd.offset) this.sendOn(missing);
    else this.restart({ epoch, offset: epoch === logEnd.epoch ? to : last });
  }

  /** Events are lost for good: tells every client so with a new `subscribed` (R5), and goes on from `logEnd`. */
  private restart(logEnd: Position): void {
    const { room } = this.deps;
    const { epoch, offset } = this.stored(logEnd);
    this.logEnd = logEnd;
    const subscribed = { type: "subscribed", room, epoch, offset, recovered: false };
    const texts = [JSON.stringify(subscribed)];
    for (const [client, follower] of this.followers) {
      this.deps.ackWindow.forget(client, room);
      follower.after = 0;
      if (!follower.isStarting) continue;
      if (follower.pending) follower.pending = [];
      else tell(client, texts);
    }
  }

  private sendOn(events: readonly Relayed[]): void {
    const { logEnd } = this;
    if (logEnd === null) return;
    const newEvents = events.filter(({ offset }) => offset > logEnd.offset);
    const last = newEvents.at(-1);
    if (!last) return;
    this.logEnd = this.stored({ epoch: logEnd.epoch, offset: last.offset });
    const texts = newEvents.map(({ text }) => text);
    for (const [client, follower] of this.followers) {
      if (!follower.isStarting) continue;
      if (follower.pending) follower.pending.push(...newEvents);
      else if (this.isPlain(client) && follower.after <= logEnd.offset) {
        tell(client, texts);
      } else logErrors(() => this.sendWanted(client, follower, newEvents));
    }
  }

  /** Whether the client gets every event, uncounted: the same texts can then go to all such clients. */
  private isPlain(client: Client): boolean {
    return !client.attachment.acks && !subscriptionOf(client, this.deps.room)?.filter;
  }

  /**
   * Sends live events through a client's filter. If it acknowledges, they count as unacknowledged bytes,
   * unlike events that it gets to catch up (R15b).
   */
  private sendWanted(client: Client, follower: Follower, events: readonly Relayed[]): void {
    const later = events.filter(({ offset }) => offset > follower.after);
    const wanted = this.wanted(client, later);
    if (!client.attachment.acks) {
      this.send(client, wanted);
      return;
    }
    const admitted = this.deps.ackWindow.admit(client, this.deps.room, wanted);
    this.send(client, admitted);
    if (admitted.length < wanted.length) this.deps.cutOff(client);
  }

  private wanted(client: Client, events: readonly Relayed[]): readonly Relayed[] {
    const filter = subscriptionOf(client, this.deps.room)?.filter ?? null;
    return filter ? events.filter((event) => wants(filter, parse(event))) : events;
  }

  private send(client: Client, events: readonly Relayed[]): void {
    const texts = events.map(({ text }) => text);
    tell(client, texts);
  }

  private stored(logEnd: Position): Position {
    this.deps.storeLogEnd(logEnd);
    return logEnd;
  }
}

/** Parsed events: the same event is matched against many filters, but parsed once. */
const parsedEvents = new WeakMap<Relayed, RoomEventFrame>();

function parse(event: Relayed): RoomEventFrame {
  const known = parsedEvents.get(event);
  if (known) return known;
  const made = roomEventFrame.parse(JSON.parse(event.text));
  parsedEvents.set(event, made);
  return made;
}
