import { maySubscribe } from "../auth/principal.ts";
import { fitsAttachment } from "../channel/attachment.ts";
import { type Position, parsePosition } from "../channel/position.ts";
import { parseAddress } from "../protocol/address.ts";
import { LIMITS } from "../protocol/limits.ts";
import type { GatewayClientFrame } from "../protocol/room-frames.ts";
import type { Delivered, Delivery, PresenceChange } from "../room/calls.ts";
import type { DeliveredOffsets } from "./delivered-offsets.ts";
import {
  type Client,
  type GatewaySockets,
  type Subscription,
  subscriptionOf,
} from "./gateway-sockets.ts";
import {
  type ChannelAddress,
  type OpenChannel,
  ProxiedChannel,
  ProxiedChannels,
} from "./proxied-channel.ts";
import { type RoomCalls, RoomSubscription } from "./room-subscription.ts";

interface Parts {
  gateway: string;
  sockets: GatewaySockets;
  roomCalls: (room: string) => RoomCalls;
  openChannel: OpenChannel;
  deliveredOffsets: DeliveredOffsets;
  /** The client is too far behind in a room to be sent more. */
  cut: (client: Client, room: string) => void;
}

type SubscribeFrame = Extract<GatewayClientFrame, { type: "subscribe" }>;
type Ref = string | number;

/** How a subscription begins. */
interface Beginning {
  since?: string | undefined;
  ref?: Ref | undefined;
  /** Nothing of it is sent before this. */
  after?: Promise<void>;
}

/** What the clients of a gateway follow: rooms, of which each is followed once for all, spaces and jobs. */
export class Subscriptions {
  private readonly parts: Parts;
  private readonly rooms = new Map<string, RoomSubscription>();
  private readonly channels = new ProxiedChannels();

  constructor(parts: Parts) {
    this.parts = parts;
    for (const client of parts.sockets.all()) this.restore(client);
    parts.deliveredOffsets.dropAllBut(this.rooms);
  }

  async deliver(delivery: Delivery): Promise<Delivered> {
    const subscriptionTo = this.rooms.get(delivery.room);
    if (!subscriptionTo) return { subscribers: 0 };
    const subscribers = await subscriptionTo.deliver(delivery);
    return this.isFollowed(delivery.room, subscriptionTo) ? { subscribers } : { subscribers: 0 };
  }

  /** Who is in a room over this gateway; `null` where nobody follows it here. */
  present(room: string): PresenceChange[] | null {
    const link = this.rooms.get(room);
    return link && this.isFollowed(room, link) ? link.present() : null;
  }

  /** A room that was told that nobody follows it here tells nothing any more: it has to be joined anew. */
  private isFollowed(room: string, link: RoomSubscription): boolean {
    if (link.size > 0) return true;
    link.stop();
    if (this.rooms.get(room) === link) {
      this.rooms.delete(room);
      this.parts.deliveredOffsets.drop(room);
    }
    return false;
  }

  /** A socket that closed while this object was away; nothing here knows of it. */
  onLateClose(client: Client): void {
    for (const { room } of client.attachment.subscriptions) {
      if (parseAddress(room)?.kind === "room") {
        this.link(room, this.parts.deliveredOffsets.read(room)).onLateClose(client);
      }
    }
  }

  remove(client: Client): void {
    for (const { room } of client.attachment.subscriptions) this.rooms.get(room)?.remove(client);
    this.channels.closeAll(client);
  }

  acknowledged(client: Client, room: string, offset: number): void {
    this.channels.acknowledge(client, room, offset);
    this.parts.sockets.ackWindow.onAck(client, room, offset);
  }

  /** Makes a room tell this gateway what happens in it. */
  join(room: string): Promise<void> {
    return this.link(room).join();
  }

  /** What a client asks to follow; it is told why where it may not. */
  async subscribe(client: Client, frame: SubscribeFrame): Promise<void> {
    const { room, since, filter, presence, ref } = frame;
    const address = parseAddress(room);
    if (!address) {
      const message = "There is no such channel: `global`, <kind>:<id>, space:<name> or job:<id>.";
      this.parts.sockets.error(client, "room_not_found", message, { room, ref });
      return;
    }
    const isRoom = address.kind === "room";
    if (isRoom && !maySubscribe(client.attachment.principal, room)) {
      const message = `Your token does not let you follow ${room}.`;
      this.parts.sockets.error(client, "not_allowed", message, { room, ref });
      return;
    }
    this.unsubscribe(client, room);
    await this.follow(client, { room, filter, presence }, { since, ref });
  }

  async follow(client: Client, asked: Subscription, { since, ref, after }: Beginning) {
    const { room } = asked;
    if (!this.note(client, asked)) {
      const message = "One socket follows so much at most: unsubscribe from something first.";
      this.parts.sockets.error(client, "too_many_rooms", message, { room, ref });
      return;
    }
    try {
      const address = parseAddress(room);
      if (address?.kind === "room") {
        await this.link(room).subscribe(client, parsePosition(since), ref, after);
      } else if (address) await this.openChannel(client, address, asked, since, ref);
    } catch (error) {
      console.error(`a client could not be subscribed to ${room}`, error);
      await after;
      if (subscriptionOf(client, room) !== asked) return;
      this.unsubscribe(client, room);
      const message = "The channel can't be reached now: try again.";
      this.parts.sockets.error(client, "temporarily_unavailable", message, { room, ref });
    }
  }

  unsubscribe(client: Client, room: string): void {
    if (subscriptionOf(client, room) === null) return;
    this.rooms.get(room)?.remove(client);
    this.channels.close(client, room);
    const subscriptions = client.attachment.subscriptions.filter((one) => one.room !== room);
    this.parts.sockets.change(client, { subscriptions });
  }

  private async openChannel(
    client: Client,
    address: ChannelAddress,
    asked: Subscription,
    since?: string,
    ref?: Ref,
  ): Promise<void> {
    const { room } = asked;
    const opened = await this.parts.openChannel(client, address, since);
    // Meanwhile it may have left, or subscribed once more.
    const isCurrent = subscriptionOf(client, room) === asked && this.parts.sockets.has(client);
    if (!(opened instanceof WebSocket)) {
      if (!isCurrent) return;
      this.unsubscribe(client, room);
      this.parts.sockets.error(client, opened.code, opened.message, { room, ref });
      return;
    }
    const onEnd = () => {
      if (subscriptionOf(client, room) === asked) this.unsubscribe(client, room);
    };
    const link = new ProxiedChannel(client, room, opened, onEnd, ref);
    if (isCurrent) this.channels.add(client, room, link);
    else link.close();
  }

  /** What a client follows is what its fresh token lets it: a space or a job is asked again. */
  async renew(client: Client, { room, ...asked }: Subscription): Promise<void> {
    if (parseAddress(room)?.kind !== "room") {
      const since = this.channels.positionOf(client, room);
      this.unsubscribe(client, room);
      await this.follow(client, { room, ...asked }, { since });
    } else if (!maySubscribe(client.attachment.principal, room)) {
      this.unsubscribe(client, room);
      const message = "The fresh token does not let you follow this room.";
      this.parts.sockets.error(client, "not_allowed", message, { room });
    }
  }

  private link(room: string, head: Position | null = null): RoomSubscription {
    const known = this.rooms.get(room);
    if (known) return known;
    const { gateway, deliveredOffsets, roomCalls, sockets } = this.parts;
    const parts = {
      room,
      gateway,
      calls: () => roomCalls(room),
      keepLogEnd: (head: Position) => deliveredOffsets.keep(room, head),
      ackWindow: sockets.ackWindow,
      cut: (client: Client) => this.parts.cut(client, room),
    };
    const made = new RoomSubscription(parts, head);
    this.rooms.set(room, made);
    return made;
  }

  /** A client whose socket outlived this object's memory. */
  private restore(client: Client): void {
    for (const one of client.attachment.subscriptions) {
      const { room } = one;
      if (parseAddress(room)?.kind === "room") {
        this.link(room, this.parts.deliveredOffsets.read(room)).restore(client);
      } else void this.renew(client, one);
    }
  }

  /** Remembers what a client follows; `false` where that is too much to remember. */
  private note(client: Client, subscription: Subscription): boolean {
    const subscriptions = [...client.attachment.subscriptions, subscription];
    if (subscriptions.length > LIMITS.roomsPerSocket) return false;
    if (!fitsAttachment({ ...client.attachment, subscriptions })) return false;
    this.parts.sockets.change(client, { subscriptions });
    return true;
  }
}
