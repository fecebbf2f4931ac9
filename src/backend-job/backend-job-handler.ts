import { afterMalformed } from "../objects/malformed-frames.ts";
import { clientFrameLimiter, TOO_MANY_FRAMES } from "../objects/rate-limiter.ts";
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
import { JOB_ENDED, NO_SUCH_JOB } from "./calls.ts";
import { dueOf, socketDueAt } from "./deadlines.ts";

type Ref = string | number | undefined;

/** A sign of life is noted no more often than this: each is written where hibernation keeps it. */
const HEARD_EVERY_MS = 30_000;

/** What clients say on the sockets of a job, and what time does to them. */
export class BackendJobHandler {
  private readonly id: string;
  private readonly sockets: BackendJobSockets;
  private readonly engine: BackendJobEngine;
  private readonly gate = clientFrameLimiter<BackendJobSocket>();

  constructor(id: string, sockets: BackendJobSockets, engine: BackendJobEngine) {
    this.id = id;
    this.sockets = sockets;
    this.engine = engine;
  }

  /** Handles a frame together with whatever else arrives in the same turn. */
  onMessage(socket: BackendJobSocket, raw: string | ArrayBuffer): Promise<void> {
    return this.engine.enqueue((now) => {
      if (this.sockets.has(socket)) this.onFrame(socket, raw, now);
      return () => undefined;
    });
  }

  /** Sends the pings that are due, and ends the sockets whose time is over. */
  tick(now: number): void {
    for (const kept of this.sockets.all()) {
      switch (dueOf(kept.attachment, this.engine.job, this.sockets.lastPingAt(kept), now)) {
        case "unmade":
          this.end(kept, "notFound", "job_not_found", "Nobody made this job.");
          break;
        case "expired":
          this.end(kept, "notAuthenticated", "not_authenticated", EXPIRED);
          break;
        case "silent":
          this.dismiss(kept, "goingAway", "nothing was heard of this client");
          break;
        case "ping":
          this.ping(kept, now);
          break;
        case null:
      }
    }
  }

  /** The job is erased: nothing will come any more. */
  endAll(): void {
    for (const kept of this.sockets.all()) {
      this.end(kept, "notFound", NO_SUCH_JOB.code, "The job is erased: nothing was said of it.");
    }
  }

  dueAt(): number | null {
    const due = this.sockets
      .all()
      .map(({ attachment }) => socketDueAt(attachment, this.engine.job));
    const known = due.filter((at) => at !== null);
    return known.length === 0 ? null : Math.min(...known);
  }

  /** Who only follows has little to say but acknowledgements; one that may report has more. */
  private isOverLimit(socket: BackendJobSocket, now: number): boolean {
    if (socket.attachment.publish || this.gate.admits(socket, now)) return false;
    this.refuse(socket, "rate_limited", TOO_MANY_FRAMES, undefined);
    this.hangUp(socket, "tooMany", TOO_MANY_FRAMES);
    return true;
  }

  private onFrame(socket: BackendJobSocket, raw: string | ArrayBuffer, now: number): void {
    const decoded = decodeFrame<BackendClientFrame>(raw, backendClientFrame);
    if (!this.isWellFormed(socket, decoded)) return;
    if (now - socket.attachment.heardAt >= HEARD_EVERY_MS) {
      socket.attachment.heardAt = now;
      this.sockets.remember(socket);
    }
    const { frame } = decoded;
    if (frame.type !== "ack" && this.isOverLimit(socket, now)) return;
    switch (frame.type) {
      case "ack":
        this.engine.feed.throttle.onAck(socket, frame.offset, now);
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

  private report(socket: BackendJobSocket, { ref, ...report }: ReportFrame, now: number): void {
    const { publish, expiresAt } = socket.attachment;
    if (!publish) {
      const why = `Your token does not let you report job:${this.id}.`;
      this.refuse(socket, "not_allowed", why, ref);
      return;
    }
    if (expiresAt !== null && now >= expiresAt) {
      this.refuse(socket, "not_authenticated", EXPIRED, ref);
      return;
    }
    const outcome = this.engine.apply(report, now);
    if (outcome.kind === "unknown") {
      this.refuse(socket, NO_SUCH_JOB.code, NO_SUCH_JOB.detail, ref);
    } else if (outcome.kind === "ended") {
      this.refuse(socket, JOB_ENDED.code, JOB_ENDED.detail, ref);
    } else {
      const { id: job_id, offset } = outcome.job;
      this.answer(socket, { type: "ack", of: report.type, job_id, offset, ref });
    }
  }

  private ping(socket: BackendJobSocket, now: number): void {
    const { ping } = socket.attachment;
    if (ping === null) return;
    this.sockets.send(socket, { type: "ping", timestamp: iso(now) });
    socket.attachment.ping = { ...ping, at: now + ping.everyMs };
    this.sockets.remember(socket);
  }

  /** Only malformed frames in a row count: a slip now and then is forgiven. */
  private isWellFormed<T>(
    socket: BackendJobSocket,
    decoded: Decoded<T>,
  ): decoded is Extract<Decoded<T>, { ok: true }> {
    if (decoded.ok) {
      if (socket.attachment.malformed > 0) this.countMalformed(socket, 0);
      return true;
    }
    const { code, message } = decoded;
    this.refuse(socket, code, message, undefined);
    const { malformed, close } = afterMalformed(decoded, socket.attachment.malformed);
    this.countMalformed(socket, malformed);
    if (close) this.hangUp(socket, close.as, close.reason);
    return false;
  }

  private countMalformed(socket: BackendJobSocket, count: number): void {
    socket.attachment.malformed = count;
    this.sockets.remember(socket);
  }

  private refuse(socket: BackendJobSocket, code: FrameErrorCode, message: string, ref: Ref): void {
    this.answer(socket, errorFrame(code, message, { ref, job_id: this.id }));
  }

  private answer(socket: BackendJobSocket, frame: object): void {
    this.engine.afterwards(() => this.sockets.send(socket, frame));
  }

  /** Closes a socket once the batch is told; its frames that came with this one count no more. */
  private hangUp(socket: BackendJobSocket, close: keyof typeof CLOSE, reason: string): void {
    this.engine.onClose(socket);
    this.engine.afterwards(() => this.sockets.close(socket, close, reason));
  }

  private end(
    socket: BackendJobSocket,
    close: keyof typeof CLOSE,
    code: FrameErrorCode,
    message: string,
  ): void {
    this.sockets.send(socket, errorFrame(code, message, { job_id: this.id }));
    this.dismiss(socket, close, message);
  }

  private dismiss(socket: BackendJobSocket, close: keyof typeof CLOSE, reason: string): void {
    if (!this.sockets.has(socket)) return;
    this.engine.feed.remove(socket);
    this.sockets.close(socket, close, reason);
  }
}

const EXPIRED = "The token has expired: dial again with a fresh one.";
