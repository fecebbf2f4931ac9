import { wants } from "../../src/channel/filter.ts";
import { type Position, parsePosition, recover } from "../../src/channel/position.ts";
import { Edge } from "../../src/client/edge.ts";
import type { Gap } from "../../src/client/job-channel.ts";
import { type HistoryPage, pageOf, type RoomEvent } from "../../src/client/room-events.ts";
import { RoomFeed } from "../../src/client/room-feed.ts";
import { RoomSubscriber } from "../../src/client/room-subscriber.ts";
import { OpenSubscription } from "../../src/client/subscription.ts";
import type { RoomEventFrame } from "../../src/protocol/room-events.ts";
import {
  type EventFilter,
  type GatewayClientFrameInput,
  subscribedFrame,
} from "../../src/protocol/room-frames.ts";
import { AT } from "../support/fake-subscriber-edge.ts";

export const ROOM = "project:42";
type Subscribe = Extract<GatewayClientFrameInput, { type: "subscribe" }>;
type Sent = RoomEventFrame | { type: "subscribed"; [field: string]: unknown };

export interface Follower {
  filter: EventFilter | null;
  subscriber: RoomSubscriber;
  /** The position at which it started; `null` until then. */
  start: Position | null;
  told: (RoomEvent | Gap)[];
  /** The offsets of the past events with which it was to begin. */
  past: number[];
}

/** Models a room at the edge, one client's socket, and a network that delivers on demand. */
export class RoomModel {
  epochs = 1;
  log: RoomEventFrame[] = [];
  private trimmedTo = 0;
  private asked: GatewayClientFrameInput[] = [];
  private inFlight: Sent[] = [];
  private subscription: Subscribe | null = null;
  private isUp = false;
  readonly followers: Follower[] = [];
  readonly feed = new RoomFeed(ROOM, (frame) => {
    if (this.isUp) this.asked.push(frame);
  });
  private readonly edge = new Edge({ url: "http://edge" });
  private readonly isOwn: boolean;

  /** `isOwn`: the edge subscribes the client without a request, as it does for a user's own rooms (R3). */
  constructor(isOwn: boolean) {
    this.isOwn = isOwn;
  }

  get epoch(): string {
    return `e${this.epochs}`;
  }

  /** @param last how many past events it begins with */
  follow(filter: EventFilter | null, since: string | undefined, fills: boolean, last = 0): void {
    const told: (RoomEvent | Gap)[] = [];
    const past = async (end: Position) => {
      const events = this.pastOf(end, last, filter);
      follower.past = events.map(({ offset }) => offset);
      return events;
    };
    const push = (item: RoomEvent | Gap) => void told.push(item);
    const history = fills ? async (since: string) => this.history(since) : null;
    const subscription = new OpenSubscription(this.edge, {});
    const sink = { onEvent: push, onGap: push };
    const options = { since, filter, history, past: last > 0 ? past : undefined };
    const subscriber = new RoomSubscriber(subscription, options, sink);
    const start = subscriber.cursor;
    const follower: Follower = { filter, subscriber, told, start, past: [] };
    this.followers.push(follower);
    this.feed.add(subscriber);
    this.note();
  }

  publish(type: string): void {
    const offset = this.log.length + 1;
    const event = { type, room: ROOM, id: String(offset), offset, timestamp: AT, data: {} };
    this.log.push(event);
    const { subscription } = this;
    if (subscription && wants(subscription.filter ?? null, event)) this.inFlight.push(event);
  }

  trim(share: number): void {
    this.trimmedTo = Math.max(this.trimmedTo, Math.floor(this.log.length * share));
  }

  /** The room was emptied and starts again with a new epoch. */
  reset(): void {
    this.epochs += 1;
    this.log = [];
    this.trimmedTo = 0;
    if (this.subscription) this.inFlight.push(this.answer(0, false));
  }

  /** Publishes an event that never reaches the client, without any notice. */
  skip(type: string): void {
    const { subscription } = this;
    this.subscription = null;
    this.publish(type);
    this.subscription = subscription;
  }

  /** Publishes an event that the gateway misses and that the room no longer has afterwards. */
  lose(type: string): void {
    this.skip(type);
    this.trimmedTo = this.log.length;
    if (this.subscription) this.inFlight.push(this.answer(this.log.length, false));
  }

  up(): void {
    if (this.isUp) return;
    this.isUp = true;
    if (this.isOwn) {
      this.subscription = { type: "subscribe", room: ROOM };
      this.inFlight = [this.answer(this.log.length, false)];
    }
    this.feed.onConnect();
  }

  down(): void {
    if (!this.isUp) return;
    this.isUp = false;
    this.asked = [];
    this.inFlight = [];
    this.subscription = null;
    this.feed.onDisconnect(null);
  }

  /** The edge reads what the client sent. */
  serve(): void {
    for (const frame of this.asked.splice(0)) {
      this.subscription = null;
      if (frame.type === "subscribe") this.subscribe(frame);
    }
  }

  deliver(count: number, twice: boolean): void {
    for (const frame of this.inFlight.splice(0, count)) {
      this.hear(frame);
      if (twice && frame.type !== "subscribed") this.hear(frame);
    }
  }

  finish(): void {
    this.up();
    // After the answer, the client may subscribe once more.
    for (let round = 0; round < 4; round += 1) {
      this.serve();
      this.deliver(Number.POSITIVE_INFINITY, false);
    }
  }

  private note(): void {
    for (const follower of this.followers) follower.start ??= follower.subscriber.cursor;
  }

  private history(since: string): HistoryPage {
    const { recovered, after } = this.recovery(since);
    const events = this.log.slice(after, after + 3);
    const { epoch } = this;
    const next = `${epoch}:${after + events.length}`;
    return pageOf({ room: ROOM, epoch, offset: this.log.length, recovered, next, events });
  }

  private pastOf(end: Position, count: number, filter: EventFilter | null): RoomEvent[] {
    if (end.epoch !== this.epoch) return [];
    const stored = this.log.slice(this.trimmedTo, end.offset);
    const wanted = stored.filter((event) => wants(filter, event)).slice(-count);
    const page = { room: ROOM, epoch: this.epoch, offset: this.log.length, recovered: true };
    return pageOf({ ...page, next: "", events: wanted }).events;
  }

  private subscribe(frame: Subscribe): void {
    this.subscription = frame;
    const { recovered, after } = this.recovery(frame.since);
    const from = recovered ? after : this.log.length;
    this.inFlight.push(this.answer(from, recovered, frame.ref));
    const missed = this.log.slice(from).filter((event) => wants(frame.filter ?? null, event));
    this.inFlight.push(...missed);
  }

  private recovery(since: string | undefined): { recovered: boolean; after: number } {
    const first = this.trimmedTo + 1;
    const bounds = { epoch: this.epoch, last: this.log.length, first };
    const recovery = recover(parsePosition(since), bounds);
    return recovery.recovered ? recovery : { recovered: false, after: this.trimmedTo };
  }

  private answer(offset: number, recovered: boolean, ref?: string | number): Sent {
    return { type: "subscribed", room: ROOM, epoch: this.epoch, offset, recovered, ref };
  }

  private hear(frame: Sent): void {
    if (frame.type === "subscribed") this.feed.onSubscribed(subscribedFrame.parse(frame));
    else this.feed.onEvent(frame as RoomEventFrame);
    this.note();
  }
}
