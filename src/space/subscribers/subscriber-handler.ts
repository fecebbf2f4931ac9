import { type Position, parsePosition } from "../../channel/position.ts";
import { afterMalformed } from "../../objects/malformed-frames.ts";
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
import { isEnded } from "../../queue/job.ts";
import { CANCELED_ON_REQUEST, TOO_MANY_SUBMITS } from "../calls.ts";
import { framesOf, type SubscriberConnection } from "../connections.ts";
import type { Submissions } from "../jobs/submissions.ts";
import { epochOf, jobIdOf, ulidOf } from "../render.ts";
import type { SpaceCore } from "../space-core.ts";
import type { JobFollowers } from "./job-followers.ts";

/** What browsers and programs say over their sockets. */
export class SubscriberHandler {
  private readonly core: SpaceCore;
  private readonly followers: JobFollowers;
  private readonly intake: Submissions;

  constructor(core: SpaceCore, followers: JobFollowers, intake: Submissions) {
    this.core = core;
    this.followers = followers;
    this.intake = intake;
  }

  /** What a message says, frame by frame; it changes nothing yet. */
  decode(subscriber: SubscriberConnection, raw: string | ArrayBuffer): Heard[] {
    const { jobUlid } = subscriber.attachment;
    if (jobUlid !== null) return [{ jobUlid, decoded: decodeFrame(raw, jobClientFrame) }];
    const frames = framesOf<SpaceClientFrame>(subscriber, raw, spaceClientFrame);
    return frames.map((decoded) => ({ jobUlid, decoded }));
  }

  /** @param isAllowed `false`: a submit, and too many came from where it does */
  onFrame(
    subscriber: SubscriberConnection,
    onSpaceFrame: Heard,
    isAllowed: boolean,
    now: number,
  ): void {
    if (!this.isThere(subscriber)) return;
    this.countMalformed(subscriber, onSpaceFrame.decoded, now);
    if (!onSpaceFrame.decoded.ok) return;
    if (onSpaceFrame.jobUlid !== null)
      this.onJobFrame(subscriber, onSpaceFrame.jobUlid, onSpaceFrame.decoded.frame, now);
    else if (isAllowed) this.heard(subscriber, onSpaceFrame.decoded.frame, now);
    else this.refuse(subscriber, onSpaceFrame.decoded.frame);
  }

  /** Jobs it asked to be canceled with it are. */
  onClose(subscriber: SubscriberConnection, saidGoodbye: boolean, now: number): void {
    this.followers.remove(subscriber);
    const { leaving, jobUlid } = subscriber.attachment;
    if (leaving && jobUlid !== null && !saidGoodbye) {
      this.intake.cancel(jobUlid, SUBMITTER_LEFT, now);
    }
    for (const ulid of this.core.jobs.leavingWith(subscriber.attachment.id)) {
      this.intake.cancel(ulid, SUBMITTER_LEFT, now);
    }
  }

  /** The space is private now: who came without the operator's key leaves. */
  dropStrangers(now: number): void {
    for (const subscriber of this.core.connections.subscribers()) {
      if (subscriber.attachment.operator) continue;
      this.dismiss(subscriber, "notAuthenticated", "This space is private now.", now);
    }
  }

  /** Closes a subscriber's socket for a reason of the edge's own. */
  private dismiss(
    subscriber: SubscriberConnection,
    close: keyof typeof CLOSE,
    reason: string,
    now: number,
  ): void {
    this.onClose(subscriber, false, now);
    this.core.connections.forget(subscriber);
    // Nothing can be said after it.
    this.core.jobs.storeAll();
    this.core.sendBuffer.close(subscriber, close, reason);
  }

  /** `false` for one that was dismissed, and whose frames still come in. */
  private isThere(subscriber: SubscriberConnection): boolean {
    return this.core.connections.get(subscriber.attachment.id) !== null;
  }

  private onJobFrame(
    subscriber: SubscriberConnection,
    jobUlid: string,
    frame: JobClientFrame,
    now: number,
  ): void {
    if (frame.type === "cancel") this.intake.cancel(jobUlid, CANCELED_ON_REQUEST, now);
    else this.followers.throttle.onAck(subscriber, frame.offset, now);
  }

  private heard(subscriber: SubscriberConnection, frame: SpaceClientFrame, now: number): void {
    // It is answered after the submits before it.
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
        if (ulid !== null && this.intake.cancel(ulid, CANCELED_ON_REQUEST, now)) return;
        this.unknownJob(subscriber, frame);
      }
    }
  }

  private refuse(subscriber: SubscriberConnection, { ref }: SpaceClientFrame): void {
    const { code, detail } = TOO_MANY_SUBMITS;
    this.core.sendBuffer.error(subscriber, code, detail, { ref });
  }

  private submit(subscriber: SubscriberConnection, frame: SubmitFrame, now: number): void {
    const { type: _, ref, input, ...options } = frame;
    const { sendBuffer, record } = this.core;
    const item = { input, files: [], options, submitter: subscriber.attachment.id };
    const taken = this.intake.submit(item, now);
    if (!taken.ok) {
      sendBuffer.error(subscriber, taken.code, taken.message, { ref });
      return;
    }
    const { ulid } = taken.job;
    if (taken.isRepeat) this.follow(subscriber, { ref, job_id: jobIdOf(record.name, ulid) });
    else this.followers.follow(subscriber, ulid);
    const accepted = () => {
      const job = this.core.jobs.get(ulid) ?? taken.job;
      const queue_position = this.core.jobs.queue.position(job);
      const job_id = jobIdOf(record.name, ulid);
      return { type: "accepted", ref, job_id, queue_position, epoch: epochOf(ulid) };
    };
    sendBuffer.send(subscriber, accepted, [ulid]);
  }

  private follow(subscriber: SubscriberConnection, frame: Omit<FollowFrame, "type">): void {
    const ulid = ulidOf(this.core.record.name, frame.job_id);
    if (ulid === null || this.core.jobs.get(ulid) === null) {
      this.unknownJob(subscriber, frame);
      return;
    }
    this.followers.afterDelivery(() => {
      if (!this.isThere(subscriber)) return;
      const { attachment } = subscriber;
      // Counted here, because the frames before it in this batch come and go here as well.
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
    const job = ulid === null ? null : this.core.jobs.get(ulid);
    if (ulid === null || job === null) return;
    this.followers.afterDelivery(() => {
      const { attachment } = subscriber;
      attachment.follows = attachment.follows.filter((other) => other !== ulid);
      const own = job.submitter === attachment.id && !isEnded(job);
      if (own) attachment.muted = [...attachment.muted, ulid].slice(-LIMITS.followsPerSocket);
      this.followers.unfollow(subscriber, ulid);
      this.core.connections.remember(subscriber);
    });
  }

  /** Only malformed frames in a row count: a slip now and then is forgiven. */
  private countMalformed(
    subscriber: SubscriberConnection,
    problem: Decoded<unknown>,
    now: number,
  ): void {
    if (problem.ok) {
      if (subscriber.attachment.malformed === 0) return;
      subscriber.attachment.malformed = 0;
      this.core.connections.remember(subscriber);
      return;
    }
    this.core.sendBuffer.error(subscriber, problem.code, problem.message, refOf(problem.given));
    const { malformed, close } = afterMalformed(problem, subscriber.attachment.malformed);
    subscriber.attachment.malformed = malformed;
    this.core.connections.remember(subscriber);
    if (close) this.dismiss(subscriber, close.as, close.reason, now);
  }

  private unknownJob(
    subscriber: SubscriberConnection,
    frame: { job_id: string; ref?: string | number },
  ): void {
    const { job_id, ref } = frame;
    const message = "This space has no such job; it may have expired.";
    this.core.sendBuffer.error(subscriber, "job_not_found", message, { ref, job_id });
  }
}

/** A subscriber's frame, read. */
export type Heard =
  | { jobUlid: string; decoded: Decoded<JobClientFrame> }
  | { jobUlid: null; decoded: Decoded<SpaceClientFrame> };

export function isSubmit({ decoded }: Heard): boolean {
  return decoded.ok && decoded.frame.type === "submit";
}

export const SUBMITTER_LEFT = "The submitter disconnected.";

type SubmitFrame = Extract<SpaceClientFrame, { type: "submit" }>;
type FollowFrame = Extract<SpaceClientFrame, { type: "follow" }>;

/** The `ref` of a frame that is wrong elsewhere, so that its sender knows which one was refused. */
function refOf(given: Json | undefined): { ref?: string | number } {
  if (typeof given !== "object" || given === null || Array.isArray(given)) return {};
  const { ref } = given;
  return typeof ref === "string" || typeof ref === "number" ? { ref } : {};
}
