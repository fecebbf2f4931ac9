import { mayPublish, ownRooms } from "../auth/principal.ts";
import { renewPrincipal, userIdOf } from "../auth/session.ts";
import { TOO_SLOW } from "../channel/flow.ts";
import type { Env } from "../env.ts";
import { endTokens } from "../objects/expiring-tokens.ts";
import { afterMalformed, type MalformedFrame } from "../objects/malformed-frames.ts";
import { clientFrameLimiter, TOO_MANY_FRAMES } from "../objects/rate-limiter.ts";
import { decodeFrame } from "../protocol/codec.ts";
import type { CLOSE } from "../protocol/codes.ts";
import { iso } from "../protocol/iso.ts";
import { LIMITS } from "../protocol/limits.ts";
import { type GatewayClientFrame, gatewayClientFrame } from "../protocol/room-frames.ts";
import { RoomHandle } from "../room/room-handle.ts";
import type { DeliveredOffsets } from "./delivered-offsets.ts";
import { type Client, type GatewaySockets, subscriptionOf } from "./gateway-sockets.ts";
import type { OpenChannel } from "./proxied-channel.ts";
import type { RoomCalls } from "./room-subscription.ts";
import { Subscriptions } from "./subscriptions.ts";

interface Parts {
  env: Env;
  gateway: string;
  sockets: GatewaySockets;
  roomCalls: (room: string) => RoomCalls;
  openChannel: OpenChannel;
  deliveredOffsets: DeliveredOffsets;
}

type Frame<T extends GatewayClientFrame["type"]> = Extract<GatewayClientFrame, { type: T }>;

/** A client is not kept waiting longer than this for its own rooms, milliseconds. */
const LONGEST_JOIN_MS = 2_000;

/** Frames for which the gateway asks others. */
const HEAVY: ReadonlySet<string> = new Set(["subscribe", "unsubscribe", "authenticate"]);

/** What clients say on `/ws`, and what they follow. */
export class GatewayHandler {
  readonly subscriptions: Subscriptions;
  private readonly parts: Parts;
  private readonly frameLimiter = clientFrameLimiter<Client>();

  constructor(parts: Parts) {
    this.parts = parts;
    const cut = (client: Client, room: string) => this.cut(client, room);
    this.subscriptions = new Subscriptions({ ...parts, cut });
  }

  /** Opens a client's own rooms, then says that all is ready. */
  async onOpen(client: Client): Promise<void> {
    const userId = userIdOf(client.attachment.principal);
    const rooms = userId === null ? ["global"] : ownRooms(userId);
    const { promise: said, resolve: say } = Promise.withResolvers<void>();
    const own = rooms.filter((room) => subscriptionOf(client, room) === null);
    const following = own.map((room) =>
      this.subscriptions.follow(client, { room }, { after: said }),
    );
    // Joined first, unless it takes long: what happens after `connection.established` must not be missed.
    const patience = new AbortController();
    const { signal } = patience;
    const late = scheduler.wait(LONGEST_JOIN_MS, { signal }).catch(() => undefined);
    const joined = Promise.allSettled(rooms.map((room) => this.subscriptions.join(room)));
    await Promise.race([joined, late]);
    patience.abort();
    if (this.parts.sockets.has(client)) {
      const { id: connection_id } = client.attachment;
      const timestamp = iso(Date.now());
      const established = { type: "connection.established", connection_id, user_id: userId, rooms };
      this.send(client, { ...established, timestamp });
    }
    say();
    await Promise.all(following);
  }

  async onMessage(client: Client, raw: string | ArrayBuffer): Promise<void> {
    if (!this.parts.sockets.has(client) || this.isOverLimit(client, 1)) return;
    const decoded = decodeFrame<GatewayClientFrame>(raw, gatewayClientFrame);
    if (!decoded.ok) {
      this.onMalformed(client, decoded);
      return;
    }
    if (client.attachment.malformed > 0) this.parts.sockets.change(client, { malformed: 0 });
    const { frame } = decoded;
    if (HEAVY.has(frame.type) && this.isOverLimit(client, LIMITS.heavyFrame - 1)) return;
    switch (frame.type) {
      case "ping":
        this.send(client, { type: "pong", timestamp: iso(Date.now()), ref: frame.ref });
        return;
      case "subscribe":
        await this.subscriptions.subscribe(client, frame);
        return;
      case "unsubscribe":
        this.subscriptions.unsubscribe(client, frame.room);
        this.send(client, { type: "unsubscribed", room: frame.room, ref: frame.ref });
        return;
      case "authenticate":
        await this.authenticate(client, frame);
        return;
      case "publish":
        await this.publish(client, frame);
        return;
      case "ack":
        this.subscriptions.acknowledged(client, frame.room, frame.offset);
    }
  }

  onClose(client: Client): void {
    this.subscriptions.remove(client);
    this.parts.sockets.remove(client);
  }

  /** Tells whose token is about to run out, and ends the sockets of those that did. */
  expire(now: number): void {
    endTokens(this.parts.sockets.all(), now, {
      send: (client, frame) => this.send(client, frame),
      onWarned: (client) => this.parts.sockets.change(client, { noticed: true }),
      end: (client, reason) => this.dismiss(client, "notAuthenticated", reason),
    });
  }

  private async authenticate(client: Client, { token, ref }: Frame<"authenticate">) {
    const renewed = await renewPrincipal(this.parts.env, client.attachment.principal, token);
    if (!renewed.ok) {
      this.parts.sockets.error(client, renewed.code, renewed.message, { ref });
      return;
    }
    const { user } = renewed;
    this.parts.sockets.change(client, { principal: user, noticed: false });
    const expires_at = iso(user.expiresAt);
    this.send(client, { type: "authenticated", user_id: user.userId, expires_at, ref });
    await Promise.all(
      client.attachment.subscriptions.map((one) => this.subscriptions.renew(client, one)),
    );
  }

  private async publish(client: Client, { room, event, ref }: Frame<"publish">): Promise<void> {
    if (!mayPublish(client.attachment.principal, room)) {
      const message = `Your token does not let you publish to ${room}.`;
      this.parts.sockets.error(client, "not_allowed", message, { room, ref });
      return;
    }
    try {
      const [published] = await new RoomHandle(this.parts.env, room).publish([event]);
      if (!published) return;
      const { id, offset } = published;
      this.send(client, { type: "published", room, id, offset, ref });
    } catch (error) {
      console.error(`an event could not be published to ${room}`, error);
      const message = "The room can't be reached now: publish again, with the same id.";
      this.parts.sockets.error(client, "temporarily_unavailable", message, { room, ref });
    }
  }

  private onMalformed(client: Client, problem: MalformedFrame): void {
    const { code, message } = problem;
    this.parts.sockets.error(client, code, message);
    const { malformed, close } = afterMalformed(problem, client.attachment.malformed);
    this.parts.sockets.change(client, { malformed });
    if (close) this.dismiss(client, close.as, close.reason);
  }

  /** Who sends faster than anybody would is cut off, and may come back. */
  private isOverLimit(client: Client, count: number): boolean {
    if (this.frameLimiter.admits(client, Date.now(), count)) return false;
    this.parts.sockets.error(client, "rate_limited", TOO_MANY_FRAMES);
    this.dismiss(client, "tooMany", TOO_MANY_FRAMES);
    return true;
  }

  private cut(client: Client, room: string): void {
    this.parts.sockets.error(client, "too_slow", TOO_SLOW, { room });
    this.dismiss(client, "tooMany", TOO_SLOW);
  }

  private dismiss(client: Client, close: keyof typeof CLOSE, reason: string): void {
    this.onClose(client);
    this.parts.sockets.close(client, close, reason);
  }

  private send(client: Client, frame: object): void {
    this.parts.sockets.send(client, frame);
  }
}
