import { z } from "zod";
import { credentialOf, TAKEN_BACK } from "../auth/credential.ts";
import {
  isExpired,
  type SessionPrincipal,
  sessionPrincipal,
  TOKEN_EXPIRED,
} from "../auth/session.ts";
import { reviewSockets } from "../objects/credentials.ts";
import { afterMalformed } from "../objects/malformed-frames.ts";
import { type ObjectSocket, ObjectSockets } from "../objects/object-sockets.ts";
import { frameLimiter, lengthCost, RATES, tooManyFrames } from "../objects/rate-limiter.ts";
import { decodeFrame } from "../protocol/codec.ts";
import { errorFrame } from "../protocol/error-frame.ts";
import { monitorClientFrame } from "../protocol/monitor.ts";

const TOO_MANY = tooManyFrames(RATES.client);

/** Time between two frames to the watchers, milliseconds at least. */
const MIN_INTERVAL_MS = 1_000;

const attachment = z.object({
  malformed: z.int(),
  /** An earlier release let nobody in but the operator, and did not say so. */
  principal: sessionPrincipal.default({ kind: "operator" }),
});

/** The sockets of `/ws/monitor`: operators and admins that watch the edge's numbers. */
export class Watchers {
  private readonly sockets: ObjectSockets<z.infer<typeof attachment>>;
  private readonly makeFrame: () => object;
  private readonly frameLimiter = frameLimiter<ObjectSocket<z.infer<typeof attachment>>>("client");
  private timer: ReturnType<typeof setTimeout> | null = null;
  private sentAt = Number.NEGATIVE_INFINITY;

  /** @param makeFrame makes the frame with the current numbers */
  constructor(ctx: DurableObjectState, makeFrame: () => object) {
    this.sockets = new ObjectSockets(ctx, attachment);
    this.makeFrame = makeFrame;
  }

  hasAny(): boolean {
    return this.sockets.size > 0;
  }

  accept(socket: WebSocket, principal: SessionPrincipal): void {
    const watcher = this.sockets.accept(socket, { malformed: 0, principal });
    this.sockets.send(watcher, this.makeFrame());
  }

  /** See `reviewSockets`. */
  review(holder: string, ended: readonly string[]): string[] {
    return reviewSockets(
      this.sockets.all(),
      { holder, ended },
      {
        credentialOf: ({ attachment }) => credentialOf(attachment.principal),
        end: (watcher) => this.end(watcher, TAKEN_BACK),
      },
    );
  }

  /** Closes the sockets whose session or key has expired. */
  expire(now: number): void {
    for (const watcher of this.sockets.all()) {
      if (isExpired(watcher.attachment.principal, now)) this.end(watcher, TOKEN_EXPIRED);
    }
  }

  /** The numbers have changed: sends them now, or as soon as the interval allows. */
  markChanged(): void {
    if (this.timer !== null || !this.hasAny()) return;
    const ms = this.sentAt + MIN_INTERVAL_MS - Date.now();
    if (ms <= 0) this.broadcast();
    else this.timer = setTimeout(() => this.broadcast(), ms);
  }

  onMessage(socket: WebSocket, raw: string | ArrayBuffer, timestamp: string): void {
    const watcher = this.sockets.of(socket);
    if (watcher === null) {
      this.sockets.ignore();
      return;
    }
    const cost = Math.max(1, lengthCost(raw));
    if (!this.frameLimiter.admits(watcher, this.sockets.allowanceTime(), cost)) {
      this.sockets.send(watcher, errorFrame("rate_limited", TOO_MANY));
      this.sockets.close(watcher, "tooMany", TOO_MANY);
      return;
    }
    if (this.sockets.onHeard(watcher, raw)) return;
    const decoded = decodeFrame(raw, monitorClientFrame);
    if (decoded.ok) {
      if (watcher.attachment.malformed > 0) this.sockets.change(watcher, { malformed: 0 });
      this.sockets.send(watcher, { type: "pong", timestamp });
      return;
    }
    this.sockets.send(watcher, errorFrame(decoded.code, decoded.message));
    const { malformed, close } = afterMalformed(decoded, watcher.attachment.malformed);
    this.sockets.change(watcher, { malformed });
    if (close) this.sockets.close(watcher, close.as, close.reason);
  }

  onClose(socket: WebSocket): void {
    const watcher = this.sockets.of(socket);
    this.sockets.onGone(socket);
    if (watcher) this.sockets.remove(watcher);
  }

  private end(watcher: ObjectSocket<z.infer<typeof attachment>>, reason: string): void {
    this.sockets.send(watcher, errorFrame("not_authenticated", reason));
    this.sockets.close(watcher, "notAuthenticated", reason);
  }

  private broadcast(): void {
    this.timer = null;
    this.sentAt = Date.now();
    this.expire(this.sentAt);
    const text = JSON.stringify(this.makeFrame());
    for (const watcher of this.sockets.all()) this.sockets.sendText(watcher, text);
  }
}
