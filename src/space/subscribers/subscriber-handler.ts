import { TAKEN_BACK } from "../../auth/credential.ts";
import { TOKEN_EXPIRED } from "../../auth/session.ts";
import { type Position, parsePosition } from "../../channel/position.ts";
import { ackCost } from "../../channel/throttle.ts";
import type { CatchUpPace } from "../../objects/catch-up-pace.ts";
import { reviewSockets } from "../../objects/credentials.ts";
import { afterMalformed } from "../../objects/malformed-frames.ts";
import type { Refusal } from "../../objects/reply.ts";
import { findSilent, SILENT, signOf } from "../../objects/silent-sockets.ts";
import { type Decoded, decodeFrame, type Json } from "../../protocol/codec.ts";
import type { CLOSE } from "../../protocol/codes.ts";
import { errorFrame } from "../../protocol/error-frame.ts";
import { LIMITS } from "../../protocol/limits.ts";
import {
  type JobClientFrame,
  jobClientFrame,
  type SpaceClientFrame,
  spaceClientFrame,
} from "../../protocol/subscriber-frames.ts";
import { requestRef } from "../../protocol/values.ts";
import { isEnded } from "../../queue/job.ts";
import { jobRefusalOf, refusalOf, submitterOf } from "../access.ts";
import { CANCELED_ON_REQUEST } from "../calls.ts";
import { framesOf, isExpired, type SubscriberConnection } from "../connections.ts";
import type { Submissions } from "../jobs/submissions.ts";
import { epochOf, jobIdOf, ulidOf } from "../render.ts";
import type { SpaceCore } from "../space-core.ts";
import type { JobFollowers } from "./job-followers.ts";

/** Handles the frames of subscribers, on sockets of the whole space and of one job. */
export class SubscriberHandler {
  /** Since when the edge has run without standing still, milliseconds since 1970; 0 if it never stood still. */
  resumedAt = 0;
  private readonly core: SpaceCore;
  private readonly followers: JobFollowers;
  private readonly submissions: Submissions;
  private readonly pace: CatchUpPace<SubscriberConnection>;

  constructor(
    core: SpaceCore,
    followers: JobFollowers,
    submissions: Submissions,
    pace: CatchUpPace<SubscriberConnection>,
  ) {
    this.core = core;
    this.followers = followers;
    this.submissions = submissions;
    this.pace = pace;
  }

  /** Decodes the frames of a message, without handling them yet. */
  decode(subscriber: SubscriberConnection, raw: string | ArrayBuffer): SubscriberMessage[] {
    const { jobUlid } = subscriber.attachment;
    if (jobUlid !== null) return [{ jobUlid, decoded: decodeFrame(raw, jobClientFrame) }];
    const frames = framesOf<SpaceClientFrame>(subscriber, raw, spaceClientFrame);
    return frames.map((decoded) => ({ jobUlid, decoded }));
  }

  /** About how many bytes a frame makes the edge send so that the subscriber can catch up with a job. */
  catchUpBytes(subscriber: SubscriberConnection, { decoded }: SubscriberMessage): number {
    if (!decoded.ok) return 0;
    const { frame } = decoded;
    if (frame.type === "follow") {
      const ulid = ulidOf(this.core.record.name, frame.job_id);
      // How long the answer takes must not tell whether a job is somebody else's.
      const isOpen = ulid !== null && this.refusalOfJob(subscriber, ulid, "see") === null;
      return isOpen ? this.followers.catchUpBytes(ulid, parsePosition(frame.since)) : 0;
    }
    if (frame.type !== "submit" || frame.idempotency_key === undefined) return 0;
    const owner = submitterOf(this.core.record, subscriber.attachment.caller, frame.user);
    if (!owner.ok) return 0;
    const earlier = this.core.jobs.byIdempotencyKey(frame.idempotency_key, owner.user);
    return earlier === null ? 0 : this.followers.catchUpBytes(earlier.ulid, null);
  }

  /** Closes the socket of a subscriber that sends on and on while its frames wait. */
  onFlood(subscriber: SubscriberConnection, now: number): void {
    if (!this.isConnected(subscriber)) return;
    this.core.sendBuffer.error(subscriber, "rate_limited", TOO_MUCH_WAITS);
    this.dismiss(subscriber, "tooMany", TOO_MUCH_WAITS, now);
  }

  /** @param refusal why a submit is refused whose address has sent too many; otherwise `null` */
  onFrame(
    subscriber: SubscriberConnection,
    message: SubscriberMessage,
    refusal: Refusal | null,
    now: number,
  ): void {
    if (!this.isConnected(subscriber)) return;
    if (isExpired(subscriber.attachment, now)) {
      this.dismiss(subscriber, "notAuthenticated", TOKEN_EXPIRED, now);
      return;
    }
    this.countMalformed(subscriber, message.decoded, now);
    if (!message.decoded.ok) return;
    if (message.jobUlid !== null)
      this.onJobFrame(subscriber, message.jobUlid, message.decoded.frame, now);
    else if (refusal === null) this.onSpaceFrame(subscriber, message.decoded.frame, now);
    else this.refuse(subscriber, message.decoded.frame, refusal);
  }

  /** Closes the socket of a subscriber that sends too many frames; it may dial again. */
  refuseFlood(subscriber: SubscriberConnection, message: string, now: number): void {
    if (!this.isConnected(subscriber)) return;
    this.core.sendBuffer.error(subscriber, "rate_limited", message);
    this.dismiss(subscriber, "tooMany", message, now);
  }

  /**
   * Forgets a subscriber whose socket has closed, and cancels the jobs that were submitted with
   * `cancel_on_disconnect`. On the socket of one job, 1000 means that the stream was sent whole (decision 0019).
   */
  onClose(subscriber: SubscriberConnection, saidGoodbye: boolean, now: number): void {
    this.followers.remove(subscriber);
    const { leaving, jobUlid } = subscriber.attachment;
    if (leaving && jobUlid !== null && !saidGoodbye) {
      this.submissions.cancel(jobUlid, SUBMITTER_LEFT, now);
    }
    for (const ulid of this.core.jobs.leavingWith(subscriber.attachment.id)) {
      this.submissions.cancel(ulid, SUBMITTER_LEFT, now);
    }
  }

  /**
   * Closes sockets whose clients used to ping and have fallen silent (S21). No alarm is set for that: those who wait for
   * a job to be canceled when its submitter is gone have one that runs, whose worker is looked at.
   */
  tick(now: number, resumedAt: number): void {
    const { connections } = this.core;
    const subscribers = {
      all: () => connections.subscribers(),
      lastPingAt: (subscriber: SubscriberConnection) => connections.lastPingAt(subscriber),
    };
    for (const silent of findSilent(subscribers, now, Math.max(resumedAt, this.resumedAt))) {
      this.dismiss(silent, "goingAway", SILENT, now);
    }
    for (const subscriber of connections.subscribers()) {
      if (!isExpired(subscriber.attachment, now)) continue;
      this.dismiss(subscriber, "notAuthenticated", TOKEN_EXPIRED, now);
    }
  }

  /** See `reviewSockets`. */
  review(holder: string, ended: readonly string[], now: number): string[] {
    return reviewSockets(
      this.core.connections.subscribers(),
      { holder, ended },
      {
        credentialOf: ({ attachment }) => attachment.caller.credential,
        end: (subscriber) => {
          this.core.sendBuffer.error(subscriber, "not_authenticated", TAKEN_BACK);
          this.dismiss(subscriber, "notAuthenticated", TAKEN_BACK, now);
        },
      },
    );
  }

  /**
   * Takes from every socket what it has no right to any more, because the members or the space's settings have
   * changed: the socket, or single jobs that it follows (H1g).
   */
  dropStrangers(now: number): void {
    for (const subscriber of this.core.connections.subscribers()) {
      const { caller, jobUlid } = subscriber.attachment;
      if (jobUlid !== null || refusalOf(this.core.record, caller, "watch") === null) continue;
      this.dismiss(subscriber, "notAuthenticated", NO_RIGHT, now);
    }
    for (const ulid of this.followers.followed()) this.dropStrangersOf(ulid, now);
  }

  /** The same for one job, whose link may have changed. */
  dropStrangersOf(ulid: string, now: number): void {
    const { record, jobs } = this.core;
    const rights = jobs.rightsOf(ulid);
    for (const subscriber of this.followers.of(ulid)) {
      const { caller, jobUlid } = subscriber.attachment;
      if (jobRefusalOf(record, caller, rights, "see") === null) continue;
      if (jobUlid === null) this.dropJob(subscriber, ulid);
      else this.dismiss(subscriber, "notAuthenticated", NO_RIGHT, now);
    }
  }

  private dropJob(subscriber: SubscriberConnection, ulid: string): void {
    this.followers.unfollow(subscriber, ulid);
    const { attachment } = subscriber;
    attachment.follows = attachment.follows.filter((other) => other !== ulid);
    attachment.muted = [...attachment.muted, ulid].slice(-LIMITS.followsPerSocket);
    this.core.connections.remember(subscriber);
    this.sendUnknownJob(subscriber, { job_id: jobIdOf(this.core.record.name, ulid) });
  }

  private refusalOfJob(
    { attachment }: SubscriberConnection,
    ulid: string,
    purpose: "see" | "change",
  ): Refusal | null {
    const { record, jobs } = this.core;
    return jobRefusalOf(record, attachment.caller, jobs.rightsOf(ulid), purpose);
  }

  /** Closes a subscriber's socket on the edge's initiative. */
  dismiss(
    subscriber: SubscriberConnection,
    close: keyof typeof CLOSE,
    reason: string,
    now: number,
  ): void {
    this.pace.forget(subscriber);
    this.onClose(subscriber, false, now);
    this.core.connections.remove(subscriber);
    // Nothing can be sent after the close, so the answers to its deferred jobs must come before.
    this.core.jobs.storeAll();
    this.core.sendBuffer.close(subscriber, close, reason);
  }

  /** `false` for a subscriber that was dismissed but whose frames still come in. */
  private isConnected(subscriber: SubscriberConnection): boolean {
    return this.core.connections.get(subscriber.attachment.id) !== null;
  }

  private onJobFrame(
    subscriber: SubscriberConnection,
    jobUlid: string,
    frame: JobClientFrame,
    now: number,
  ): void {
    if (frame.type === "cancel") {
      // Whoever has only a link to the job may see it, and no more.
      const refusal = this.refusalOfJob(subscriber, jobUlid, "change");
      if (refusal === null) this.submissions.cancel(jobUlid, CANCELED_ON_REQUEST, now);
      else this.sendRefusal(subscriber, refusal, jobIdOf(this.core.record.name, jobUlid));
    } else this.followers.throttle.onAck(subscriber, frame.offset, now);
  }

  private onSpaceFrame(
    subscriber: SubscriberConnection,
    frame: SpaceClientFrame,
    now: number,
  ): void {
    // Answers go out in the order of the frames. A submit that is not stored yet is not answered yet: store it first.
    if (frame.type !== "submit") this.core.jobs.storeAll();
    switch (frame.type) {
      case "submit":
        this.submit(subscriber, frame, now);
        return;
      case "follow":
        this.follow(subscriber, frame);
        return;
      case "unfollow":
        this.unfollow(subscriber, frame.job_id);
        return;
      case "cancel": {
        const ulid = ulidOf(this.core.record.name, frame.job_id);
        if (ulid === null) this.sendUnknownJob(subscriber, frame);
        else this.cancel(subscriber, frame, ulid, now);
      }
    }
  }

  private cancel(
    subscriber: SubscriberConnection,
    frame: { job_id: string; ref?: string | number | undefined },
    ulid: string,
    now: number,
  ): void {
    const refusal = this.refusalOfJob(subscriber, ulid, "change");
    if (refusal === null) this.submissions.cancel(ulid, CANCELED_ON_REQUEST, now);
    else if (refusal.code === "job_not_found") this.sendUnknownJob(subscriber, frame);
    else this.sendRefusal(subscriber, refusal, frame.job_id, frame.ref);
  }

  private sendRefusal(
    subscriber: SubscriberConnection,
    { code, detail }: Refusal,
    job_id: string,
    ref?: string | number,
  ): void {
    this.core.sendBuffer.error(subscriber, code, detail, { ref, job_id });
  }

  private refuse(
    subscriber: SubscriberConnection,
    { ref }: SpaceClientFrame,
    { code, detail }: Refusal,
  ): void {
    this.core.sendBuffer.error(subscriber, code, detail, { ref });
  }

  private submit(subscriber: SubscriberConnection, frame: SubmitFrame, now: number): void {
    const { type: _, ref, input, ...options } = frame;
    const { sendBuffer, record } = this.core;
    const { id: submitter, caller } = subscriber.attachment;
    const item = { input, texts: [], files: [], options, submitter, caller };
    const outcome = this.submissions.submit(item, now);
    if (!outcome.ok) {
      const { code, message, errors } = outcome;
      sendBuffer.error(subscriber, code, message, { ref, errors });
      return;
    }
    const { ulid } = outcome;
    if (outcome.from === "key")
      this.follow(subscriber, { ref, job_id: jobIdOf(record.name, ulid) });
    else this.followers.follow(subscriber, ulid);
    const makeAccepted = () => {
      const queue_position = this.core.jobs.positionOf(ulid);
      const job_id = jobIdOf(record.name, ulid);
      return { type: "accepted", ref, job_id, queue_position, epoch: epochOf(ulid) };
    };
    sendBuffer.send(subscriber, makeAccepted, [ulid]);
  }

  private follow(subscriber: SubscriberConnection, frame: Omit<FollowFrame, "type">): void {
    if (this.pace.isGone(subscriber)) return;
    const ulid = ulidOf(this.core.record.name, frame.job_id);
    this.followers.afterDelivery(() => {
      if (!this.isConnected(subscriber)) return;
      if (ulid === null || this.refusalOfJob(subscriber, ulid, "see") !== null) {
        this.core.connections.send(subscriber, unknownJob(frame));
        return;
      }
      const { attachment } = subscriber;
      // Counted only now, because the `follow` and `unfollow` frames before it in this batch take effect only
      // now, too.
      if (
        !attachment.follows.includes(ulid) &&
        attachment.follows.length >= LIMITS.followsPerSocket
      ) {
        const message = `One socket follows ${LIMITS.followsPerSocket} jobs at most: unfollow some first.`;
        const { job_id, ref } = frame;
        const error = errorFrame("too_many_follows", message, { job_id, ref });
        this.core.connections.send(subscriber, error);
        return;
      }
      this.catchUp(subscriber, ulid, parsePosition(frame.since));
    });
  }

  /** Sends where the job stands, and follows it if it has not ended. */
  private catchUp(subscriber: SubscriberConnection, ulid: string, since: Position | null): void {
    const job = this.core.jobs.get(ulid);
    if (job === null) return;
    this.followers.catchUp(subscriber, job, since);
    if (isEnded(job)) return;
    const { attachment } = subscriber;
    attachment.follows = [...attachment.follows.filter((other) => other !== ulid), ulid];
    attachment.muted = attachment.muted.filter((other) => other !== ulid);
    this.core.connections.remember(subscriber);
    this.followers.follow(subscriber, ulid);
  }

  private unfollow(subscriber: SubscriberConnection, jobId: string): void {
    const ulid = ulidOf(this.core.record.name, jobId);
    // A job that has ended is no longer followed, and may be large.
    const job = ulid === null || this.core.jobs.hasEnded(ulid) ? null : this.core.jobs.get(ulid);
    if (ulid === null || job === null) return;
    this.followers.afterDelivery(() => {
      const { attachment } = subscriber;
      attachment.follows = attachment.follows.filter((other) => other !== ulid);
      const isOwn = job.submitter === attachment.id && !isEnded(job);
      if (isOwn) attachment.muted = [...attachment.muted, ulid].slice(-LIMITS.followsPerSocket);
      this.followers.unfollow(subscriber, ulid);
      this.core.connections.remember(subscriber);
    });
  }

  /** Notes that the client is there, and counts malformed frames in a row; a well-formed frame sets the count back to 0. */
  private countMalformed(
    subscriber: SubscriberConnection,
    decoded: Decoded<unknown>,
    now: number,
  ): void {
    const sign = signOf(subscriber.attachment, false, now);
    if (decoded.ok) {
      if (subscriber.attachment.malformed === 0 && sign === null) return;
      this.core.connections.change(subscriber, { ...sign, malformed: 0 });
      return;
    }
    this.core.sendBuffer.error(subscriber, decoded.code, decoded.message, refOf(decoded.given));
    const { malformed, close } = afterMalformed(decoded, subscriber.attachment.malformed);
    subscriber.attachment.malformed = malformed;
    this.core.connections.remember(subscriber);
    if (close) this.dismiss(subscriber, close.as, close.reason, now);
  }

  private sendUnknownJob(
    subscriber: SubscriberConnection,
    frame: { job_id: string; ref?: string | number | undefined },
  ): void {
    this.core.sendBuffer.send(subscriber, unknownJob(frame));
  }
}

function unknownJob({ job_id, ref }: { job_id: string; ref?: string | number }): object {
  const message = "This space has no such job; it may have expired.";
  return errorFrame("job_not_found", message, { ref, job_id });
}

/** A subscriber's decoded frame; `jobUlid` is that of a socket of one job. */
export type SubscriberMessage =
  | { jobUlid: string; decoded: Decoded<JobClientFrame> }
  | { jobUlid: null; decoded: Decoded<SpaceClientFrame> };

export function isSubmit({ decoded }: SubscriberMessage): boolean {
  return decoded.ok && decoded.frame.type === "submit";
}

/** Whether it takes effect once its batch is delivered, and is answered then: see `JobFollowers.afterDelivery`. */
export function isAnsweredLate({ decoded }: SubscriberMessage): boolean {
  return decoded.ok && (decoded.frame.type === "follow" || decoded.frame.type === "unfollow");
}

const TOO_MUCH_WAITS =
  "Too many frames wait for what you asked for before: read that first, and send fewer.";
/** How many frames a message counts as. Submits that are not limited at all don't count. */
export function costOf(
  { attachment }: SubscriberConnection,
  message: SubscriberMessage,
  areSubmitsFree: boolean,
): number {
  const { decoded } = message;
  if (decoded.ok && decoded.frame.type === "ack") return ackCost(attachment.throttled);
  return areSubmitsFree && isSubmit(message) ? 0 : 1;
}

const NO_RIGHT = "You have no right to this any more.";

export const SUBMITTER_LEFT = "The submitter disconnected.";

type SubmitFrame = Extract<SpaceClientFrame, { type: "submit" }>;
type FollowFrame = Extract<SpaceClientFrame, { type: "follow" }>;

/** The `ref` of a malformed frame if that part can be read, so that the client knows which frame was refused. */
function refOf(given: Json | undefined): { ref?: string | number } {
  if (typeof given !== "object" || given === null || Array.isArray(given)) return {};
  const { ref } = given;
  if (typeof ref === "string") return { ref };
  const number = requestRef.safeParse(ref);
  return number.success ? { ref: number.data } : {};
}
