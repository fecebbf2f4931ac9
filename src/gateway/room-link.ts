import { userIdOf } from "../auth/session.ts";
import { wants } from "../channel/filter.ts";
import { sendFrames } from "../channel/outlet.ts";
import type { Position } from "../channel/position.ts";
import type { Unacknowledged } from "../channel/unacknowledged.ts";
import { type RoomEventFrame, roomEventFrame } from "../protocol/room-events.ts";
import type { Delivery, PresenceChange, Relayed, RoomHead, RoomLog } from "../room/calls.ts";
import { quietly } from "../space/core.ts";
import { type Client, outletOf, subscriptionOf } from "./gateway-sockets.ts";
import { LinkUsers } from "./link-users.ts";

/** The room as the gateway calls it. */
export interface RoomCalls {
  join(gateway: string, present: PresenceChange[], isWatched: boolean): Promise<RoomHead>;
  read(since: Position): Promise<RoomLog>;
  moved(gateway: string, changes: PresenceChange[]): Promise<void>;
}

interface Parts {
  room: string;
  gateway: string;
  /** Asked for each call anew: a stub of an object that crashed stays broken. */
  calls: () => RoomCalls;
  /** Where a gateway that hibernates remembers what it has passed on. */
  keepHead: (head: Position) => void;
  unacknowledged: Unacknowledged<Client>;
  /** The client is too far behind to be sent more. */
  cut: (client: Client) => void;
}

/** A client's subscription, from its beginning to its end. */
interface Follower {
  /** While it is sent what it missed: what has come since. */
  held: Relayed[] | null;
  /** It has everything up to here already. */
  after: number;
}

/**
 * One room as this gateway follows it for all its clients. The room calls with every batch of events,
 * in order; `head` is the last that was passed on, so that a batch that was lost on the way shows, and
 * one that comes twice does no harm.
 */
export class RoomLink {
  private readonly parts: Parts;
  private readonly followers = new Map<Client, Follower>();
  private readonly users: LinkUsers;
  private head: Position | null;
  private joining: Promise<void> | null = null;
  private turn: Promise<unknown> = Promise.resolve();

  /** `head`: what had been passed on when the gateway was last awake, if it followed the room then. */
  constructor(parts: Parts, head: Position | null) {
    this.parts = parts;
    this.head = head;
    const { room, gateway } = parts;
    this.users = new LinkUsers(room, (changes) => parts.calls().moved(gateway, changes));
  }

  get size(): number {
    return this.followers.size;
  }

  /** A client that was here before the gateway hibernated. */
  restore(client: Client): void {
    this.followers.set(client, { held: null, after: 0 });
    this.users.restored(userIdOf(client.at.principal));
  }

  /** A client whose socket closed while the gateway was away. */
  departed(client: Client): void {
    this.users.moved(userIdOf(client.at.principal), 0);
  }

  /** Adds a client and sends it, once `after` is done, `subscribed`, what it missed, and from then on every event. */
  async subscribe(
    client: Client,
    since: Position | null,
    ref?: string | number,
    after?: Promise<void>,
  ): Promise<void> {
    const follower: Follower = { held: [], after: 0 };
    this.followers.set(client, follower);
    this.users.moved(userIdOf(client.at.principal), 1);
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
    this.parts.unacknowledged.forget(client, this.parts.room);
    this.users.moved(userIdOf(client.at.principal), -1);
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
    if (this.head !== null) return Promise.resolve();
    this.joining ??= this.enter().finally(() => {
      this.joining = null;
    });
    return this.joining;
  }

  private async enter(): Promise<void> {
    const { calls, gateway, room } = this.parts;
    const clients = [...this.followers.keys()];
    const isWatched = clients.some((client) => subscriptionOf(client, room)?.presence);
    const { epoch, last } = await calls().join(gateway, this.users.introduce(), isWatched);
    // A batch may have overtaken the answer.
    this.head ??= this.kept({ epoch, offset: last });
  }

  private begin(
    client: Client,
    follower: Follower,
    since: Position | null,
    missed: RoomLog | null,
    ref?: string | number,
  ): void {
    const { head } = this;
    if (head === null) return;
    const { epoch } = head;
    const recovered = missed?.recovered === true && missed.epoch === epoch;
    const offset = recovered && since ? since.offset : head.offset;
    const { room } = this.parts;
    const subscribed = { type: "subscribed", room, epoch, offset, recovered, ref };
    sendFrames(outletOf(client), [JSON.stringify(subscribed)]);
    const events = recovered && missed ? missed.events : [];
    const last = events.at(-1)?.offset ?? offset;
    const later = (follower.held ?? []).filter((event) => event.offset > last);
    this.send(client, this.wanted(client, [...events, ...later]));
    follower.after = later.at(-1)?.offset ?? last;
    follower.held = null;
  }

  private async pass({ epoch, events, last, presence }: Delivery): Promise<number> {
    const from = (events[0]?.offset ?? last + 1) - 1;
    this.head ??= { epoch, offset: from };
    if (this.head.epoch !== epoch) this.startAnew({ epoch, offset: from });
    if (from > this.head.offset) await this.passLacking(from);
    this.passOn(events);
    if (last > this.head.offset) await this.passLacking(last);
    for (const client of presence.length > 0 ? this.followers.keys() : []) {
      if (subscriptionOf(client, this.parts.room)?.presence) {
        sendFrames(outletOf(client), presence);
      }
    }
    return this.size;
  }

  /** What the room could not tell in time, up to `to`, read from its log; where it is gone, clients are told so. */
  private async passLacking(to: number): Promise<void> {
    const { head } = this;
    if (head === null) return;
    const { recovered, epoch, events } = await this.parts.calls().read(head);
    const lacking = events.filter(({ offset }) => offset <= to);
    if (recovered && lacking.length === to - head.offset) this.passOn(lacking);
    else this.startAnew({ epoch, offset: to });
  }

  /** Events are lost: an explicit gap. */
  private startAnew(head: Position): void {
    const { room } = this.parts;
    const { epoch, offset } = this.kept(head);
    this.head = head;
    const subscribed = { type: "subscribed", room, epoch, offset, recovered: false };
    const texts = [JSON.stringify(subscribed)];
    for (const [client, follower] of this.followers) {
      this.parts.unacknowledged.forget(client, room);
      follower.after = 0;
      if (follower.held) follower.held = [];
      else sendFrames(outletOf(client), texts);
    }
  }

  private passOn(events: readonly Relayed[]): void {
    const { head } = this;
    if (head === null) return;
    const fresh = events.filter(({ offset }) => offset > head.offset);
    const last = fresh.at(-1);
    if (!last) return;
    this.head = this.kept({ epoch: head.epoch, offset: last.offset });
    const texts = fresh.map(({ text }) => text);
    for (const [client, follower] of this.followers) {
      if (follower.held) follower.held.push(...fresh);
      else if (this.isPlain(client) && follower.after <= head.offset) {
        sendFrames(outletOf(client), texts);
      } else quietly(() => this.passTo(client, follower, fresh));
    }
  }

  /** It gets what everyone gets. */
  private isPlain(client: Client): boolean {
    return !client.at.acks && !subscriptionOf(client, this.parts.room)?.filter;
  }

  /** What a client asked for when it subscribed is not counted; what comes live is. */
  private passTo(client: Client, follower: Follower, events: readonly Relayed[]): void {
    const later = events.filter(({ offset }) => offset > follower.after);
    const wanted = this.wanted(client, later);
    if (!client.at.acks) {
      this.send(client, wanted);
      return;
    }
    const admitted = this.parts.unacknowledged.admit(client, this.parts.room, wanted);
    this.send(client, admitted);
    if (admitted.length < wanted.length) this.parts.cut(client);
  }

  private wanted(client: Client, events: readonly Relayed[]): readonly Relayed[] {
    const filter = subscriptionOf(client, this.parts.room)?.filter ?? null;
    return filter ? events.filter((event) => wants(filter, parsed(event))) : events;
  }

  private send(client: Client, events: readonly Relayed[]): void {
    const texts = events.map(({ text }) => text);
    sendFrames(outletOf(client), texts);
  }

  private kept(head: Position): Position {
    this.parts.keepHead(head);
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
