import { clientGate, TOO_MANY_FRAMES } from "../gateway/flood.ts";
import {
  type BackendClientFrame,
  backendClientFrame,
  type ReportFrame,
} from "../protocol/backend-jobs.ts";
import { type Decoded, decodeFrame } from "../protocol/codec.ts";
import type { CLOSE, FrameErrorCode } from "../protocol/codes.ts";
import { LIMITS } from "../protocol/limits.ts";
import { errorFrame } from "../space/core.ts";
import { iso } from "../space/render.ts";
import { JOB_ENDED, NO_SUCH_JOB } from "./calls.ts";
import { dueOf, socketDueAt } from "./deadlines.ts";
import type { JobDesk } from "./job-desk.ts";
import type { JobSocket, JobSockets } from "./job-sockets.ts";

type Ref = string | number | undefined;

/** A sign of life is noted no more often than this: each is written where hibernation keeps it. */
const HEARD_EVERY_MS = 30_000;

/** What clients say on the sockets of a job, and what time does to them. */
export class JobSession {
  private readonly id: string;
  private readonly sockets: JobSockets;
  private readonly desk: JobDesk;
  private readonly gate = clientGate<JobSocket>();

  constructor(id: string, sockets: JobSockets, desk: JobDesk) {
    this.id = id;
    this.sockets = sockets;
    this.desk = desk;
  }

  /** Handles a frame together with whatever else arrives in the same turn. */
  receive(one: JobSocket, raw: string | ArrayBuffer): Promise<void> {
    return this.desk.enqueue((now) => {
      if (this.sockets.has(one)) this.heard(one, raw, now);
      return () => undefined;
    });
  }

  /** Sends the pings that are due, and ends the sockets whose time is over. */
  tick(now: number): void {
    for (const one of this.sockets.all()) {
      switch (dueOf(one.at, this.desk.job, this.sockets.lastPingAt(one), now)) {
        case "unmade":
          this.end(one, "notFound", "job_not_found", "Nobody made this job.");
          break;
        case "expired":
          this.end(one, "notAuthenticated", "not_authenticated", EXPIRED);
          break;
        case "silent":
          this.dismiss(one, "goingAway", "nothing was heard of this client");
          break;
        case "ping":
          this.ping(one, now);
          break;
        case null:
      }
    }
  }

  /** The job is erased: nothing will come any more. */
  endAll(): void {
    for (const one of this.sockets.all()) {
      this.end(one, "notFound", NO_SUCH_JOB.code, "The job is erased: nothing was said of it.");
    }
  }

  dueAt(): number | null {
    const due = this.sockets.all().map(({ at }) => socketDueAt(at, this.desk.job));
    const known = due.filter((at) => at !== null);
    return known.length === 0 ? null : Math.min(...known);
  }

  /** Who only follows has little to say but acknowledgements; one that may report has more. */
  private isFlood(one: JobSocket, now: number): boolean {
    if (one.at.publish || this.gate.admits(one, now)) return false;
    this.refuse(one, "rate_limited", TOO_MANY_FRAMES, undefined);
    this.hangUp(one, "tooMany", TOO_MANY_FRAMES);
    return true;
  }

  private heard(one: JobSocket, raw: string | ArrayBuffer, now: number): void {
    const decoded = decodeFrame<BackendClientFrame>(raw, backendClientFrame);
    if (!this.isWellFormed(one, decoded)) return;
    if (now - one.at.heardAt >= HEARD_EVERY_MS) {
      one.at.heardAt = now;
      this.sockets.remember(one);
    }
    const { frame } = decoded;
    if (frame.type !== "ack" && this.isFlood(one, now)) return;
    switch (frame.type) {
      case "ack":
        this.desk.feed.throttle.acknowledged(one, frame.offset, now);
        return;
      case "ping":
        this.answer(one, { type: "pong", timestamp: iso(now), ref: frame.ref });
        return;
      case "pong":
        return;
      default:
        this.report(one, frame, now);
    }
  }

  private report(one: JobSocket, { ref, ...report }: ReportFrame, now: number): void {
    const { publish, expiresAt } = one.at;
    if (!publish) {
      const why = `Your token does not let you report job:${this.id}.`;
      this.refuse(one, "not_allowed", why, ref);
      return;
    }
    if (expiresAt !== null && now >= expiresAt) {
      this.refuse(one, "not_authenticated", EXPIRED, ref);
      return;
    }
    const outcome = this.desk.apply(report, now);
    if (outcome.kind === "unknown") {
      this.refuse(one, NO_SUCH_JOB.code, NO_SUCH_JOB.detail, ref);
    } else if (outcome.kind === "ended") {
      this.refuse(one, JOB_ENDED.code, JOB_ENDED.detail, ref);
    } else {
      const { id: job_id, offset } = outcome.job;
      this.answer(one, { type: "ack", of: report.type, job_id, offset, ref });
    }
  }

  private ping(one: JobSocket, now: number): void {
    const { ping } = one.at;
    if (ping === null) return;
    this.sockets.send(one, { type: "ping", timestamp: iso(now) });
    one.at.ping = { ...ping, at: now + ping.everyMs };
    this.sockets.remember(one);
  }

  /** Only malformed frames in a row count: a slip now and then is forgiven. */
  private isWellFormed<T>(
    one: JobSocket,
    decoded: Decoded<T>,
  ): decoded is Extract<Decoded<T>, { ok: true }> {
    if (decoded.ok) {
      if (one.at.malformed > 0) this.countMalformed(one, 0);
      return true;
    }
    const { code, message } = decoded;
    this.refuse(one, code, message, undefined);
    this.countMalformed(one, one.at.malformed + 1);
    if (code === "frame_too_large") this.hangUp(one, "frameTooLarge", message);
    else if (one.at.malformed >= LIMITS.malformedFrames) {
      this.hangUp(one, "malformed", "Too many malformed frames.");
    }
    return false;
  }

  private countMalformed(one: JobSocket, count: number): void {
    one.at.malformed = count;
    this.sockets.remember(one);
  }

  private refuse(one: JobSocket, code: FrameErrorCode, message: string, ref: Ref): void {
    this.answer(one, errorFrame(code, message, { ref, job_id: this.id }));
  }

  private answer(one: JobSocket, frame: object): void {
    this.desk.afterwards(() => this.sockets.send(one, frame));
  }

  /** Closes a socket once the batch is told; its frames that came with this one count no more. */
  private hangUp(one: JobSocket, close: keyof typeof CLOSE, reason: string): void {
    this.desk.left(one);
    this.desk.afterwards(() => this.sockets.close(one, close, reason));
  }

  private end(
    one: JobSocket,
    close: keyof typeof CLOSE,
    code: FrameErrorCode,
    message: string,
  ): void {
    this.sockets.send(one, errorFrame(code, message, { job_id: this.id }));
    this.dismiss(one, close, message);
  }

  private dismiss(one: JobSocket, close: keyof typeof CLOSE, reason: string): void {
    if (!this.sockets.has(one)) return;
    this.desk.feed.left(one);
    this.sockets.close(one, close, reason);
  }
}

const EXPIRED = "The token has expired: dial again with a fresh one.";
