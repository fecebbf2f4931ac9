import { ulid } from "ulid";
import type { Position } from "../channel/position.ts";
import { BURST_FRAMES, BurstDetector } from "../objects/burst-detector.ts";
import { Inbox, type Question, type Work } from "../objects/inbox.ts";
import type { Decoded } from "../protocol/codec.ts";
import { LIMITS } from "../protocol/limits.ts";
import type { SpacePatch } from "../protocol/resources.ts";
import type { WorkerFrame } from "../protocol/worker-frames.ts";
import { isEnded } from "../queue/job.ts";
import {
  type Connection,
  isWorker,
  type NewSubscriber,
  type SubscriberAttachment,
  type SubscriberConnection,
  type WorkerAttachment,
  type WorkerConnection,
} from "./connections.ts";
import { Deadlines } from "./deadlines.ts";
import { DEFER_MS, DeferredWrites } from "./deferred-writes.ts";
import { JobFollowers } from "./job-followers.ts";
import { JobReads } from "./job-reads.ts";
import { Retention } from "./retention.ts";
import type { SpaceCore } from "./space-core.ts";
import { SpaceReport } from "./space-report.ts";
import { SpaceStatusChannel } from "./space-status-channel.ts";
import { Submissions } from "./submissions.ts";
import { type SubmitCounter, SubmitGate } from "./submit-gate.ts";
import { type Heard, isSubmit, SUBMITTER_LEFT, SubscriberHandler } from "./subscriber-handler.ts";
import { type Change, UnitOfWork } from "./unit-of-work.ts";
import { WebhookSender } from "./webhook-sender.ts";
import { WorkerHandler } from "./worker-handler.ts";

interface Parts extends Omit<SpaceCore, "jobs"> {
  /** On one's own machine webhooks may go anywhere. */
  allowPrivateWebhooks: boolean;
  /** Counts submits over sockets; `null` where nobody is limited. */
  submits: SubmitCounter | null;
  /** Of finished jobs; the oldest give way to new ones. */
  maxKeptBytes: number;
  /** Rings at the latest then; earlier alarms stay. */
  armAlarm: (at: number) => void;
  /** What the monitor is told of the space may be another now. */
  onChange: () => void;
  /** The monitor asks for it by itself. */
  isPolled: () => boolean;
  /** Memory and rows no longer agree: start again from the rows. */
  crash: (error: unknown) => void;
}

const HEARD = { answer: () => undefined };

/** Runs batches over the parts of a space: handle, dispatch, store, then tell. */
export class SpaceEngine {
  readonly core: SpaceCore;
  readonly submissions: Submissions;
  readonly reads: JobReads;
  readonly summary: SpaceReport;
  readonly webhooks: WebhookSender;
  private readonly parts: Parts;
  private readonly workers: WorkerHandler;
  private readonly subscribers: SubscriberHandler;
  private readonly followers: JobFollowers;
  private readonly status: SpaceStatusChannel;
  private readonly retention: Retention;
  private readonly deadlines: Deadlines;
  private readonly calls = new BurstDetector();
  private readonly frames = new BurstDetector(BURST_FRAMES);
  private readonly inbox: Inbox;
  private readonly deferredWrites: DeferredWrites;
  private readonly gate: SubmitGate;
  private isRetired = false;

  constructor(parts: Parts) {
    this.parts = parts;
    this.core = { ...parts, jobs: new UnitOfWork(parts.store) };
    this.inbox = new Inbox({
      sendBuffer: parts.sendBuffer,
      isBurst: (now) => this.isBurst(now),
      run: (works) => this.run(works, true),
    });
    this.deferredWrites = new DeferredWrites(() => this.run(this.inbox.takeAll(), true));
    this.gate = new SubmitGate(parts.submits);
    this.followers = new JobFollowers(this.core, (work) => this.runIfOpen(work));
    this.status = new SpaceStatusChannel(this.core);
    this.summary = new SpaceReport(this.core, this.followers);
    this.workers = new WorkerHandler(this.core);
    this.submissions = new Submissions(this.core, this.workers, parts.allowPrivateWebhooks);
    this.subscribers = new SubscriberHandler(this.core, this.followers, this.submissions);
    this.reads = new JobReads(this.core, this.followers);
    this.webhooks = new WebhookSender({
      store: parts.webhooks,
      spaces: parts.spaces,
      allowPrivate: parts.allowPrivateWebhooks,
      jobBody: (ulid) => this.reads.job(ulid),
      runIfOpen: (work) => this.runIfOpen(work),
    });
    this.retention = new Retention(this.core, parts.maxKeptBytes);
    this.deadlines = new Deadlines({
      core: this.core,
      workers: this.workers,
      webhooks: this.webhooks,
      retention: this.retention,
      isPolled: parts.isPolled,
      arm: parts.armAlarm,
    });
    this.runNow((now) => {
      this.resolveOrphans(now);
      return () => this.rearm(now);
    });
  }

  /** Handles a message together with whatever else arrives in the same turn. */
  async onMessage(connection: Connection, raw: string | ArrayBuffer): Promise<void> {
    if (isWorker(connection)) {
      this.workers.leases.renew(connection, Date.now());
      const frames = this.workers.decode(connection, raw);
      await Promise.all(frames.map((decoded) => this.onWorkerFrame(connection, decoded)));
    } else {
      const frames = this.subscribers.decode(connection, raw);
      await Promise.all(frames.map((heard) => this.onSubscriberFrame(connection, heard)));
    }
  }

  private onWorkerFrame(worker: WorkerConnection, decoded: Decoded<WorkerFrame>): Promise<void> {
    return this.inbox.join((now) => {
      this.workers.onFrame(worker, decoded, now);
      return HEARD;
    });
  }

  private onSubscriberFrame(connection: SubscriberConnection, heard: Heard): Promise<void> {
    return this.gate.pass(connection, isSubmit(heard), (isAllowed) => {
      if (this.isRetired) return Promise.resolve();
      this.frames.note(Date.now());
      return this.inbox.join((now) => {
        this.subscribers.onFrame(connection, heard, isAllowed, now);
        return HEARD;
      });
    });
  }

  private isBurst(now: number): boolean {
    const running = this.core.jobs.runningJobs().length;
    return this.frames.isBurst(running, now) || this.calls.isBurst(running, now);
  }

  /** A call joins the next batch. */
  enqueue<T>(work: Question<T>): Promise<T> {
    this.calls.note(Date.now());
    return this.inbox.join(work);
  }

  /** Runs a batch at once, with all that has arrived before it. */
  runNow<T>(work: (now: number) => () => T): T {
    let answer: (() => T) | undefined;
    const last = (now: number) => {
      answer = work(now);
    };
    this.run([...this.inbox.takeAll(), last], false);
    if (!answer) throw new Error("the batch was not stored");
    return answer();
  }

  openWorker(
    socket: WebSocket,
    who: { id: string; origin: string; tokenId: string; batch: boolean },
  ): void {
    const openedAt = Date.now();
    const at = { kind: "worker" as const, ...who, openedAt, state: { phase: "new" as const } };
    const worker = this.core.connections.accept<WorkerAttachment>(socket, at);
    this.runNow(() => {
      this.workers.sendHello(worker);
      return () => this.parts.armAlarm(openedAt + LIMITS.registerMs);
    });
  }

  /** A job that somebody asks for, whoever told them its id, is not held any longer. */
  flushIfDeferred(ulid: string): void {
    if (this.core.jobs.isDeferred(ulid)) this.runNow(() => () => null);
  }

  /** `false` where it asks for a job that is not there. */
  openSubscriber(socket: WebSocket, who: NewSubscriber, since: Position | null): boolean {
    const { jobUlid } = who;
    if (jobUlid !== null) this.flushIfDeferred(jobUlid);
    const job = jobUlid === null ? null : this.core.jobs.get(jobUlid);
    if (jobUlid !== null && job === null) return false;
    this.dropSilentWorkers();
    this.status.publish(Date.now());
    const connection = this.core.connections.accept<SubscriberAttachment>(socket, {
      kind: "subscriber",
      ...who,
      follows: [],
      muted: [],
      malformed: 0,
    });
    this.parts.onChange();
    if (job === null) {
      this.status.open(connection, since, Date.now());
      return true;
    }
    this.followers.catchUp(connection, job, since);
    if (isEnded(job)) this.followers.finish(connection, job);
    else this.followers.follow(connection, job.ulid);
    return true;
  }

  /** Its socket is gone; what a subscriber sent before that is handled first. */
  onClose(connection: Connection, saidGoodbye: boolean): Promise<void> {
    const leave = async () => {
      if (this.isRetired) return;
      this.runNow((now) => {
        if (isWorker(connection)) this.workers.onClose(connection, saidGoodbye, now);
        else this.subscribers.onClose(connection, saidGoodbye, now);
        return () => this.core.connections.close(connection, "done");
      });
    };
    return isWorker(connection) ? leave() : this.gate.pass(connection, false, leave);
  }

  /** What is said of the workers must not count one that fell silent. */
  dropSilentWorkers(): void {
    if (!this.workers.anySilent(Date.now())) return;
    this.runNow(() => () => null);
  }

  /** The space ends: what has arrived is handled, and nothing it still meant to do comes later. */
  retire(): void {
    this.isRetired = true;
    this.run(this.inbox.takeAll(), false);
    this.status.stop();
    this.followers.stop();
  }

  tick(now: number): void {
    this.webhooks.send(now);
    for (const { job, effects } of this.core.jobs.tick(now)) this.workers.perform(job, effects);
    this.workers.tick(now);
  }

  async sweep(bucket: R2Bucket): Promise<void> {
    await this.retention.sweep(bucket, Date.now(), (work) => this.runIfOpen(work));
  }

  rearm(now: number): void {
    this.deadlines.rearm(now);
  }

  changeSettings(patch: SpacePatch, now: number): void {
    const { record } = this.core;
    this.core.record = { ...record, settings: { ...record.settings, ...patch }, updatedAt: now };
    this.core.spaces.write(this.core.record);
    this.workers.announceSettings();
    if (this.core.record.settings.visibility === "private") this.subscribers.dropStrangers(now);
    this.rearm(now);
  }

  drainWorkers(reason: string): void {
    this.workers.drain(reason);
  }

  dropToken(tokenId: string, now: number): void {
    this.workers.dropToken(tokenId, now);
  }

  /** Stores what came of something that took its time, unless the space is gone meanwhile. */
  private runIfOpen(work: (now: number) => void): void {
    if (this.isRetired) return;
    this.runNow((now) => {
      work(now);
      return () => this.rearm(now);
    });
  }

  /** @param mayHold new jobs may stay in memory, untold, where their results are about to come */
  private run(works: Work[], mayHold: boolean): void {
    const now = Date.now();
    const { core } = this;
    let changes: Change[];
    let webhookDue: number | null = null;
    try {
      this.workers.dropSilent(now);
      for (const work of works) this.attempt(work, now);
      this.workers.dispatch(now);
      core.jobs.defer(mayHold && core.jobs.areQuick(DEFER_MS) ? DEFER_MS : 0, now);
      // What is written in one turn the runtime stores in one transaction, or not where it aborts.
      core.jobs.save();
      changes = core.jobs.takeStored();
      this.retention.note(changes);
      this.summary.note(changes);
      webhookDue = this.webhooks.note(changes, now, ulid);
    } catch (error) {
      this.parts.crash(error);
      throw error;
    }
    const { deferredSince } = core.jobs;
    this.deferredWrites.since(deferredSince);
    const isHeld = (ulid: string) => core.jobs.isDeferred(ulid);
    // First, because nothing that is told may keep a deadline from being watched.
    this.deadlines.watch(changes, webhookDue, now);
    core.connections.together(() => {
      core.sendBuffer.flushAhead();
      core.sendBuffer.flush(isHeld);
      // All there is to tell of is held.
      if (changes.length === 0 && deferredSince !== null) return;
      this.followers.deliver(changes, now);
      this.status.schedule();
      this.followers.schedulePositions(changes);
      this.parts.onChange();
    });
    core.jobs.told();
  }

  /** One frame's failure is its own: the others of the batch go on. */
  private attempt(work: Work, now: number): void {
    try {
      work(now);
    } catch (error) {
      console.error("a command of a batch failed", error);
    }
  }

  /**
   * After a restart no socket is left: the grace of every running attempt begins now, and who asked to
   * be canceled with its socket is.
   */
  private resolveOrphans(now: number): void {
    for (const { ulid, submitter } of this.core.store.leavingWithAny()) {
      const isThere = submitter !== null && this.core.connections.get(submitter) !== null;
      if (!isThere) this.submissions.cancel(ulid, SUBMITTER_LEFT, now);
    }
    const present = new Set(
      this.core.connections.readyWorkers().map(({ attachment }) => attachment.state.generation),
    );
    for (const job of this.core.jobs.runningJobs()) {
      if (!present.has(job.generation)) this.core.jobs.apply(job.ulid, { type: "detach" }, now);
    }
  }
}
