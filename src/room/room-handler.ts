import { credentialOf, TAKEN_BACK } from "../auth/credential.ts";
import { mayPublish, maySubscribe } from "../auth/principal.ts";
import { isExpired, renewPrincipal } from "../auth/session.ts";
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
import { type RoomClientFrame, roomClientFrame } from "../protocol/room-frames.ts";
import type { RequestRef } from "../protocol/values.ts";
import type { RoomEngine } from "./room-engine.ts";
import type { RoomSocket, RoomSockets } from "./room-sockets.ts";

const TOO_MANY = tooManyFrames(RATES.client);

/** Handles the frames of clients on the socket of one room, and the expiry of their tokens. */
export class RoomHandler {
  private readonly env: Env;
  private readonly room: string;
  private readonly sockets: RoomSockets;
  private readonly engine: RoomEngine;
  private readonly frameLimiter = frameLimiter<RoomSocket>("client");
  private readonly order = new FrameOrder<RoomSocket>();
  /** Clients that are closed once their earlier frames are answered; what they send meanwhile is ignored. */
  private readonly closing = new WeakSet<RoomSocket>();

  constructor(env: Env, room: string, sockets: RoomSockets, engine: RoomEngine) {
    this.env = env;
    this.room = room;
    this.sockets = sockets;
    this.engine = engine;
    sockets.onTooSlow = (subscriber) => this.dismiss(subscriber, "tooMany", TOO_SLOW);
  }

  async onMessage(subscriber: RoomSocket, raw: string | ArrayBuffer): Promise<void> {
    if (this.closing.has(subscriber)) {
      this.sockets.ignore();
      return;
    }
    if (isExpired(subscriber.attachment.principal, Date.now())) {
      this.expire(Date.now());
      return;
    }
    if (this.isOverLimit(subscriber, Math.max(1, lengthCost(raw)))) return;
    if (this.sockets.onHeard(subscriber, raw)) {
      this.noteHeard(subscriber, isPingText(raw));
      return;
    }
    const decoded = decodeFrame<RoomClientFrame>(raw, roomClientFrame);
    if (!decoded.ok) {
      await this.onMalformed(subscriber, decoded);
      return;
    }
    if (subscriber.attachment.malformed > 0) this.sockets.change(subscriber, { malformed: 0 });
    const { frame } = decoded;
    this.noteHeard(subscriber, frame.type === "ping");
    switch (frame.type) {
      case "ack":
        this.sockets.ackWindow.onAck(subscriber, this.room, frame.offset);
        return;
      case "ping":
        this.sockets.send(subscriber, { type: "pong", timestamp: iso(Date.now()), ref: frame.ref });
        return;
      case "authenticate":
        if (this.isOverLimit(subscriber, LIMITS.heavyFrame - 1)) return;
        await this.order.run(subscriber, { on: "everything" }, 0, () =>
          this.authenticate(subscriber, frame.token, frame.ref),
        );
        return;
      case "publish":
        await this.order.run(subscriber, this.publishing, 0, (answered) =>
          this.publish(subscriber, frame, messageLength(raw), answered),
        );
    }
  }

  /** Warns clients whose token is about to expire, and closes sockets whose token has expired. */
  expire(now: number): void {
    closeExpiredSessions(this.sockets.all(), now, {
      send: (subscriber, frame) => this.sockets.send(subscriber, frame),
      onWarned: (subscriber) => this.sockets.change(subscriber, { noticed: true }),
      end: (subscriber, reason) => this.dismiss(subscriber, "notAuthenticated", reason),
    });
  }

  /** See `reviewSockets`. */
  review(holder: string, ended: readonly string[]): string[] {
    return reviewSockets(
      this.sockets.all(),
      { holder, ended },
      {
        credentialOf: ({ attachment }) => credentialOf(attachment.principal),
        end: (subscriber) => {
          this.sockets.send(subscriber, takenBackFrame());
          this.dismiss(subscriber, "notAuthenticated", TAKEN_BACK);
        },
      },
    );
  }

  /** Closes clients that used to ping and have fallen silent: their connections are dead (R19). */
  closeSilent(now: number, resumedAt: number): void {
    for (const subscriber of findSilent(this.sockets, now, resumedAt)) {
      this.dismiss(subscriber, "goingAway", SILENT);
    }
  }

  /** Stores that the client is there, at most every half minute. */
  private noteHeard(subscriber: RoomSocket, isPing: boolean): void {
    const sign = signOf(subscriber.attachment, isPing, Date.now());
    if (sign !== null) this.sockets.change(subscriber, sign);
  }

  /** Publishes don't wait for each other: the engine keeps their order. */
  private get publishing(): FrameScope {
    return { on: "room", room: this.room, together: true };
  }

  private async authenticate(
    subscriber: RoomSocket,
    token: string,
    ref?: RequestRef,
  ): Promise<void> {
    const renewed = await renewPrincipal(this.env, subscriber.attachment.principal, token);
    if (!renewed.ok) {
      this.error(subscriber, renewed.code, renewed.message, ref);
      return;
    }
    if (!this.sockets.has(subscriber)) return;
    const { user } = renewed;
    if (!maySubscribe(user, this.room)) {
      const message = "The fresh token does not let you follow this room.";
      this.error(subscriber, "not_allowed", message, ref);
      this.dismiss(subscriber, "notAllowed", message);
      return;
    }
    this.sockets.change(subscriber, { principal: user, noticed: false });
    const { userId: user_id, expiresAt } = user;
    const expires_at = iso(expiresAt);
    this.sockets.send(subscriber, { type: "authenticated", user_id, expires_at, ref });
  }

  private async publish(
    subscriber: RoomSocket,
    { event, ref }: Extract<RoomClientFrame, { type: "publish" }>,
    length: number,
    answered: Promise<unknown>,
  ): Promise<void> {
    const { room } = this;
    // The token may have expired while the frame waited for its turn.
    if (isExpired(subscriber.attachment.principal, Date.now())) return;
    if (!mayPublish(subscriber.attachment.principal, room)) {
      await answered;
      this.error(subscriber, "not_allowed", `Your token does not let you publish to ${room}.`, ref);
      return;
    }
    const [published] = await this.engine.publish([event], length);
    await answered;
    if (!published) return;
    const { id, offset } = published;
    this.sockets.send(subscriber, { type: "published", room, id, offset, ref });
  }

  /** The error comes after the answers to earlier frames: it has no `ref`, so only its place says what it is about. */
  private async onMalformed(subscriber: RoomSocket, problem: MalformedFrame): Promise<void> {
    const { code, message } = problem;
    const { malformed, close } = afterMalformed(problem, subscriber.attachment.malformed);
    this.sockets.change(subscriber, { malformed });
    if (close) this.closing.add(subscriber);
    await this.order.run(subscriber, { on: "nothing" }, 0, async (answered) => {
      await answered;
      this.error(subscriber, code, message);
      if (close) this.dismiss(subscriber, close.as, close.reason);
    });
  }

  /** Whether the client sends too fast (R14a). If so, it gets the error and is closed; it may dial again. */
  private isOverLimit(subscriber: RoomSocket, count: number): boolean {
    if (this.frameLimiter.admits(subscriber, this.sockets.allowanceTime(), count)) return false;
    this.error(subscriber, "rate_limited", TOO_MANY);
    this.dismiss(subscriber, "tooMany", TOO_MANY);
    return true;
  }

  private dismiss(subscriber: RoomSocket, close: keyof typeof CLOSE, reason: string): void {
    this.engine.onClose(subscriber, close === "notAllowed");
    this.sockets.close(subscriber, close, reason);
  }

  private error(subscriber: RoomSocket, code: string, message: string, ref?: RequestRef): void {
    const { room } = this;
    this.sockets.send(subscriber, { type: "error", code, message, room, ref });
  }
}
