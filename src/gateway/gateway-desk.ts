import { mayPublish, maySubscribe, ownRooms } from "../auth/principal.ts";
import { renew, TOKEN_OVER, tokensOver, userIdOf } from "../auth/session.ts";
import { parseAddress } from "../channel/address.ts";
import { TOO_SLOW } from "../channel/flow.ts";
import { type Position, parsePosition } from "../channel/position.ts";
import type { Env } from "../env.ts";
import { decodeFrame } from "../protocol/codec.ts";
import type { CLOSE } from "../protocol/codes.ts";
import { LIMITS } from "../protocol/limits.ts";
import { type GatewayClientFrame, gatewayClientFrame } from "../protocol/room-frames.ts";
import type { Delivered, Delivery, PresenceChange } from "../room/calls.ts";
import { publishTo } from "../room/publish.ts";
import { iso } from "../space/render.ts";
import { ChannelLink, ChannelLinks, type OpenChannel } from "./channel-link.ts";
import { FloodGate } from "./flood.ts";
import type { Client, GatewaySockets, Subscription } from "./gateway-sockets.ts";
import { subscriptionOf } from "./gateway-sockets.ts";
import type { RoomHeads } from "./room-heads.ts";
import { type RoomCalls, RoomLink } from "./room-link.ts";

interface Parts {
  env: Env;
  name: string;
  sockets: GatewaySockets;
  roomCalls: (room: string) => RoomCalls;
  openChannel: OpenChannel;
  heads: RoomHeads;
}

type Frame<T extends GatewayClientFrame["type"]> = Extract<GatewayClientFrame, { type: T }>;
type Ref = string | number;

const RATE = { burst: LIMITS.frameBurst, perSecond: LIMITS.framesPerSecond };

/** What clients say on `/ws`, and what they follow. */
export class GatewayDesk {
  private readonly parts: Parts;
  private readonly rooms = new Map<string, RoomLink>();
  private readonly channels = new ChannelLinks();
  private readonly flood = new FloodGate<Client>(RATE);

  constructor(parts: Parts) {
    this.parts = parts;
    for (const client of parts.sockets.all()) this.restore(client);
    parts.heads.dropAllBut(this.rooms);
  }

  /** Opens a client's own rooms, then says that all is ready. */
  async opened(client: Client): Promise<void> {
    const userId = userIdOf(client.at.principal);
    const rooms = userId === null ? ["global"] : ownRooms(userId);
    // Joined first: what happens after `connection.established` must not be missed.
    await Promise.allSettled(rooms.map((room) => this.link(room).join()));
    const { id: connection_id } = client.at;
    const timestamp = iso(Date.now());
    const established = { type: "connection.established", connection_id, user_id: userId, rooms };
    this.send(client, { ...established, timestamp });
    const own = rooms.filter((room) => subscriptionOf(client, room) === null);
    for (const room of own) this.note(client, { room });
    await Promise.allSettled(own.map((room) => this.link(room).subscribe(client, null)));
  }

  async receive(client: Client, raw: string | ArrayBuffer): Promise<void> {
    if (!this.parts.sockets.has(client) || this.isFlood(client)) return;
    const decoded = decodeFrame<GatewayClientFrame>(raw, gatewayClientFrame);
    if (!decoded.ok) {
      this.malformed(client, decoded.code, decoded.message);
      return;
    }
    if (client.at.malformed > 0) this.change(client, { malformed: 0 });
    const { frame } = decoded;
    switch (frame.type) {
      case "ping":
        this.send(client, { type: "pong", timestamp: iso(Date.now()), ref: frame.ref });
        return;
      case "subscribe":
        await this.subscribe(client, frame);
        return;
      case "unsubscribe":
        this.unsubscribe(client, frame.room);
        this.send(client, { type: "unsubscribed", room: frame.room, ref: frame.ref });
        return;
      case "authenticate":
        await this.authenticate(client, frame);
        return;
      case "publish":
        await this.publish(client, frame);
        return;
      case "ack":
        this.channels.acknowledge(client, frame.room, frame.offset);
        this.parts.sockets.unacknowledged.acknowledged(client, frame.room, frame.offset);
    }
  }

  async deliver(delivery: Delivery): Promise<Delivered> {
    const link = this.rooms.get(delivery.room);
    if (!link) return { subscribers: 0 };
    const subscribers = await link.deliver(delivery);
    return this.isFollowed(delivery.room, link) ? { subscribers } : { subscribers: 0 };
  }

  /** Who is in a room over this gateway; `null` where nobody follows it here. */
  present(room: string): PresenceChange[] | null {
    const link = this.rooms.get(room);
    return link && this.isFollowed(room, link) ? link.present() : null;
  }

  /** A room that was told that nobody follows it here tells nothing any more: it has to be joined anew. */
  private isFollowed(room: string, link: RoomLink): boolean {
    if (link.size > 0) return true;
    link.stop();
    this.rooms.delete(room);
    this.parts.heads.drop(room);
    return false;
  }

  left(client: Client): void {
    for (const { room } of client.at.subscriptions) this.rooms.get(room)?.remove(client);
    this.channels.closeAll(client);
    this.parts.sockets.left(client.socket);
  }

  /** Tells whose token is about to run out, and ends the sockets of those that did. */
  expire(now: number): void {
    const { ended, ending } = tokensOver(this.parts.sockets.all(), now);
    for (const client of ended) {
      const message = TOKEN_OVER;
      this.send(client, { type: "connection.error", code: "not_authenticated", message });
      this.dismiss(client, "notAuthenticated", message);
    }
    for (const { session, expiresAt } of ending) {
      this.send(session, { type: "connection.expiring", expires_at: iso(expiresAt) });
      this.change(session, { noticed: true });
    }
  }

  private async subscribe(client: Client, frame: Frame<"subscribe">): Promise<void> {
    const { room, since, filter, presence, ref } = frame;
    const address = parseAddress(room);
    if (!address) {
      const message = "There is no such channel: `global`, <kind>:<id>, space:<name> or job:<id>.";
      this.error(client, "room_not_found", message, { room, ref });
      return;
    }
    const isRoom = address.kind === "room";
    if (isRoom && !maySubscribe(client.at.principal, room)) {
      const message = `Your token does not let you follow ${room}.`;
      this.error(client, "not_allowed", message, { room, ref });
      return;
    }
    this.unsubscribe(client, room);
    if (!this.note(client, { room, filter, presence })) {
      const message = "One socket follows so much at most: unsubscribe from something first.";
      this.error(client, "too_many_rooms", message, { room, ref });
      return;
    }
    try {
      if (isRoom) await this.link(room).subscribe(client, parsePosition(since), ref);
      else await this.openChannel(client, room, since, ref);
    } catch (error) {
      console.error(`a client could not be subscribed to ${room}`, error);
      this.unsubscribe(client, room);
      const message = "The channel can't be reached now: try again.";
      this.error(client, "temporarily_unavailable", message, { room, ref });
    }
  }

  private unsubscribe(client: Client, room: string): void {
    if (subscriptionOf(client, room) === null) return;
    this.rooms.get(room)?.remove(client);
    this.channels.close(client, room);
    const subscriptions = client.at.subscriptions.filter((one) => one.room !== room);
    this.change(client, { subscriptions });
  }

  private async openChannel(client: Client, room: string, since?: string, ref?: Ref) {
    const address = parseAddress(room);
    if (address === null || address.kind === "room") return;
    const opened = await this.parts.openChannel(client, address, since);
    if (!(opened instanceof WebSocket)) {
      this.unsubscribe(client, room);
      this.error(client, opened.code, opened.message, { room, ref });
      return;
    }
    const onEnd = () => this.unsubscribe(client, room);
    const link = new ChannelLink(client, room, opened, onEnd, ref);
    if (subscriptionOf(client, room) === null || !this.parts.sockets.has(client)) {
      link.close();
      return;
    }
    this.channels.add(client, room, link);
  }

  private async authenticate(client: Client, { token, ref }: Frame<"authenticate">) {
    const renewed = await renew(this.parts.env, client.at.principal, token);
    if (!renewed.ok) {
      this.error(client, renewed.code, renewed.message, { ref });
      return;
    }
    const { user } = renewed;
    this.change(client, { principal: user, noticed: false });
    const expires_at = iso(user.expiresAt);
    this.send(client, { type: "authenticated", user_id: user.userId, expires_at, ref });
    for (const { room } of client.at.subscriptions) {
      if (parseAddress(room)?.kind !== "room" || maySubscribe(user, room)) continue;
      this.unsubscribe(client, room);
      const message = "The fresh token does not let you follow this room.";
      this.error(client, "not_allowed", message, { room });
    }
  }

  private async publish(client: Client, { room, event, ref }: Frame<"publish">): Promise<void> {
    if (!mayPublish(client.at.principal, room)) {
      const message = `Your token does not let you publish to ${room}.`;
      this.error(client, "not_allowed", message, { room, ref });
      return;
    }
    const [published] = await publishTo(this.parts.env, room, [event]);
    if (!published) return;
    const { id, offset } = published;
    this.send(client, { type: "published", room, id, offset, ref });
  }

  private link(room: string, head: Position | null = null): RoomLink {
    const known = this.rooms.get(room);
    if (known) return known;
    const { name: gateway, heads, roomCalls, sockets } = this.parts;
    const parts = {
      room,
      gateway,
      calls: roomCalls(room),
      keepHead: (head: Position) => heads.keep(room, head),
      unacknowledged: sockets.unacknowledged,
      cut: (client: Client) => this.cut(client, room),
    };
    const made = new RoomLink(parts, head);
    this.rooms.set(room, made);
    return made;
  }

  /** A client whose socket outlived this object's memory. */
  private restore(client: Client): void {
    for (const { room } of client.at.subscriptions) {
      if (parseAddress(room)?.kind === "room") {
        this.link(room, this.parts.heads.read(room)).restore(client);
      } else void this.openChannel(client, room).catch(() => this.unsubscribe(client, room));
    }
  }

  /** Remembers what a client follows; `false` where that is too much to remember. */
  private note(client: Client, subscription: Subscription): boolean {
    const subscriptions = [...client.at.subscriptions, subscription];
    if (subscriptions.length > LIMITS.roomsPerSocket) return false;
    const at = { ...client.at, subscriptions };
    if (JSON.stringify(at).length > LIMITS.attachmentCharacters) return false;
    this.change(client, { subscriptions });
    return true;
  }

  private malformed(client: Client, code: string, message: string): void {
    this.error(client, code, message);
    this.change(client, { malformed: client.at.malformed + 1 });
    if (code === "frame_too_large") this.dismiss(client, "frameTooLarge", message);
    else if (client.at.malformed >= LIMITS.malformedFrames) {
      this.dismiss(client, "malformed", "Too many malformed frames.");
    }
  }

  /** Who sends faster than anybody would is cut off, and may come back. */
  private isFlood(client: Client): boolean {
    if (this.flood.admits(client, Date.now())) return false;
    const message = `Too many frames: ${LIMITS.framesPerSecond} a second at most.`;
    this.error(client, "rate_limited", message);
    this.dismiss(client, "tooMany", message);
    return true;
  }

  private cut(client: Client, room: string): void {
    this.error(client, "too_slow", TOO_SLOW, { room });
    this.dismiss(client, "tooMany", TOO_SLOW);
  }

  private dismiss(client: Client, close: keyof typeof CLOSE, reason: string): void {
    this.left(client);
    this.parts.sockets.close(client, close, reason);
  }

  private change(client: Client, change: Partial<Client["at"]>): void {
    Object.assign(client.at, change);
    if (this.parts.sockets.has(client)) this.parts.sockets.remember(client);
  }

  private error(client: Client, code: string, message: string, more: object = {}): void {
    this.send(client, { type: "error", code, message, ...more });
  }

  private send(client: Client, frame: object): void {
    this.parts.sockets.send(client, frame);
  }
}
