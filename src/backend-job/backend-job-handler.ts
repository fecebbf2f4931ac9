import { TAKEN_BACK } from "../auth/credential.ts";
import { AckCosts } from "../channel/ack-costs.ts";
import { TOO_SLOW } from "../channel/flow.ts";
import { reviewSockets } from "../objects/credentials.ts";
import { afterMalformed } from "../objects/malformed-frames.ts";
import { messageLength } from "../objects/message-length.ts";
import { frameLimiter, lengthCost, RATES, tooManyFrames } from "../objects/rate-limiter.ts";
import {
  type BackendClientFrame,
  backendClientFrame,
  type ReportFrame,
} from "../protocol/backend-jobs.ts";
import { type Decoded, decodeFrame } from "../protocol/codec.ts";
import type { CLOSE, FrameErrorCode } from "../protocol/codes.ts";
import { errorFrame } from "../protocol/error-frame.ts";
import { iso } from "../protocol/iso.ts";
import type { BackendJobEngine } from "./backend-job-engine.ts";
import type { BackendJobSocket, BackendJobSockets } from "./backend-job-sockets.ts";
import { areOver, EXPIRED, JOB_ENDED, NO_SUCH_JOB } from "./calls.ts";
import { dueOf, socketDueAt } from "./deadlines.ts";

/** The `ref` of the frame that is answered. */
type ReportRef = string | number | undefined;

/**
 * The time of a client's last frame is stored no more often than this, because each time the attachment is
 * written.
 */
const STORE_LAST_FRAME_MS = 30_000;

/** Handles the frames on the sockets of a job, and what is due for these sockets. */
export class BackendJobHandler {
  private readonly id: string;
  private readonly sockets: BackendJobSockets;
  private readonly engine: BackendJobEngine;
  private readonly clients = frameLimiter<BackendJobSocket>("client");
  private readonly backends = frameLimiter<BackendJobSocket>("backend");
  private readonly ackCosts = new AckCosts<BackendJobSocket>();

  constructor(id: string, sockets: BackendJobSockets, engine: BackendJobEngine) {
    this.id = id;
    this.sockets = sockets;
    this.engine = engine;
    sockets.onTooSlow = (socket) => this.closeNow(socket, "tooMany", TOO_SLOW);
  }

  /** Handles a frame in one batch with whatever else arrives in the same turn of the event loop. */
  async onMessage(socket: BackendJobSocket, raw: string | ArrayBuffer): Promise<void> {
    const isNoFrame = this.sockets.onHeard(socket, raw);
    const least = isNoFrame ? 1 : lengthCost(raw);
    if (least > 0 && !this.admits(socket, least)) {
      this.refuseFlood(socket);
      return;
    }
    const decoded = isNoFrame ? null : decodeFrame<BackendClientFrame>(raw, backendClientFrame);
    const more = this.costOf(socket, decoded) - least;
    if (more > 0 && !this.admits(socket, more)) {
      this.refuseFlood(socket);
      return;
    }
    if (raw === "ping") this.notePing(socket, Date.now());
    await this.engine.enqueue((now) => {
      if (this.sockets.has(socket)) this.onFrame(socket, decoded, now);
      return () => undefined;
    }, messageLength(raw));
  }

  private admits(socket: BackendJobSocket, frames: number): boolean {
    if (socket.attachment.publish) return this.backends.admits(socket, Date.now(), frames);
    return this.clients.admits(socket, this.sockets.allowanceTime(), frames);
  }

  /** How many frames a message counts as. */
  private costOf(socket: BackendJobSocket, decoded: Decoded<BackendClientFrame> | null): number {
    if (!decoded?.ok || decoded.frame.type !== "ack") return 1;
    const framesSent = socket.attachment.throttled?.flow ? socket.reader.framesSent : 0;
    return this.ackCosts.costOf(socket, decoded.frame.offset, framesSent);
  }

  /** Closes a socket at once, with what it sent before handled: as long as it sends on, a timer may not come. */
  private refuseFlood(socket: BackendJobSocket): void {
    const message = tooManyFrames(RATES[socket.attachment.publish ? "backend" : "client"]);
    this.engine.flush();
    if (this.sockets.has(socket)) this.closeWithError(socket, "tooMany", "rate_limited", message);
  }

  /** The edge stood still for so long, milliseconds: sockets may wait as much longer for the job to be made. */
  makeUpFor(awayMs: number): void {
    if (awayMs === 0) return;
    for (const socket of this.sockets.all()) {
      const { pending } = socket.attachment;
      if (pending === null) continue;
      this.sockets.change(socket, { pending: { ...pending, since: pending.since + awayMs } });
    }
  }

  /**
   * Sends the pings that are due, and closes sockets whose time is over. Called by the alarm.
   *
   * @param resumedAt since when the edge has run without standing still, milliseconds since 1970
   */
  tick(now: number, resumedAt: number): void {
    for (const socket of this.sockets.all()) {
      const lastPingAt = this.sockets.lastPingAt(socket);
      switch (dueOf(socket.attachment, this.engine.job, { lastPingAt, resumedAt }, now)) {
        case "unmade":
          this.closeWithError(socket, "notFound", "job_not_found", "Nobody made this job.");
          break;
        case "expired":
          this.closeWithError(socket, "notAuthenticated", EXPIRED.code, EXPIRED.detail);
          break;
        case "silent":
          this.closeNow(socket, "goingAway", "no frame and no ping came from this client");
          break;
        case "ping":
          this.sendPing(socket, now);
          break;
        case null:
      }
    }
  }

  /** See `reviewSockets`. */
  review(holder: string, ended: readonly string[]): string[] {
    return reviewSockets(
      this.sockets.all(),
      { holder, ended },
      {
        credentialOf: ({ attachment }) => attachment.credential,
        end: (socket) =>
          this.closeWithError(socket, "notAuthenticated", "not_authenticated", TAKEN_BACK),
      },
    );
  }

  /** Closes every socket, because the job is erased. */
  closeAll(): void {
    for (const socket of this.sockets.all()) {
      this.closeWithError(socket, "notFound", NO_SUCH_JOB.code, "The job was erased.");
    }
  }

  /** When something is next due for any socket, milliseconds since 1970. */
  dueAt(): number | null {
    const due = this.sockets
      .all()
      .map(({ attachment }) => socketDueAt(attachment, this.engine.job));
    const known = due.filter((at) => at !== null);
    return known.length === 0 ? null : Math.min(...known);
  }

  /** @param decoded `null`: the message only showed that the client lives */
  private onFrame(
    socket: BackendJobSocket,
    decoded: Decoded<BackendClientFrame> | null,
    now: number,
  ): void {
    if (decoded !== null && !this.isWellFormed(socket, decoded)) return;
    this.noteHeard(socket, now);
    if (decoded === null) return;
    const { frame } = decoded;
    switch (frame.type) {
      case "ack":
        this.engine.followers.throttle.onAck(socket, frame.offset, now);
        return;
      case "ping":
        this.answer(socket, { type: "pong", timestamp: iso(now), ref: frame.ref });
        return;
      case "pong":
        return;
      default:
        this.report(socket, frame, now);
    }
  }

  private notePing(socket: BackendJobSocket, now: number): void {
    if (now - socket.attachment.pingedAt < STORE_LAST_FRAME_MS) return;
    this.sockets.change(socket, { pingedAt: now });
  }

  private noteHeard(socket: BackendJobSocket, now: number): void {
    if (now - socket.attachment.heardAt < STORE_LAST_FRAME_MS) return;
    socket.attachment.heardAt = now;
    this.sockets.remember(socket);
  }

  private report(socket: BackendJobSocket, { ref, ...report }: ReportFrame, now: number): void {
    if (!socket.attachment.publish) {
      const message = `Your token does not let you report job:${this.id}.`;
      this.refuse(socket, "not_allowed", message, ref);
      return;
    }
    if (areOver(socket.attachment, now)) {
      this.refuse(socket, EXPIRED.code, EXPIRED.detail, ref);
      return;
    }
    const outcome = this.engine.apply(report, now);
    if (outcome.kind === "unknown") {
      this.refuse(socket, NO_SUCH_JOB.code, NO_SUCH_JOB.detail, ref);
    } else if (outcome.kind === "ended") {
      this.refuse(socket, JOB_ENDED.code, JOB_ENDED.detail, ref);
    } else {
      const { id: job_id } = outcome.job;
      const { offset } = outcome.kind === "repeated" ? outcome : outcome.job;
      this.answer(socket, { type: "ack", of: report.type, job_id, offset, ref });
    }
  }

  private sendPing(socket: BackendJobSocket, now: number): void {
    const { ping } = socket.attachment;
    if (ping === null) return;
    this.sockets.send(socket, { type: "ping", timestamp: iso(now) });
    socket.attachment.ping = { ...ping, at: now + ping.everyMs };
    this.sockets.remember(socket);
  }

  /** Counts malformed frames in a row; a well-formed frame sets the count back to 0. */
  private isWellFormed<T>(
    socket: BackendJobSocket,
    decoded: Decoded<T>,
  ): decoded is Extract<Decoded<T>, { ok: true }> {
    if (decoded.ok) {
      if (socket.attachment.malformed > 0) this.setMalformed(socket, 0);
      return true;
    }
    const { code, message } = decoded;
    this.refuse(socket, code, message, undefined);
    const { malformed, close } = afterMalformed(decoded, socket.attachment.malformed);
    this.setMalformed(socket, malformed);
    if (close) this.closeAfterBatch(socket, close.as, close.reason);
    return false;
  }

  private setMalformed(socket: BackendJobSocket, count: number): void {
    socket.attachment.malformed = count;
    this.sockets.remember(socket);
  }

  private refuse(
    socket: BackendJobSocket,
    code: FrameErrorCode,
    message: string,
    ref: ReportRef,
  ): void {
    this.answer(socket, errorFrame(code, message, { ref, job_id: this.id }));
  }

  private answer(socket: BackendJobSocket, frame: object): void {
    this.engine.after(() => this.sockets.send(socket, frame));
  }

  /** Closes a socket once the batch is stored and answered. Frames that it sent with this one are ignored. */
  private closeAfterBatch(
    socket: BackendJobSocket,
    close: keyof typeof CLOSE,
    reason: string,
  ): void {
    this.engine.onClose(socket);
    this.engine.after(() => this.sockets.close(socket, close, reason));
  }

  /** Sends an error frame, then closes the socket. */
  private closeWithError(
    socket: BackendJobSocket,
    close: keyof typeof CLOSE,
    code: FrameErrorCode,
    message: string,
  ): void {
    this.sockets.send(socket, errorFrame(code, message, { job_id: this.id }));
    this.closeNow(socket, close, message);
  }

  private closeNow(socket: BackendJobSocket, close: keyof typeof CLOSE, reason: string): void {
    if (!this.sockets.has(socket)) return;
    this.engine.followers.remove(socket);
    this.sockets.close(socket, close, reason);
  }
}
