import { ulid } from "ulid";
import type { Position } from "../channel/position.ts";
import type { Decoded } from "../protocol/codec.ts";
import { LIMITS } from "../protocol/limits.ts";
import type { SpacePatch } from "../protocol/resources.ts";
import type { WorkerFrame } from "../protocol/worker-frames.ts";
import { isEnded } from "../queue/job.ts";
import { Announcer } from "./announcer.ts";
import {
  type Connection,
  isWorker,
  type NewSubscriber,
  type SubscriberAttachment,
  type SubscriberConnection,
  type WorkerAttachment,
  type WorkerConnection,
} from "./connections.ts";
import type { SpaceCore } from "./core.ts";
import { Deadlines } from "./deadlines.ts";
import { Feed } from "./feed.ts";
import { Figures } from "./figures.ts";
import { HOLD_MS, Hold } from "./hold.ts";
import { Inbox, type Question, type Work } from "./inbox.ts";
import { Intake } from "./intake.ts";
import { JobReads } from "./job-reads.ts";
import { type Change, Ledger } from "./ledger.ts";
import { MANY_FRAMES, Pace } from "./pace.ts";
import { Retention } from "./retention.ts";
import { type SubmitCounter, SubmitGate } from "./submit-gate.ts";
import { type Heard, isSubmit, SUBMITTER_LEFT, SubscriberDesk } from "./subscriber-desk.ts";
import { WebhookDesk } from "./webhook-desk.ts";
import { WorkerDesk } from "./worker-desk.ts";

interface Parts extends Omit<SpaceCore, "ledger"> {
  /** On one's own machine webhooks may go anywhere. */
  allowPrivateWebhooks: boolean;
  /** Counts submits over sockets; `null` where nobody is limited. */
  submits: SubmitCounter | null;
  /** Of finished jobs; the oldest give way to new ones. */
  maxKeptBytes: number;
  /** Rings at the latest then; earlier alarms stay. */
  armAlarm: (at: number) => void;
  /** What the monitor is told of the space may be another now. */
  changed: () => void;
  /** The monitor asks for it by itself. */
  isAwaited: () => boolean;
  /** Memory and rows no longer agree: start again from the rows. */
  crash: (error: unknown) => void;
}

const HEARD = { answer: () => undefined };

/** Runs batches over the parts of a space: handle, dispatch, store, then tell. */
export class SpaceDesk {
  readonly core: SpaceCore;
  readonly intake: Intake;
  readonly reads: JobReads;
  readonly figures: Figures;
  readonly webhooks: WebhookDesk;
  private readonly parts: Parts;
  private readonly workers: WorkerDesk;
  private readonly subscribers: SubscriberDesk;
  private readonly feed: Feed;
  private readonly announcer: Announcer;
  private readonly retention: Retention;
  private readonly deadlines: Deadlines;
  private readonly calls = new Pace();
  private readonly frames = new Pace(MANY_FRAMES);
  private readonly inbox: Inbox;
  private readonly hold: Hold;
  private readonly gate: SubmitGate;
  private isRetired = false;

  constructor(parts: Parts) {
    this.parts = parts;
    this.core = { ...parts, ledger: new Ledger(parts.store) };
    this.inbox = new Inbox({
      outbox: parts.outbox,
      isBrisk: (now) => this.isBrisk(now),
      run: (works) => this.run(works, true),
    });
    this.hold = new Hold(() => this.run(this.inbox.takeAll(), true));
    this.gate = new SubmitGate(parts.submits);
    this.feed = new Feed(this.core, crypto.randomUUID().slice(0, 8));
    this.figures = new Figures(this.core, this.feed);
    this.workers = new WorkerDesk(this.core);
    this.intake = new Intake(this.core, this.workers, parts.allowPrivateWebhooks);
    this.subscribers = new SubscriberDesk(this.core, this.feed, this.intake);
    this.reads = new JobReads(this.core, this.feed);
    this.webhooks = new WebhookDesk({
      store: parts.webhooks,
      spaces: parts.spaces,
      allowPrivate: parts.allowPrivateWebhooks,
      jobBody: (ulid) => this.reads.job(ulid),
      commit: (work) => this.commit(work),
    });
    this.announcer = new Announcer(this.core, this.feed, (work) => this.commit(work));
    this.retention = new Retention(this.core, parts.maxKeptBytes);
    this.deadlines = new Deadlines({
      core: this.core,
      workers: this.workers,
      webhooks: this.webhooks,
      retention: this.retention,
      isAwaited: parts.isAwaited,
      arm: parts.armAlarm,
    });
    this.batch((now) => {
      this.settleOrphans(now);
      return () => this.rearm(now);
    });
  }

  /** Handles a message together with whatever else arrives in the same turn. */
  async receive(connection: Connection, raw: string | ArrayBuffer): Promise<void> {
    if (isWorker(connection)) {
      this.workers.leases.heardFrom(connection, Date.now());
      const frames = this.workers.read(connection, raw);
      await Promise.all(frames.map((decoded) => this.heardWorker(connection, decoded)));
    } else {
      const frames = this.subscribers.read(connection, raw);
      await Promise.all(frames.map((heard) => this.heardSubscriber(connection, heard)));
    }
  }

  private heardWorker(worker: WorkerConnection, decoded: Decoded<WorkerFrame>): Promise<void> {
    return this.inbox.join((now) => {
      this.workers.receive(worker, decoded, now);
      return HEARD;
    });
  }

  private heardSubscriber(connection: SubscriberConnection, heard: Heard): Promise<void> {
    return this.gate.pass(connection, isSubmit(heard), (isAllowed) => {
      if (this.isRetired) return Promise.resolve();
      this.frames.arrived(Date.now());
      return this.inbox.join((now) => {
        this.subscribers.receive(connection, heard, isAllowed, now);
        return HEARD;
      });
    });
  }

  private isBrisk(now: number): boolean {
    const running = this.core.ledger.runningJobs().length;
    return this.frames.isBrisk(running, now) || this.calls.isBrisk(running, now);
  }

  /** A call joins the next batch. */
  enqueue<T>(work: Question<T>): Promise<T> {
    this.calls.arrived(Date.now());
    return this.inbox.join(work);
  }

  /** Runs a batch at once, with all that has arrived before it. */
  batch<T>(work: (now: number) => () => T): T {
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
    this.batch(() => {
      this.workers.welcome(worker);
      return () => this.parts.armAlarm(openedAt + LIMITS.registerMs);
    });
  }

  /** A job that somebody asks for, whoever told them its id, is not held any longer. */
  askedFor(ulid: string): void {
    if (this.core.ledger.isHeld(ulid)) this.batch(() => () => null);
  }

  /** `false` where it asks for a job that is not there. */
  openSubscriber(socket: WebSocket, who: NewSubscriber, since: Position | null): boolean {
    const { jobUlid } = who;
    if (jobUlid !== null) this.askedFor(jobUlid);
    const job = jobUlid === null ? null : this.core.ledger.get(jobUlid);
    if (jobUlid !== null && job === null) return false;
    this.dropSilent();
    this.feed.publishStatus(Date.now());
    const connection = this.core.connections.accept<SubscriberAttachment>(socket, {
      kind: "subscriber",
      ...who,
      follows: [],
      muted: [],
      malformed: 0,
    });
    this.parts.changed();
    if (job === null) {
      this.feed.openSpace(connection, since, Date.now());
      return true;
    }
    this.feed.catchUp(connection, job, since);
    if (isEnded(job)) this.feed.finish(connection, job);
    else this.feed.follow(connection, job.ulid);
    return true;
  }

  /** Its socket is gone; what a subscriber sent before that is handled first. */
  left(connection: Connection, saidGoodbye: boolean): Promise<void> {
    const leave = async () => {
      if (this.isRetired) return;
      this.batch((now) => {
        if (isWorker(connection)) this.workers.left(connection, saidGoodbye, now);
        else this.subscribers.left(connection, saidGoodbye, now);
        return () => this.core.connections.close(connection, "done");
      });
    };
    return isWorker(connection) ? leave() : this.gate.pass(connection, false, leave);
  }

  /** What is said of the workers must not count one that fell silent. */
  dropSilent(): void {
    if (!this.workers.anySilent(Date.now())) return;
    this.batch(() => () => null);
  }

  /** The space ends: what has arrived is handled, and nothing it still meant to do comes later. */
  retire(): void {
    this.isRetired = true;
    this.run(this.inbox.takeAll(), false);
    this.announcer.stop();
    this.feed.throttle.stop();
  }

  tick(now: number): void {
    this.webhooks.send(now);
    for (const { job, effects } of this.core.ledger.tick(now)) this.workers.perform(job, effects);
    this.workers.tick(now);
  }

  async sweep(bucket: R2Bucket): Promise<void> {
    await this.retention.sweep(bucket, Date.now(), (work) => this.commit(work));
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
  private commit(work: (now: number) => void): void {
    if (this.isRetired) return;
    this.batch((now) => {
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
      core.ledger.hold(mayHold && core.ledger.areQuick(HOLD_MS) ? HOLD_MS : 0, now);
      // What is written in one turn the runtime stores in one transaction, or not where it aborts.
      core.ledger.save();
      changes = core.ledger.settle();
      this.retention.note(changes);
      this.figures.note(changes);
      webhookDue = this.webhooks.note(changes, now, ulid);
    } catch (error) {
      this.parts.crash(error);
      throw error;
    }
    const { heldSince } = core.ledger;
    this.hold.since(heldSince);
    const isHeld = (ulid: string) => core.ledger.isHeld(ulid);
    // First, because nothing that is told may keep a deadline from being watched.
    this.deadlines.watch(changes, webhookDue, now);
    core.connections.together(() => {
      core.outbox.flushAhead();
      core.outbox.flush(isHeld);
      // All there is to tell of is held.
      if (changes.length === 0 && heldSince !== null) return;
      this.feed.deliver(changes, now);
      this.announcer.announce(changes);
      this.parts.changed();
    });
    core.ledger.told();
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
  private settleOrphans(now: number): void {
    for (const { ulid, submitter } of this.core.store.leavingWithAny()) {
      const isThere = submitter !== null && this.core.connections.get(submitter) !== null;
      if (!isThere) this.intake.cancel(ulid, SUBMITTER_LEFT, now);
    }
    const present = new Set(
      this.core.connections.readyWorkers().map(({ at }) => at.state.generation),
    );
    for (const job of this.core.ledger.runningJobs()) {
      if (!present.has(job.generation)) this.core.ledger.apply(job.ulid, { type: "detach" }, now);
    }
  }
}
