import { TOO_SLOW } from "../../channel/flow.ts";
import { framesSince, openingFrames, type ReplayableLog } from "../../channel/opening.ts";
import type { Position } from "../../channel/position.ts";
import { Throttle } from "../../channel/throttle.ts";
import { deliverEvents } from "../../objects/deliver-events.ts";
import { logErrors } from "../../objects/log-errors.ts";
import { startTimer } from "../../objects/start-timer.ts";
import { iso } from "../../protocol/iso.ts";
import { isEnded, type Job } from "../../queue/job.ts";
import { currentPieces } from "../../queue/output-files.ts";
import type { SubscriberConnection } from "../connections.ts";
import type { Change } from "../jobs/unit-of-work.ts";
import { epochOf, framesAfter, gapFrame, jobIdOf, outputFrames, snapshotFrame } from "../render.ts";
import type { SpaceCore } from "../space-core.ts";
import { jobContextOf } from "../space-status.ts";

/**
 * Followers of this many jobs at the front of the queue are sent every new position. Jobs behind them get
 * none: each position is an event of the job's log, and so a row to write.
 */
const SENT_POSITIONS = 20;
/** Least time between two rounds of new positions, milliseconds. */
const POSITIONS_EVERY_MS = 1_000;

/** Knows which subscribers follow which jobs of the space, and sends them the jobs' events (decision 0020). */
export class JobFollowers {
  readonly throttle: Throttle<SubscriberConnection>;
  private readonly core: SpaceCore;
  /** Followers by the job's ULID. */
  private readonly followers = new Map<string, Set<SubscriberConnection>>();
  /** The position last sent for each job, by ULID. */
  private readonly sentPositions = new Map<string, number>();
  /** Follows and unfollows that wait for the end of `deliver`. */
  private changesOfFollowers: (() => void)[] = [];
  private positionsTimer: ReturnType<typeof setTimeout> | null = null;

  private readonly runIfOpen: (step: (now: number) => void) => void;

  /** @param runIfOpen runs its argument in a batch of its own, unless the space was deleted meanwhile */
  constructor(core: SpaceCore, runIfOpen: (step: (now: number) => void) => void) {
    this.core = core;
    this.runIfOpen = runIfOpen;
    const { connections } = core;
    this.throttle = new Throttle({
      send: (subscriber, text) => connections.sendText(subscriber, text),
      remember: (subscriber) => connections.remember(subscriber),
      cut: (subscriber) => this.cut(subscriber),
      startTimer,
    });
    // A submitter follows its own jobs without asking. So after memory was lost it follows again those that have not
    // ended, unless it unfollowed them.
    const bySubmitter = new Map<string, SubscriberConnection>();
    for (const subscriber of connections.subscribers()) {
      if (subscriber.attachment.jobUlid === null)
        bySubmitter.set(subscriber.attachment.id, subscriber);
      else this.resume(subscriber, subscriber.attachment.jobUlid);
      for (const ulid of subscriber.attachment.follows) this.follow(subscriber, ulid);
    }
    if (bySubmitter.size === 0) return;
    const waiting = core.store.queuedOf(new Set(bySubmitter.keys()));
    for (const { ulid, submitter } of [...waiting, ...core.jobs.runningJobs()]) {
      const subscriber = submitter === null ? undefined : bySubmitter.get(submitter);
      if (subscriber && !subscriber.attachment.muted.includes(ulid)) this.follow(subscriber, ulid);
    }
  }

  /** Sends the subscriber the job's events from now on. */
  follow(subscriber: SubscriberConnection, ulid: string): void {
    const followers = this.followers.get(ulid);
    if (followers) followers.add(subscriber);
    else this.followers.set(ulid, new Set([subscriber]));
  }

  unfollow(subscriber: SubscriberConnection, ulid: string): void {
    const followers = this.followers.get(ulid);
    followers?.delete(subscriber);
    if (followers?.size === 0) this.forget(ulid);
  }

  /** The jobs that somebody follows, by ULID. */
  followed(): string[] {
    return [...this.followers.keys()];
  }

  /** Who follows a job. */
  of(ulid: string): SubscriberConnection[] {
    return [...(this.followers.get(ulid) ?? [])];
  }

  /** Forgets a subscriber whose socket has closed. */
  remove(subscriber: SubscriberConnection): void {
    this.throttle.remove(subscriber);
    for (const ulid of [...this.followers.keys()]) this.unfollow(subscriber, ulid);
  }

  /**
   * Sends the job's `connection` frame, then the events after `since`, or a snapshot if they are not all stored.
   */
  catchUp(subscriber: SubscriberConnection, job: Job, since: Position | null): void {
    this.sendAll(subscriber, openingFrames(this.logOf(job), since));
  }

  /** About how many bytes `catchUp` would read and send. */
  catchUpBytes(ulid: string, since: Position | null): number {
    const { store } = this.core;
    const outline = store.outlineOf(ulid);
    if (outline === null) return 0;
    const { log } = store;
    const last = Math.max(outline.offset, log.lastOffset(ulid));
    const epoch = epochOf({ ulid, logEpoch: outline.logEpoch });
    const goesOn = since !== null && since.epoch === epoch && since.offset <= last;
    return outline.bytes - log.bytesOf(ulid) + log.bytesAfter(ulid, goesOn ? since.offset : 0);
  }

  private sendAll(subscriber: SubscriberConnection, frames: readonly object[]): void {
    for (const frame of frames) this.core.connections.send(subscriber, frame);
  }

  private logOf(job: Job): ReplayableLog {
    const { log } = this.core.store;
    const context = jobContextOf(this.core, job);
    const trimmedTo = log.trimmedTo(job.ulid);
    return {
      address: { job_id: jobIdOf(this.core.record.name, job.ulid) },
      epoch: epochOf(job),
      last: job.offset,
      trimmedTo,
      timestamp: iso(job.updatedAt),
      eventsAfter: (offset) => framesAfter(job, log.after(job.ulid, offset), offset, context),
      snapshot: () => [
        ...(trimmedTo > 0 ? [gapFrame(job, trimmedTo, context)] : []),
        ...outputFrames(job, currentPieces(job, log.after(job.ulid, 0)), context),
        snapshotFrame(job, context),
      ],
    };
  }

  /**
   * After memory was lost, the socket of one job follows it again. Events that a throttle held back are sent
   * first.
   */
  private resume(subscriber: SubscriberConnection, ulid: string): void {
    this.follow(subscriber, ulid);
    const sentTo = subscriber.attachment.throttled?.sentTo ?? null;
    const job = sentTo === null ? null : this.core.jobs.get(ulid);
    if (sentTo === null || job === null) return;
    this.sendAll(subscriber, framesSince(this.logOf(job), sentTo));
    this.throttle.caughtUp(subscriber);
  }

  private cut(subscriber: SubscriberConnection): void {
    this.remove(subscriber);
    this.core.connections.close(subscriber, "tooMany", TOO_SLOW);
  }

  /** Sends followers what a stored batch changed; a job that has ended is no longer followed. */
  deliver(changes: Change[], now: number): void {
    const { connections } = this.core;
    for (const { job, before, log } of changes) {
      const followers = this.followers.get(job.ulid);
      if (!followers) continue;
      const frames = framesAfter(job, log, before?.offset ?? 0, jobContextOf(this.core, job));
      const delivery = {
        throttle: this.throttle,
        sendText: (subscriber: SubscriberConnection, text: string) =>
          connections.sendText(subscriber, text),
        onEnd: isEnded(job)
          ? (subscriber: SubscriberConnection) => this.finish(subscriber, job)
          : null,
      };
      deliverEvents(followers, frames, delivery, now);
      if (isEnded(job)) this.forget(job.ulid);
    }
    const changesOfFollowers = this.changesOfFollowers;
    this.changesOfFollowers = [];
    for (const change of changesOfFollowers) logErrors(change);
  }

  /**
   * Runs `change`, which adds or removes a follower, once the batch is stored and delivered. A new follower is
   * sent the log as it is then. If it were added before the delivery, it would be sent the batch's events twice.
   */
  afterDelivery(change: () => void): void {
    this.changesOfFollowers.push(change);
  }

  /**
   * Ends a subscriber's following of a job that has ended. The socket of one job is closed; a socket of the space
   * only frees one of the places for jobs that it follows.
   */
  finish(subscriber: SubscriberConnection, job: Job): void {
    const { attachment } = subscriber;
    if (attachment.jobUlid === job.ulid) {
      // If it was cut off meanwhile for being too slow, it is closed already.
      if (this.core.connections.get(attachment.id) === null) return;
      this.throttle.remove(subscriber);
      this.core.connections.close(subscriber, "done", "The job has ended.");
      return;
    }
    if (![...attachment.follows, ...attachment.muted].includes(job.ulid)) return;
    attachment.follows = attachment.follows.filter((ulid) => ulid !== job.ulid);
    attachment.muted = attachment.muted.filter((ulid) => ulid !== job.ulid);
    this.core.connections.remember(subscriber);
  }

  /** Sends followers of waiting jobs their new places in the queue, at most every POSITIONS_EVERY_MS. */
  schedulePositions(changes: readonly Change[]): void {
    const isQueueMoved = changes.some(
      ({ job, before }) => job.status === "queued" || before?.status === "queued",
    );
    if (!isQueueMoved || this.followers.size === 0) return;
    this.positionsTimer ??= setTimeout(() => {
      this.positionsTimer = null;
      this.runIfOpen((now) => {
        for (const { ulid, position } of this.takeMovedPositions()) {
          this.core.jobs.apply(ulid, { type: "position", position }, now);
        }
      });
    }, POSITIONS_EVERY_MS);
  }

  /** Cancels every timer. */
  stop(): void {
    if (this.positionsTimer !== null) clearTimeout(this.positionsTimer);
    this.throttle.stop();
  }

  /** Followed jobs near the front whose place in the queue has changed since it was last sent. */
  private takeMovedPositions(): { ulid: string; position: number }[] {
    const moved: { ulid: string; position: number }[] = [];
    for (const [index, { ulid }] of this.core.jobs.queue.front(SENT_POSITIONS).entries()) {
      const position = index + 1;
      if (!this.followers.has(ulid) || this.sentPositions.get(ulid) === position) continue;
      this.sentPositions.set(ulid, position);
      moved.push({ ulid, position });
    }
    return moved;
  }

  /** How many jobs somebody follows. */
  get followedCount(): number {
    return this.followers.size;
  }

  private forget(ulid: string): void {
    this.followers.delete(ulid);
    this.sentPositions.delete(ulid);
  }
}
