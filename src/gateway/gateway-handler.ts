import { credentialOf, TAKEN_BACK } from "../auth/credential.ts";
import { mayPublish, maySubscribe, ownRooms } from "../auth/principal.ts";
import { isExpired, renewPrincipal, userIdOf } from "../auth/session.ts";
import { TOO_SLOW } from "../channel/flow.ts";
import type { Env } from "../env.ts";
import { reviewSockets, takenBackFrame } from "../objects/credentials.ts";
import { closeExpiredSessions } from "../objects/expiring-tokens.ts";
import { FrameOrder, type FrameScope } from "../objects/frame-order.ts";
import { afterMalformed, type MalformedFrame } from "../objects/malformed-frames.ts";
import { messageLength } from "../objects/message-length.ts";
import { frameLimiter, lengthCost, RATES, tooManyFrames } from "../objects/rate-limiter.ts";
import { findSilent, SILENT, signOf } from "../objects/silent-sockets.ts";
import { decodeFrame } from "../protocol/codec.ts";
import type { CLOSE } from "../protocol/codes.ts";
import { iso } from "../protocol/iso.ts";
import { LIMITS } from "../protocol/limits.ts";
import { isPingText } from "../protocol/ping-text.ts";
import { type GatewayClientFrame, gatewayClientFrame } from "../protocol/room-frames.ts";
import { RoomStub } from "../room/room-stub.ts";
import type { DeliveredOffsets } from "./delivered-offsets.ts";
import { type Client, type GatewaySockets, subscriptionOf } from "./gateway-sockets.ts";
import type { OpenChannel } from "./proxied-channel.ts";
import { Publisher } from "./publisher.ts";
import type { RoomCalls } from "./room-subscription.ts";
import { Subscriptions } from "./subscriptions.ts";

const TOO_MANY = tooManyFrames(RATES.client);

interface GatewayHandlerDeps {
  env: Env;
  gateway: string;
  sockets: GatewaySockets;
  roomCalls: (room: string) => RoomCalls;
  openChannel: OpenChannel;
  deliveredOffsets: DeliveredOffsets;
  storage: DurableObjectStorage;
  arm: (at: number) => void;
}

type FrameOf<T extends GatewayClientFrame["type"]> = Extract<GatewayClientFrame, { type: T }>;
/** The frames that are answered in their order (R4d). */
type OrderedFrame = Exclude<GatewayClientFrame, { type: "ping" | "ack" }>;

/** How long `connection.established` waits for the client's own rooms, milliseconds. */
const MAX_JOIN_WAIT_MS = 2_000;

/** Frames that cost calls to other objects or a check of a token; each counts as ten (R14a). */
const HEAVY_FRAMES: ReadonlySet<string> = new Set(["subscribe", "unsubscribe", "authenticate"]);

/** Handles the frames of clients on `/ws`, and keeps their subscriptions. */
export class GatewayHandler {
  readonly subscriptions: Subscriptions;
  private readonly deps: GatewayHandlerDeps;
  private readonly frameLimiter = frameLimiter<Client>("client");
  private readonly order = new FrameOrder<Client>();
  private readonly publisher: Publisher<Client>;
  /** Clients that are closed once their earlier frames are answered; what they send meanwhile is ignored. */
  private readonly closing = new WeakSet<Client>();

  constructor(deps: GatewayHandlerDeps) {
    this.deps = deps;
    const cutOff = (client: Client, room: string) => this.cutOff(client, room);
    this.subscriptions = new Subscriptions({ ...deps, cutOff });
    deps.sockets.onTooSlow = (client) => this.dismiss(client, "tooMany", TOO_SLOW);
    this.publisher = new Publisher((room, events) => new RoomStub(deps.env, room).publish(events));
  }

  /** Joins a client's own rooms and sends `connection.established`, then subscribes the client to them. */
  async onOpen(client: Client): Promise<void> {
    const { principal } = client.attachment;
    const userId = userIdOf(principal);
    // A key follows only what its scopes name.
    const rooms = (userId === null ? ["global"] : ownRooms(userId)).filter((room) =>
      maySubscribe(principal, room),
    );
    const { promise: established, resolve: markEstablished } = Promise.withResolvers<void>();
    const own = rooms.filter((room) => subscriptionOf(client, room) === null);
    const following = own.map((room) =>
      this.subscriptions.follow(client, { room }, { after: established }),
    );
    // Usually joins first: a client expects not to miss anything that happens after `connection.established`.
    const waiting = new AbortController();
    const { signal } = waiting;
    const timeout = scheduler.wait(MAX_JOIN_WAIT_MS, { signal }).catch(() => undefined);
    const joined = Promise.allSettled(rooms.map((room) => this.subscriptions.join(room)));
    await Promise.race([joined, timeout]);
    waiting.abort();
    if (this.deps.sockets.has(client)) {
      const { id: connection_id } = client.attachment;
      const timestamp = iso(Date.now());
      const frame = { type: "connection.established", connection_id, user_id: userId, rooms };
      this.send(client, { ...frame, timestamp });
    }
    markEstablished();
    await Promise.all(following);
  }

  async onMessage(client: Client, raw: string | ArrayBuffer): Promise<void> {
    if (!this.deps.sockets.has(client) || this.closing.has(client)) {
      this.deps.sockets.ignore();
      return;
    }
    if (isExpired(client.attachment.principal, Date.now())) {
      this.expire(Date.now());
      return;
    }
    if (this.isOverLimit(client, Math.max(1, lengthCost(raw)))) return;
    if (this.deps.sockets.onHeard(client, raw)) {
      this.noteHeard(client, isPingText(raw));
      return;
    }
    const decoded = decodeFrame<GatewayClientFrame>(raw, gatewayClientFrame);
    if (!decoded.ok) {
      await this.onMalformed(client, decoded);
      return;
    }
    if (client.attachment.malformed > 0) this.deps.sockets.change(client, { malformed: 0 });
    const { frame } = decoded;
    this.noteHeard(client, frame.type === "ping");
    if (HEAVY_FRAMES.has(frame.type) && this.isOverLimit(client, LIMITS.heavyFrame - 1)) return;
    switch (frame.type) {
      case "ping":
        this.send(client, { type: "pong", timestamp: iso(Date.now()), ref: frame.ref });
        return;
      case "ack":
        this.subscriptions.onAck(client, frame.room, frame.offset);
        return;
      default:
        await this.inOrder(client, scopeOf(frame), messageLength(raw), (answered) =>
          this.onOrdered(client, frame, answered),
        );
    }
  }

  /** @param answered resolves once the frames before this one are answered */
  private async onOrdered(
    client: Client,
    frame: OrderedFrame,
    answered: Promise<unknown>,
  ): Promise<void> {
    // The token may have expired while the frame waited for its turn.
    if (isExpired(client.attachment.principal, Date.now())) return;
    switch (frame.type) {
      case "subscribe":
        await this.subscriptions.subscribe(client, frame, answered);
        return;
      case "unsubscribe":
        await answered;
        await this.subscriptions.leave(client, frame.room);
        this.send(client, { type: "unsubscribed", room: frame.room, ref: frame.ref });
        return;
      case "authenticate":
        await this.authenticate(client, frame);
        return;
      case "publish":
        await this.publish(client, frame, answered);
    }
  }

  /** @param isLeaving the client is done; otherwise it may be back soon */
  onClose(client: Client, isLeaving: boolean): void {
    this.subscriptions.remove(client, isLeaving);
    this.deps.sockets.remove(client);
  }

  /** Warns clients whose token is about to expire, and closes sockets whose token has expired. */
  expire(now: number): void {
    closeExpiredSessions(this.deps.sockets.all(), now, {
      send: (client, frame) => this.send(client, frame),
      onWarned: (client) => this.deps.sockets.change(client, { noticed: true }),
      end: (client, reason) => this.dismiss(client, "notAuthenticated", reason),
    });
  }

  /** See `reviewSockets`. */
  review(holder: string, ended: readonly string[]): string[] {
    return reviewSockets(
      this.deps.sockets.all(),
      { holder, ended },
      {
        credentialOf: ({ attachment }) => credentialOf(attachment.principal),
        end: (client) => {
          this.send(client, takenBackFrame());
          this.dismiss(client, "notAuthenticated", TAKEN_BACK);
        },
      },
    );
  }

  /** Closes clients that used to ping and have fallen silent: their connections are dead (R19). */
  closeSilent(now: number, resumedAt: number): void {
    for (const client of findSilent(this.deps.sockets, now, resumedAt)) {
      this.dismiss(client, "goingAway", SILENT);
    }
  }

  /** Stores that the client is there, at most every half minute. */
  private noteHeard(client: Client, isPing: boolean): void {
    const sign = signOf(client.attachment, isPing, Date.now());
    if (sign !== null) this.deps.sockets.change(client, sign);
  }

  private async authenticate(client: Client, { token, ref }: FrameOf<"authenticate">) {
    const renewed = await renewPrincipal(this.deps.env, client.attachment.principal, token);
    if (!renewed.ok) {
      this.deps.sockets.error(client, renewed.code, renewed.message, { ref });
      return;
    }
    if (!this.deps.sockets.has(client)) return;
    const { user } = renewed;
    this.deps.sockets.change(client, { principal: user, noticed: false });
    const expires_at = iso(user.expiresAt);
    this.send(client, { type: "authenticated", user_id: user.userId, expires_at, ref });
    await Promise.all(
      client.attachment.subscriptions.map((subscription) =>
        this.subscriptions.checkAgain(client, subscription),
      ),
    );
  }

  private async publish(
    client: Client,
    { room, event, ref }: FrameOf<"publish">,
    answered: Promise<unknown>,
  ): Promise<void> {
    if (!mayPublish(client.attachment.principal, room)) {
      const message = `Your token does not let you publish to ${room}.`;
      await answered;
      this.deps.sockets.error(client, "not_allowed", message, { room, ref });
      return;
    }
    try {
      const { id, offset } = await this.publisher.publish(client, room, event);
      this.subscriptions.onPublished(client, room, offset);
      await answered;
      this.send(client, { type: "published", room, id, offset, ref });
    } catch (error) {
      console.error(`an event could not be published to ${room}`, error);
      await answered;
      const message = "The room can't be reached now: publish again, with the same id.";
      this.deps.sockets.error(client, "temporarily_unavailable", message, { room, ref });
    }
  }

  /** The error comes after the answers to earlier frames: it has no `ref`, so only its place says what it is about. */
  private async onMalformed(client: Client, problem: MalformedFrame): Promise<void> {
    const { code, message } = problem;
    const { malformed, close } = afterMalformed(problem, client.attachment.malformed);
    this.deps.sockets.change(client, { malformed });
    if (close) this.closing.add(client);
    await this.order.run(client, { on: "nothing" }, 0, async (answered) => {
      await answered;
      if (!this.deps.sockets.has(client)) return;
      this.deps.sockets.error(client, code, message);
      if (close) this.dismiss(client, close.as, close.reason);
    });
  }

  /** Handles a frame when it is its turn. A client that sends on and on without its frames being answered is closed. */
  private async inOrder(
    client: Client,
    scope: FrameScope,
    length: number,
    handle: (answered: Promise<unknown>) => Promise<void>,
  ): Promise<void> {
    if (this.order.unansweredLength(client) + length <= LIMITS.unansweredLength) {
      await this.order.run(client, scope, length, handle);
      return;
    }
    this.deps.sockets.error(client, "rate_limited", TOO_MUCH_UNANSWERED);
    this.dismiss(client, "tooMany", TOO_MUCH_UNANSWERED);
  }

  /** Whether the client sends too fast (R14a). If so, it gets the error and is closed; it may dial again. */
  private isOverLimit(client: Client, count: number): boolean {
    if (this.frameLimiter.admits(client, this.deps.sockets.allowanceTime(), count)) return false;
    this.deps.sockets.error(client, "rate_limited", TOO_MANY);
    this.dismiss(client, "tooMany", TOO_MANY);
    return true;
  }

  /** Closes a client that has too many unacknowledged bytes to be sent more (R15a). */
  private cutOff(client: Client, room: string): void {
    this.deps.sockets.error(client, "too_slow", TOO_SLOW, { room });
    this.dismiss(client, "tooMany", TOO_SLOW);
  }

  private dismiss(client: Client, close: keyof typeof CLOSE, reason: string): void {
    this.onClose(client, close === "notAllowed");
    this.deps.sockets.close(client, close, reason);
  }

  private send(client: Client, frame: object): void {
    this.deps.sockets.send(client, frame);
  }
}

/** What a frame changes. Publishes of one room don't wait for each other: the publisher keeps their order. */
function scopeOf(frame: OrderedFrame): FrameScope {
  if (frame.type === "authenticate") return { on: "everything" };
  return { on: "room", room: frame.room, together: frame.type === "publish" };
}

const TOO_MUCH_UNANSWERED = "Too many frames are not answered yet: wait for their answers.";
