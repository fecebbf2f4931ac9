import { userIdOf } from "../auth/session.ts";
import { wants } from "../channel/filter.ts";
import { sendFrames } from "../channel/outlet.ts";
import type { Position } from "../channel/position.ts";
import type { Unacknowledged } from "../channel/unacknowledged.ts";
import { roomEventFrame } from "../protocol/room-events.ts";
import type { Delivery, PresenceChange, Relayed, RoomHead, RoomLog } from "../room/calls.ts";
import { type Client, outletOf, subscriptionOf } from "./gateway-sockets.ts";

/** The room as the gateway calls it. */
export interface RoomCalls {
  join(gateway: string, present: PresenceChange[]): Promise<RoomHead>;
  leave(gateway: string): Promise<void>;
  read(since: Position): Promise<RoomLog>;
  moved(gateway: string, changes: PresenceChange[]): Promise<void>;
}

interface Parts {
  room: string;
  gateway: string;
  calls: RoomCalls;
  /** Where a gateway that hibernates remembers what it has passed on. */
  keepHead: (head: Position) => void;
  unacknowledged: Unacknowledged<Client>;
  /** The client is too far behind to be sent more. */
  cut: (client: Client) => void;
}

/** Who came or went is told together with whatever else does soon after. */
const PRESENCE_AFTER_MS = 50;

/**
 * One room as this gateway follows it for all its clients. The room calls with every batch of events,
 * in order; `head` is the last that was passed on, so that a batch that was lost on the way shows, and
 * one that comes twice does no harm.
 */
export class RoomLink {
  private readonly parts: Parts;
  private readonly clients = new Set<Client>();
  /** How many sockets each user has among them. */
  private readonly users = new Map<string, number>();
  /** Clients that wait for what they missed; what comes meanwhile is held back for them. */
  private readonly catchingUp = new Map<Client, Relayed[]>();
  private head: Position | null;
  private joining: Promise<void> | null = null;
  private turn: Promise<unknown> = Promise.resolve();
  private readonly moves = new Set<string>();
  private movesTimer: ReturnType<typeof setTimeout> | null = null;

  /** `head`: what had been passed on when the gateway was last awake, if it followed the room then. */
  constructor(parts: Parts, head: Position | null) {
    this.parts = parts;
    this.head = head;
  }

  get size(): number {
    return this.clients.size;
  }

  /** A client that was here before the gateway hibernated. */
  restore(client: Client): void {
    this.clients.add(client);
    this.count(client, 1);
  }

  /**
   * Adds a client and sends it `subscribed`, what it missed, and from then on every event.
   *
   * @returns `false` where it has left meanwhile
   */
  async subscribe(client: Client, since: Position | null, ref?: string | number): Promise<boolean> {
    this.catchingUp.set(client, []);
    this.clients.add(client);
    this.moved(client, 1);
    try {
      await this.join();
      const missed = since === null ? null : await this.parts.calls.read(since);
      return this.begin(client, since, missed, ref);
    } catch (error) {
      this.remove(client);
      throw error;
    } finally {
      this.catchingUp.delete(client);
    }
  }

  remove(client: Client): void {
    if (!this.clients.delete(client)) return;
    this.catchingUp.delete(client);
    this.parts.unacknowledged.forget(client, this.parts.room);
    this.moved(client, -1);
  }

  /** Passes a batch on, after those before it. */
  deliver(delivery: Delivery): Promise<number> {
    const delivered = this.turn.then(() => this.pass(delivery));
    this.turn = delivered.catch(() => undefined);
    return delivered;
  }

  /** Every user with sockets in the room here. */
  present(): PresenceChange[] {
    return [...this.users].map(([userId, connections]) => ({ userId, connections }));
  }

  stop(): void {
    if (this.movesTimer !== null) clearTimeout(this.movesTimer);
    this.movesTimer = null;
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
    const { calls, gateway } = this.parts;
    const { epoch, last } = await calls.join(gateway, this.present());
    // A batch may have overtaken the answer.
    this.head ??= this.kept({ epoch, offset: last });
  }

  private begin(
    client: Client,
    since: Position | null,
    missed: RoomLog | null,
    ref?: string | number,
  ): boolean {
    const { room } = this.parts;
    const { head } = this;
    if (!this.clients.has(client) || head === null) return false;
    const recovered = missed?.recovered === true && missed.epoch === head.epoch;
    const from = recovered && since ? since.offset : head.offset;
    const subscribed = {
      type: "subscribed",
      room,
      epoch: head.epoch,
      offset: from,
      recovered,
      ref,
    };
    sendFrames(outletOf(client), [JSON.stringify(subscribed)]);
    if (!recovered || !missed) return true;
    // What is beyond the head comes with the next batch; what was passed on meanwhile was held back.
    const events = missed.events.filter(({ offset }) => offset <= head.offset);
    const held = this.catchingUp.get(client) ?? [];
    const last = events.at(-1)?.offset ?? from;
    const later = held.filter(({ offset }) => offset > last);
    this.send(client, this.wanted(client, [...events, ...later]));
    return true;
  }

  private async pass({ epoch, events, presence }: Delivery): Promise<number> {
    const [first] = events;
    if (first) {
      if (this.head === null) this.head = { epoch, offset: first.offset - 1 };
      if (this.head.epoch !== epoch) this.startAnew({ epoch, offset: first.offset - 1 });
      const lacking = first.offset > this.head.offset + 1 ? await this.lacking(first.offset) : [];
      this.passOn([...lacking, ...events]);
    }
    for (const client of presence.length > 0 ? this.clients : []) {
      if (subscriptionOf(client, this.parts.room)?.presence) {
        sendFrames(outletOf(client), presence);
      }
    }
    return this.clients.size;
  }

  /** What the room could not tell in time, read from its log; where it is gone, clients are told so. */
  private async lacking(before: number): Promise<Relayed[]> {
    const { head } = this;
    if (head === null) return [];
    const { recovered, events } = await this.parts.calls.read(head);
    if (!recovered) {
      this.startAnew({ epoch: head.epoch, offset: before - 1 });
      return [];
    }
    return events.filter(({ offset }) => offset < before);
  }

  /** Events are lost: an explicit gap. */
  private startAnew(head: Position): void {
    const { room } = this.parts;
    const { epoch, offset } = this.kept(head);
    this.head = head;
    const subscribed = { type: "subscribed", room, epoch, offset, recovered: false };
    const texts = [JSON.stringify(subscribed)];
    for (const client of this.clients) {
      this.parts.unacknowledged.forget(client, room);
      if (!this.catchingUp.has(client)) sendFrames(outletOf(client), texts);
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
    for (const client of this.clients) {
      const held = this.catchingUp.get(client);
      if (held) held.push(...fresh);
      else if (client.at.acks) this.sendCounted(client, this.wanted(client, fresh));
      else if (subscriptionOf(client, this.parts.room)?.filter) {
        this.send(client, this.wanted(client, fresh));
      } else sendFrames(outletOf(client), texts);
    }
  }

  private wanted(client: Client, events: readonly Relayed[]): readonly Relayed[] {
    const filter = subscriptionOf(client, this.parts.room)?.filter ?? null;
    return filter ? events.filter(({ text }) => wants(filter, parsed(text))) : events;
  }

  private send(client: Client, events: readonly Relayed[]): void {
    const texts = events.map(({ text }) => text);
    sendFrames(outletOf(client), texts);
  }

  /** What a client asked for when it subscribed is not counted; what comes live is. */
  private sendCounted(client: Client, events: readonly Relayed[]): void {
    const admitted = this.parts.unacknowledged.admit(client, this.parts.room, events);
    this.send(client, admitted);
    if (admitted.length < events.length) this.parts.cut(client);
  }

  private kept(head: Position): Position {
    this.parts.keepHead(head);
    return head;
  }

  private count({ at }: Client, by: 1 | -1): string | null {
    const userId = userIdOf(at.principal);
    if (userId === null) return null;
    const count = (this.users.get(userId) ?? 0) + by;
    if (count > 0) this.users.set(userId, count);
    else this.users.delete(userId);
    return userId;
  }

  private moved(client: Client, by: 1 | -1): void {
    const userId = this.count(client, by);
    if (userId === null) return;
    this.moves.add(userId);
    this.movesTimer ??= setTimeout(() => this.tellMoves(), PRESENCE_AFTER_MS);
  }

  private tellMoves(): void {
    this.movesTimer = null;
    const changes = [...this.moves].map((userId) => {
      return { userId, connections: this.users.get(userId) ?? 0 };
    });
    this.moves.clear();
    const { calls, gateway, room } = this.parts;
    calls.moved(gateway, changes).catch((error) => {
      console.error(`who is in ${room} was not told`, error);
    });
  }
}

/** The same text is asked about for each of many filters. */
let lastParsed: { text: string; event: ReturnType<typeof roomEventFrame.parse> } | null = null;

function parsed(text: string) {
  if (lastParsed?.text !== text) {
    lastParsed = { text, event: roomEventFrame.parse(JSON.parse(text)) };
  }
  return lastParsed.event;
}
