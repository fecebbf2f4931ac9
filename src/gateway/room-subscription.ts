import { userIdOf } from "../auth/session.ts";
import type { AckWindow } from "../channel/ack-window.ts";
import { wants } from "../channel/filter.ts";
import type { Position } from "../channel/position.ts";
import { sendFrames } from "../objects/frame-target.ts";
import { logErrors } from "../objects/log-errors.ts";
import { type RoomEventFrame, roomEventFrame } from "../protocol/room-events.ts";
import type { Delivery, PresenceChange, Relayed, RoomLog, RoomLogEnd } from "../room/calls.ts";
import { type Client, subscriptionOf, targetOf } from "./gateway-sockets.ts";
import { RoomPresence } from "./room-presence.ts";

/** The room as the gateway calls it. */
export interface RoomCalls {
  join(gateway: string, present: PresenceChange[], isWatched: boolean): Promise<RoomLogEnd>;
  read(since: Position): Promise<RoomLog>;
  changePresence(gateway: string, changes: PresenceChange[]): Promise<void>;
}

interface Parts {
  room: string;
  gateway: string;
  /** Asked for each call anew: a stub of an object that crashed stays broken. */
  calls: () => RoomCalls;
  /** Where a gateway that hibernates remembers what it has passed on. */
  keepLogEnd: (head: Position) => void;
  ackWindow: AckWindow<Client>;
  /** The client is too far behind to be sent more. */
  cut: (client: Client) => void;
}

/** A client's subscription, from its beginning to its end. */
interface Follower {
  /** While it is sent what it missed: what has come since. */
  pending: Relayed[] | null;
  /** It has everything up to here already. */
  after: number;
}

/**
 * One room as this gateway follows it for all its clients. The room calls with every batch of events,
 * in order; `head` is the last that was passed on, so that a batch that was lost on the way shows, and
 * one that comes twice does no harm.
 */
export class RoomSubscription {
  private readonly parts: Parts;
  private readonly followers = new Map<Client, Follower>();
  private readonly users: RoomPresence;
  private logEnd: Position | null;
  private joining: Promise<void> | null = null;
  private turn: Promise<unknown> = Promise.resolve();

  /** `head`: what had been passed on when the gateway was last awake, if it followed the room then. */
  constructor(parts: Parts, head: Position | null) {
    this.parts = parts;
    this.logEnd = head;
    const { room, gateway } = parts;
    this.users = new RoomPresence(room, (changes) =>
      parts.calls().changePresence(gateway, changes),
    );
  }

  get size(): number {
    return this.followers.size;
  }

  /** A client that was here before the gateway hibernated. */
  restore(client: Client): void {
    this.followers.set(client, { pending: null, after: 0 });
    this.users.restore(userIdOf(client.attachment.principal));
  }

  /** A client whose socket closed while the gateway was away. */
  onLateClose(client: Client): void {
    this.users.change(userIdOf(client.attachment.principal), 0);
  }

  /** Adds a client and sends it, once `after` is done, `subscribed`, what it missed, and from then on every event. */
  async subscribe(
    client: Client,
    since: Position | null,
    ref?: string | number,
    after?: Promise<void>,
  ): Promise<void> {
    const follower: Follower = { pending: [], after: 0 };
    this.followers.set(client, follower);
    this.users.change(userIdOf(client.attachment.principal), 1);
    const isCurrent = () => this.followers.get(client) === follower;
    try {
      await this.join();
      await after;
      const missed = since === null ? null : await this.parts.calls().read(since);
      // Meanwhile it may have left, or subscribed once more.
      if (isCurrent()) this.begin(client, follower, since, missed, ref);
    } catch (error) {
      if (!isCurrent()) return;
      this.remove(client);
      throw error;
    }
  }

  remove(client: Client): void {
    if (!this.followers.delete(client)) return;
    this.parts.ackWindow.forget(client, this.parts.room);
    this.users.change(userIdOf(client.attachment.principal), -1);
  }

  /** Passes a batch on, after those before it. */
  deliver(delivery: Delivery): Promise<number> {
    const delivered = this.turn.then(() => this.pass(delivery));
    this.turn = delivered.catch(() => undefined);
    return delivered;
  }

  /** Every user with sockets in the room here. */
  present(): PresenceChange[] {
    return this.users.present();
  }

  stop(): void {
    this.users.stop();
  }

  /** Makes the room tell this gateway what happens in it. */
  join(): Promise<void> {
    if (this.logEnd !== null) return Promise.resolve();
    this.joining ??= this.enter().finally(() => {
      this.joining = null;
    });
    return this.joining;
  }

  private async enter(): Promise<void> {
    const { calls, gateway, room } = this.parts;
    const clients = [...this.followers.keys()];
    const isWatched = clients.some((client) => subscriptionOf(client, room)?.presence);
    const { epoch, last } = await calls().join(gateway, this.users.takeAll(), isWatched);
    // A batch may have overtaken the answer.
    this.logEnd ??= this.kept({ epoch, offset: last });
  }

  private begin(
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
    const { room } = this.parts;
    const subscribed = { type: "subscribed", room, epoch, offset, recovered, ref };
    sendFrames(targetOf(client), [JSON.stringify(subscribed)]);
    const events = recovered && missed ? missed.events : [];
    const last = events.at(-1)?.offset ?? offset;
    const later = (follower.pending ?? []).filter((event) => event.offset > last);
    this.send(client, this.wanted(client, [...events, ...later]));
    follower.after = later.at(-1)?.offset ?? last;
    follower.pending = null;
  }

  private async pass({ epoch, events, last, presence }: Delivery): Promise<number> {
    const from = (events[0]?.offset ?? last + 1) - 1;
    this.logEnd ??= { epoch, offset: from };
    if (this.logEnd.epoch !== epoch) this.startAnew({ epoch, offset: from });
    if (from > this.logEnd.offset) await this.passLacking(from);
    this.passOn(events);
    if (last > this.logEnd.offset) await this.passLacking(last);
    for (const client of presence.length > 0 ? this.followers.keys() : []) {
      if (subscriptionOf(client, this.parts.room)?.presence) {
        sendFrames(targetOf(client), presence);
      }
    }
    return this.size;
  }

  /** What the room could not tell in time, up to `to`, read from its log; where it is gone, clients are told so. */
  private async passLacking(to: number): Promise<void> {
    const { logEnd } = this;
    if (logEnd === null) return;
    const { recovered, epoch, events } = await this.parts.calls().read(logEnd);
    const lacking = events.filter(({ offset }) => offset <= to);
    if (recovered && lacking.length === to - logEnd.offset) this.passOn(lacking);
    else this.startAnew({ epoch, offset: to });
  }

  /** Events are lost: an explicit gap. */
  private startAnew(head: Position): void {
    const { room } = this.parts;
    const { epoch, offset } = this.kept(head);
    this.logEnd = head;
    const subscribed = { type: "subscribed", room, epoch, offset, recovered: false };
    const texts = [JSON.stringify(subscribed)];
    for (const [client, follower] of this.followers) {
      this.parts.ackWindow.forget(client, room);
      follower.after = 0;
      if (follower.pending) follower.pending = [];
      else sendFrames(targetOf(client), texts);
    }
  }

  private passOn(events: readonly Relayed[]): void {
    const { logEnd } = this;
    if (logEnd === null) return;
    const fresh = events.filter(({ offset }) => offset > logEnd.offset);
    const last = fresh.at(-1);
    if (!last) return;
    this.logEnd = this.kept({ epoch: logEnd.epoch, offset: last.offset });
    const texts = fresh.map(({ text }) => text);
    for (const [client, follower] of this.followers) {
      if (follower.pending) follower.pending.push(...fresh);
      else if (this.isPlain(client) && follower.after <= logEnd.offset) {
        sendFrames(targetOf(client), texts);
      } else logErrors(() => this.passTo(client, follower, fresh));
    }
  }

  /** It gets what everyone gets. */
  private isPlain(client: Client): boolean {
    return !client.attachment.acks && !subscriptionOf(client, this.parts.room)?.filter;
  }

  /** What a client asked for when it subscribed is not counted; what comes live is. */
  private passTo(client: Client, follower: Follower, events: readonly Relayed[]): void {
    const later = events.filter(({ offset }) => offset > follower.after);
    const wanted = this.wanted(client, later);
    if (!client.attachment.acks) {
      this.send(client, wanted);
      return;
    }
    const admitted = this.parts.ackWindow.admit(client, this.parts.room, wanted);
    this.send(client, admitted);
    if (admitted.length < wanted.length) this.parts.cut(client);
  }

  private wanted(client: Client, events: readonly Relayed[]): readonly Relayed[] {
    const filter = subscriptionOf(client, this.parts.room)?.filter ?? null;
    return filter ? events.filter((event) => wants(filter, parsed(event))) : events;
  }

  private send(client: Client, events: readonly Relayed[]): void {
    const texts = events.map(({ text }) => text);
    sendFrames(targetOf(client), texts);
  }

  private kept(head: Position): Position {
    this.parts.keepLogEnd(head);
    return head;
  }
}

/** The same event is asked about for many filters: it is read once. */
const read = new WeakMap<Relayed, RoomEventFrame>();

function parsed(event: Relayed): RoomEventFrame {
  const known = read.get(event);
  if (known) return known;
  const made = roomEventFrame.parse(JSON.parse(event.text));
  read.set(event, made);
  return made;
}
