import { maySubscribe } from "../auth/principal.ts";
import { fitsAttachment } from "../channel/attachment.ts";
import { type Position, parsePosition } from "../channel/position.ts";
import { CatchUpPace } from "../objects/catch-up-pace.ts";
import { parseAddress } from "../protocol/address.ts";
import { LIMITS } from "../protocol/limits.ts";
import type { GatewayClientFrame } from "../protocol/room-frames.ts";
import type { RequestRef } from "../protocol/values.ts";
import type { DeliveryAnswer, PresenceChange, RoomDelivery } from "../room/calls.ts";
import type { DeliveredOffsets } from "./delivered-offsets.ts";
import {
  type Client,
  type ClientSubscription,
  type GatewaySockets,
  subscriptionOf,
} from "./gateway-sockets.ts";
import { PresenceRecovery } from "./presence-recovery.ts";
import {
  type ChannelAddress,
  type OpenChannel,
  ProxiedChannel,
  ProxiedChannels,
} from "./proxied-channel.ts";
import { type RoomCalls, RoomSubscription } from "./room-subscription.ts";

interface SubscriptionsDeps {
  gateway: string;
  sockets: GatewaySockets;
  roomCalls: (room: string) => RoomCalls;
  openChannel: OpenChannel;
  deliveredOffsets: DeliveredOffsets;
  storage: DurableObjectStorage;
  /** Makes the object call `settlePresence` at this time, milliseconds since 1970. */
  arm: (at: number) => void;
  /** Closes a client that is too far behind in a room to be sent more. */
  cutOff: (client: Client, room: string) => void;
}

type SubscribeFrame = Extract<GatewayClientFrame, { type: "subscribe" }>;

/** How a subscription starts. */
interface SubscriptionStart {
  /** The position to resume from, `<epoch>:<offset>`. */
  since?: string | undefined;
  ref?: RequestRef | undefined;
  /** No frame of the subscription is sent before this resolves. */
  after?: Promise<unknown>;
}

/**
 * What the clients of a gateway follow. The gateway follows each room once for all its clients, but opens a
 * socket of its own for each client of a space or a job (decision 0021).
 */
export class Subscriptions {
  private readonly deps: SubscriptionsDeps;
  private readonly rooms = new Map<string, RoomSubscription>();
  private readonly channels = new ProxiedChannels();
  private readonly recovery: PresenceRecovery;
  private readonly pace = new CatchUpPace<Client>();
  /** The clients of which a channel is being opened. */
  private readonly opening = new Set<Client>();
  /** The offsets of the last events that clients have published in rooms that they follow. */
  private readonly lastPublished = new WeakMap<Client, Map<string, number>>();

  constructor(deps: SubscriptionsDeps) {
    this.deps = deps;
    this.recovery = new PresenceRecovery({
      kv: deps.storage.kv,
      arm: deps.arm,
      check: (room) => deps.roomCalls(room).checkPresence(deps.gateway),
    });
    for (const client of deps.sockets.all()) this.restore(client);
  }

  /** Call this once, before anything else. Finds out who was lost while the object did not run. */
  recover(): void {
    const { deliveredOffsets, sockets } = this.deps;
    // Without sockets, either all were lost when the object stopped, or there is little to check.
    const isSuspect = this.recovery.wasInterrupted || sockets.all().length === 0;
    if (isSuspect) this.recovery.begin(deliveredOffsets.rooms());
    else deliveredOffsets.keepOnly(this.rooms);
  }

  /** Reports who has not come back in time. */
  async settlePresence(now: number): Promise<void> {
    for (const subscription of this.rooms.values()) subscription.settlePresence(now);
    const checked = await this.recovery.onAlarm(now, this.presenceDueAt() !== null);
    for (const room of checked) if (!this.rooms.has(room)) this.deps.deliveredOffsets.remove(room);
  }

  /** When `settlePresence` is due, milliseconds since 1970; `null` if nobody is awaited. */
  presenceDueAt(): number | null {
    const times = [...this.rooms.values()].flatMap(({ presenceDueAt }) => presenceDueAt ?? []);
    return times.length > 0 ? times.reduce((first, at) => Math.min(first, at)) : null;
  }

  async deliver(delivery: RoomDelivery): Promise<DeliveryAnswer> {
    const subscription = this.rooms.get(delivery.room);
    if (!subscription) return { subscribers: 0 };
    const subscribers = await subscription.deliver(delivery);
    if (!this.isFollowed(delivery.room, subscription)) return { subscribers: 0 };
    // Without any the room would forget this gateway, and a user who is awaited here with it.
    return { subscribers: Math.max(1, subscribers) };
  }

  /** The users who follow a room over this gateway; `null` if it has no followers here. */
  present(room: string): PresenceChange[] | null {
    const subscription = this.rooms.get(room);
    return subscription && this.isFollowed(room, subscription) ? subscription.present() : null;
  }

  /**
   * Whether a room has followers here. If not, the room is answered so and stops calling this gateway. The
   * subscription is forgotten then, so that the next follower joins the room again.
   */
  private isFollowed(room: string, subscription: RoomSubscription): boolean {
    if (subscription.isNeeded) return true;
    subscription.stop();
    if (this.rooms.get(room) === subscription) {
      this.rooms.delete(room);
      this.deps.deliveredOffsets.remove(room);
    }
    return false;
  }

  /** A socket closed while this object was hibernating, so no subscription here has its client. */
  onLateClose(client: Client, isLeaving: boolean): void {
    for (const { room } of client.attachment.subscriptions) {
      if (parseAddress(room)?.kind === "room") {
        this.resumeRoom(room).onLateClose(client, isLeaving);
      }
    }
  }

  /** @param isLeaving the client is done; otherwise it may be back soon */
  remove(client: Client, isLeaving: boolean): void {
    for (const { room } of client.attachment.subscriptions) {
      this.rooms.get(room)?.remove(client, isLeaving);
    }
    this.channels.closeAll(client);
    this.pace.forget(client);
  }

  onAck(client: Client, room: string, offset: number): void {
    this.channels.acknowledge(client, room, offset);
    this.deps.sockets.ackWindow.onAck(client, room, offset);
  }

  /** Makes a room deliver its events to this gateway. */
  join(room: string): Promise<void> {
    return this.followRoom(room).join();
  }

  /**
   * Subscribes a client to a channel, or sends it the error that says why not.
   *
   * @param after nothing is sent before this resolves
   */
  async subscribe(client: Client, frame: SubscribeFrame, after: Promise<unknown>): Promise<void> {
    if (!this.deps.sockets.has(client)) return;
    const { room, since, filter, presence, ref } = frame;
    const address = parseAddress(room);
    if (!address) {
      const message =
        "There is no such channel. Use `global`, <kind>:<id>, space:<name> or job:<id>.";
      await after;
      this.deps.sockets.error(client, "room_not_found", message, { room, ref });
      return;
    }
    const isRoom = address.kind === "room";
    if (isRoom && !maySubscribe(client.attachment.principal, room)) {
      const message = `Your token does not let you follow ${room}.`;
      await after;
      this.deps.sockets.error(client, "not_allowed", message, { room, ref });
      return;
    }
    this.unsubscribe(client, room);
    await this.follow(client, { room, filter, presence }, { since, ref, after });
  }

  /** Subscribes a client to a channel that it may follow. */
  async follow(
    client: Client,
    requested: ClientSubscription,
    { since, ref, after }: SubscriptionStart,
  ) {
    const { room } = requested;
    if (!this.remember(client, requested)) {
      // Perhaps there is a place once it is this frame's turn: one before it may leave a channel.
      await after;
      if (!this.deps.sockets.has(client)) return;
      if (!this.remember(client, requested)) {
        const message = "This socket can follow no more channels: unsubscribe from one first.";
        this.deps.sockets.error(client, "too_many_rooms", message, { room, ref });
        return;
      }
    }
    try {
      const address = parseAddress(room);
      if (address?.kind === "room") {
        await this.followRoom(room).subscribe(client, parsePosition(since), ref, after);
      } else if (address) await this.openChannel(client, address, requested, { since, ref, after });
    } catch (error) {
      console.error(`a client could not be subscribed to ${room}`, error);
      await after;
      if (subscriptionOf(client, room) !== requested) return;
      this.unsubscribe(client, room);
      const message = "The channel can't be reached now: try again.";
      this.deps.sockets.error(client, "temporarily_unavailable", message, { room, ref });
    }
  }

  /** Ends a subscription after the events that its client itself has published. */
  async leave(client: Client, room: string): Promise<void> {
    const offset = this.lastPublished.get(client)?.get(room);
    if (offset !== undefined) await this.rooms.get(room)?.sendUpTo(offset);
    this.unsubscribe(client, room);
  }

  /** Remembers that a client has published an event: if the client follows that room, it gets the event, too. */
  onPublished(client: Client, room: string, offset: number): void {
    if (subscriptionOf(client, room) === null) return;
    const offsets = this.lastPublished.get(client) ?? new Map<string, number>();
    this.lastPublished.set(client, offsets.set(room, offset));
  }

  unsubscribe(client: Client, room: string): void {
    if (subscriptionOf(client, room) === null) return;
    this.rooms.get(room)?.remove(client, true);
    this.lastPublished.get(client)?.delete(room);
    this.channels.close(client, room);
    const subscriptions = client.attachment.subscriptions.filter(
      (subscription) => subscription.room !== room,
    );
    this.deps.sockets.change(client, { subscriptions });
  }

  /**
   * Opens a channel when the client may be sent what it missed. A job sends that as soon as it is opened: the first is
   * opened at once, and every other one once all before it are.
   */
  private async openChannel(
    client: Client,
    address: ChannelAddress,
    requested: ClientSubscription,
    start: SubscriptionStart,
  ): Promise<void> {
    if (address.kind === "space") return this.openNow(client, address, requested, start);
    if (!this.opening.has(client) && this.pace.maySend(client)) {
      this.opening.add(client);
      try {
        return await this.openNow(client, address, requested, start);
      } finally {
        this.opening.delete(client);
      }
    }
    await start.after;
    await this.pace.enter(client, 0);
    if (subscriptionOf(client, requested.room) !== requested) return;
    return this.openNow(client, address, requested, start);
  }

  private async openNow(
    client: Client,
    address: ChannelAddress,
    requested: ClientSubscription,
    { since, ref, after }: SubscriptionStart,
  ): Promise<void> {
    const { room } = requested;
    const opened = await this.deps.openChannel(client, address, since);
    await after;
    // Meanwhile the client may have left, or subscribed again.
    const isCurrent = subscriptionOf(client, room) === requested && this.deps.sockets.has(client);
    if (!(opened instanceof WebSocket)) {
      if (!isCurrent) return;
      this.unsubscribe(client, room);
      this.deps.sockets.error(client, opened.code, opened.message, { room, ref });
      return;
    }
    const onEnd = () => {
      if (subscriptionOf(client, room) === requested) this.unsubscribe(client, room);
    };
    const onBytes = (bytes: number) => this.pace.charge(client, bytes);
    const channel = new ProxiedChannel({ client, room, socket: opened, onEnd, onBytes, ref });
    if (isCurrent) this.channels.add(client, room, channel);
    else channel.close();
    await channel.begun;
  }

  /**
   * Checks a subscription against the client's fresh token. A space or a job checks the rights itself when
   * a socket is opened, so its socket is opened again, at the position where the client is.
   */
  async checkAgain(client: Client, { room, ...rest }: ClientSubscription): Promise<void> {
    if (parseAddress(room)?.kind !== "room") {
      const since = this.channels.positionOf(client, room);
      this.unsubscribe(client, room);
      await this.follow(client, { room, ...rest }, { since });
    } else if (!maySubscribe(client.attachment.principal, room)) {
      this.unsubscribe(client, room);
      const message = "The fresh token does not let you follow this room.";
      this.deps.sockets.error(client, "not_allowed", message, { room });
    }
  }

  /** The room's subscription from before this object hibernated. */
  private resumeRoom(room: string): RoomSubscription {
    return this.followRoom(room, this.deps.deliveredOffsets.read(room));
  }

  /** @param logEnd where to go on; `null`: nothing of the room has been sent on yet */
  private followRoom(room: string, logEnd: Position | null = null): RoomSubscription {
    const known = this.rooms.get(room);
    if (known) return known;
    const { gateway, deliveredOffsets, roomCalls, sockets } = this.deps;
    const roomDeps = {
      room,
      gateway,
      calls: () => roomCalls(room),
      storeLogEnd: (position: Position) => deliveredOffsets.write(room, position),
      ackWindow: sockets.ackWindow,
      pace: this.pace,
      cutOff: (client: Client) => this.deps.cutOff(client, room),
      onGrace: (endsAt: number) => this.recovery.onGrace(endsAt),
    };
    const made = new RoomSubscription(roomDeps, logEnd);
    this.rooms.set(room, made);
    return made;
  }

  /** Takes up the subscriptions of a client whose socket stayed open through hibernation. */
  private restore(client: Client): void {
    for (const subscription of client.attachment.subscriptions) {
      const { room } = subscription;
      if (parseAddress(room)?.kind === "room") {
        this.resumeRoom(room).restore(client);
      } else void this.checkAgain(client, subscription);
    }
  }

  /** Adds a subscription to the client's attachment; `false` if it is one too many (R14), or does not fit. */
  private remember(client: Client, subscription: ClientSubscription): boolean {
    const subscriptions = [...client.attachment.subscriptions, subscription];
    if (subscriptions.length > LIMITS.roomsPerSocket) return false;
    if (!fitsAttachment({ ...client.attachment, subscriptions })) return false;
    this.deps.sockets.change(client, { subscriptions });
    return true;
  }
}
