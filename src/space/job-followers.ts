import { TOO_SLOW } from "../channel/flow.ts";
import { type Position, recover } from "../channel/position.ts";
import { eventTextsOf, type JobEventText, Throttle } from "../channel/throttle.ts";
import { logErrors } from "../objects/log-errors.ts";
import { startTimer } from "../objects/start-timer.ts";
import { iso } from "../protocol/iso.ts";
import { currentOutput, isEnded, type Job } from "../queue/job.ts";
import { spaceStatusOf, waitingReasonFor } from "../queue/status.ts";
import type { SubscriberConnection } from "./connections.ts";
import {
  epochOf,
  framesAfter,
  gapFrame,
  type JobView,
  jobIdOf,
  logFrame,
  snapshotFrame,
} from "./render.ts";
import type { SpaceCore } from "./space-core.ts";
import { snapshotOf } from "./space-status.ts";
import type { Change } from "./unit-of-work.ts";

/** Positions nearer to the head than this are told one by one; farther ones are not worth a row. */
const TOLD_POSITIONS = 20;

/** Who follows what, and what they are sent. */
export class JobFollowers {
  readonly throttle: Throttle<SubscriberConnection>;
  private readonly core: SpaceCore;
  private readonly followers = new Map<string, Set<SubscriberConnection>>();
  private readonly sentPositions = new Map<string, number>();
  private readonly epoch: string;
  private changesOfFollowers: (() => void)[] = [];
  private statusOffset = 0;
  private statusText = "";
  private statusAt = 0;
  /** Sockets of the space that know this memory's epoch. */
  private readonly greeted = new WeakSet<SubscriberConnection>();

  /** `epoch` names this memory of the space's status, which ends with it. */
  constructor(core: SpaceCore, epoch: string) {
    this.core = core;
    this.epoch = epoch;
    const { connections } = core;
    this.throttle = new Throttle({
      send: (subscriber, text) => connections.sendText(subscriber, text),
      remember: (subscriber) => connections.remember(subscriber),
      cut: (subscriber) => this.cut(subscriber),
      startTimer: startTimer,
    });
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

  remove(subscriber: SubscriberConnection): void {
    this.throttle.remove(subscriber);
    for (const ulid of [...this.followers.keys()]) this.unfollow(subscriber, ulid);
  }

  /** The state now, or what was missed; then, for a job that is over, the end. */
  catchUp(subscriber: SubscriberConnection, job: Job, since: Position | null): void {
    const { connections, store, record } = this.core;
    const epoch = epochOf(job.ulid);
    const trimmedTo = store.log.trimmedTo(job.ulid);
    const recovery = recover(since, { epoch, last: job.offset, first: trimmedTo + 1 });
    connections.send(subscriber, {
      type: "connection",
      job_id: jobIdOf(record.name, job.ulid),
      epoch,
      offset: recovery.recovered ? recovery.after : job.offset,
      recovered: recovery.recovered,
      timestamp: iso(job.updatedAt),
    });
    this.replay(subscriber, job, recovery.recovered ? recovery.after : null);
  }

  /** What came after an offset; with `null` the job as it is now. */
  private replay(subscriber: SubscriberConnection, job: Job, after: number | null): void {
    const { connections, store } = this.core;
    const log = store.log.after(job.ulid, after ?? 0);
    const view = this.view(job);
    const trimmedTo = store.log.trimmedTo(job.ulid);
    const frames =
      after !== null
        ? framesAfter(job, log, after, view)
        : [
            ...(trimmedTo > 0 ? [gapFrame(job, trimmedTo, view)] : []),
            ...currentOutput(job, log).map((piece) => logFrame(job, piece, view)),
            snapshotFrame(job, view),
          ];
    for (const frame of frames) connections.send(subscriber, frame);
  }

  /** After memory was lost a socket of one job goes on, with what was held back first. */
  private resume(subscriber: SubscriberConnection, ulid: string): void {
    this.follow(subscriber, ulid);
    const sentTo = subscriber.attachment.throttled?.sentTo ?? null;
    const job = sentTo === null ? null : this.core.jobs.get(ulid);
    if (sentTo === null || job === null) return;
    const isKept = sentTo >= this.core.store.log.trimmedTo(ulid);
    this.replay(subscriber, job, isKept ? sentTo : null);
    this.throttle.caughtUp(subscriber);
  }

  private cut(subscriber: SubscriberConnection): void {
    this.remove(subscriber);
    this.core.connections.close(subscriber, "tooMany", TOO_SLOW);
  }

  /** Tells followers what a stored batch changed; whoever followed a job to its end follows no more. */
  deliver(changes: Change[], now: number): void {
    for (const { job, before, log } of changes) {
      const followers = this.followers.get(job.ulid);
      if (!followers) continue;
      const frames = framesAfter(job, log, before?.offset ?? 0, this.view(job));
      const texts = frames.map((frame) => JSON.stringify(frame));
      let told: JobEventText[] | undefined;
      for (const subscriber of followers) {
        if (subscriber.attachment.throttled === null) {
          for (const text of texts) this.core.connections.sendText(subscriber, text);
        } else {
          const toTell = told ?? eventTextsOf(frames, texts);
          told = toTell;
          logErrors(() => this.throttle.send(subscriber, toTell, now));
        }
        if (isEnded(job)) logErrors(() => this.finish(subscriber, job));
      }
      if (isEnded(job)) this.forget(job.ulid);
    }
    const arrivals = this.changesOfFollowers;
    this.changesOfFollowers = [];
    for (const arrive of arrivals) logErrors(arrive);
  }

  /**
   * Comes or goes once the batch is stored and told: who is caught up with the log as it is then must
   * not hear of the batch again.
   */
  afterDelivery(change: () => void): void {
    this.changesOfFollowers.push(change);
  }

  /** A socket of one job is done with the job; any other only frees its place. */
  finish(subscriber: SubscriberConnection, job: Job): void {
    const { attachment } = subscriber;
    if (attachment.jobUlid === job.ulid) {
      // One that was cut off meanwhile was told so.
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

  /** Followed jobs near the head whose place in the queue has changed since they were told. */
  takeMovedPositions(): { ulid: string; position: number }[] {
    const moved: { ulid: string; position: number }[] = [];
    for (const [index, { ulid }] of this.core.jobs.queue.front(TOLD_POSITIONS).entries()) {
      const position = index + 1;
      if (!this.followers.has(ulid) || this.sentPositions.get(ulid) === position) continue;
      this.sentPositions.set(ulid, position);
      moved.push({ ulid, position });
    }
    return moved;
  }

  /** Jobs that somebody follows. */
  get followedCount(): number {
    return this.followers.size;
  }

  hasFollowers(): boolean {
    return this.followers.size > 0;
  }

  /** The first frames of a socket of the whole space; the others must know the status by then. */
  openSpace(subscriber: SubscriberConnection, since: Position | null, now: number): void {
    const { epoch, statusOffset: last } = this;
    const recovery = recover(since, { epoch, last, first: last });
    const offset = recovery.recovered ? recovery.after : last;
    this.greet(subscriber, offset, recovery.recovered, now);
    if (recovery.recovered && recovery.after === last) return;
    this.core.connections.send(subscriber, this.statusFrame());
  }

  /** Tells every socket of the space its status, if it changed. */
  publishStatus(now: number): void {
    if (!this.refreshStatus(now)) return;
    const text = JSON.stringify(this.statusFrame());
    for (const subscriber of this.core.connections.subscribers()) {
      if (subscriber.attachment.jobUlid !== null) continue;
      if (!this.greeted.has(subscriber)) this.greet(subscriber, this.statusOffset, false, now);
      this.core.connections.sendText(subscriber, text);
    }
  }

  /** A socket that outlived the memory it was opened in is told that offsets start anew. */
  private greet(
    subscriber: SubscriberConnection,
    offset: number,
    recovered: boolean,
    now: number,
  ): void {
    this.greeted.add(subscriber);
    const { epoch } = this;
    const { name: space } = this.core.record;
    const frame = { type: "connection", space, epoch, offset, recovered, timestamp: iso(now) };
    this.core.connections.send(subscriber, frame);
  }

  view(job: Job): JobView {
    const { record, jobs } = this.core;
    const waitingReason =
      job.status === "queued" ? waitingReasonFor(snapshotOf(this.core), job.requires) : null;
    return { space: record.name, queuePosition: jobs.queue.position(job), waitingReason };
  }

  private refreshStatus(now: number): boolean {
    const text = JSON.stringify(spaceStatusOf(snapshotOf(this.core)));
    if (text === this.statusText) return false;
    this.statusText = text;
    this.statusOffset += 1;
    this.statusAt = now;
    return true;
  }

  private statusFrame(): object {
    return {
      type: "space.status",
      space: this.core.record.name,
      ...JSON.parse(this.statusText),
      offset: this.statusOffset,
      timestamp: iso(this.statusAt),
    };
  }

  private forget(ulid: string): void {
    this.followers.delete(ulid);
    this.sentPositions.delete(ulid);
  }
}
