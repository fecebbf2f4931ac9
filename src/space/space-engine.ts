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
import { DEFER_MS, DeferredWrites } from "./jobs/deferred-writes.ts";
import type { Change } from "./jobs/unit-of-work.ts";
import type { SpaceCore } from "./space-core.ts";
import { connectSpaceParts, type SpaceDeps, type SpaceParts } from "./space-parts.ts";
import { type Heard, isSubmit, SUBMITTER_LEFT } from "./subscribers/subscriber-handler.ts";

const HEARD = { answer: () => undefined };

/** Runs batches over the parts of a space: handle, dispatch, store, then send. */
export class SpaceEngine {
  readonly parts: SpaceParts;
  private readonly deps: SpaceDeps;
  private readonly calls = new BurstDetector();
  private readonly frames = new BurstDetector(BURST_FRAMES);
  private readonly inbox: Inbox;
  private readonly deferredWrites: DeferredWrites;
  private isRetired = false;

  constructor(deps: SpaceDeps) {
    this.deps = deps;
    this.inbox = new Inbox({
      sendBuffer: deps.sendBuffer,
      isBurst: (now) => this.isBurst(now),
      run: (works) => this.run(works, true),
    });
    this.deferredWrites = new DeferredWrites(() => this.run(this.inbox.takeAll(), true));
    this.parts = connectSpaceParts(deps, (work) => this.runIfOpen(work));
    this.runNow((now) => {
      this.resolveOrphans(now);
      return () => this.rearm(now);
    });
  }

  get core(): SpaceCore {
    return this.parts.core;
  }

  /** Handles a message together with whatever else arrives in the same turn. */
  async onMessage(connection: Connection, raw: string | ArrayBuffer): Promise<void> {
    if (isWorker(connection)) {
      this.parts.workers.leases.renew(connection, Date.now());
      const frames = this.parts.workers.decode(connection, raw);
      await Promise.all(frames.map((decoded) => this.onWorkerFrame(connection, decoded)));
    } else {
      const frames = this.parts.subscribers.decode(connection, raw);
      await Promise.all(frames.map((heard) => this.onSubscriberFrame(connection, heard)));
    }
  }

  private onWorkerFrame(worker: WorkerConnection, decoded: Decoded<WorkerFrame>): Promise<void> {
    return this.inbox.join((now) => {
      this.parts.workers.onFrame(worker, decoded, now);
      return HEARD;
    });
  }

  private onSubscriberFrame(connection: SubscriberConnection, heard: Heard): Promise<void> {
    return this.parts.gate.pass(connection, isSubmit(heard), (isAllowed) => {
      if (this.isRetired) return Promise.resolve();
      this.frames.note(Date.now());
      return this.inbox.join((now) => {
        this.parts.subscribers.onFrame(connection, heard, isAllowed, now);
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
      this.parts.workers.sendHello(worker);
      return () => this.deps.armAlarm(openedAt + LIMITS.registerMs);
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
    this.parts.status.publish(Date.now());
    const connection = this.core.connections.accept<SubscriberAttachment>(socket, {
      kind: "subscriber",
      ...who,
      follows: [],
      muted: [],
      malformed: 0,
    });
    this.deps.onChange();
    if (job === null) {
      this.parts.status.open(connection, since, Date.now());
      return true;
    }
    this.parts.followers.catchUp(connection, job, since);
    if (isEnded(job)) this.parts.followers.finish(connection, job);
    else this.parts.followers.follow(connection, job.ulid);
    return true;
  }

  /** Its socket is gone; what a subscriber sent before that is handled first. */
  onClose(connection: Connection, saidGoodbye: boolean): Promise<void> {
    const leave = async () => {
      if (this.isRetired) return;
      this.runNow((now) => {
        if (isWorker(connection)) this.parts.workers.onClose(connection, saidGoodbye, now);
        else this.parts.subscribers.onClose(connection, saidGoodbye, now);
        return () => this.core.connections.close(connection, "done");
      });
    };
    return isWorker(connection) ? leave() : this.parts.gate.pass(connection, false, leave);
  }

  /** What is said of the workers must not count one that fell silent. */
  dropSilentWorkers(): void {
    if (!this.parts.workers.anySilent(Date.now())) return;
    this.runNow(() => () => null);
  }

  /** The space ends: what has arrived is handled, and nothing it still meant to do comes later. */
  retire(): void {
    this.isRetired = true;
    this.run(this.inbox.takeAll(), false);
    this.parts.status.stop();
    this.parts.followers.stop();
  }

  tick(now: number): void {
    this.parts.webhooks.send(now);
    for (const { job, effects } of this.core.jobs.tick(now))
      this.parts.dispatcher.perform(job, effects);
    this.parts.workers.tick(now);
  }

  async sweep(bucket: R2Bucket): Promise<void> {
    await this.parts.retention.sweep(bucket, Date.now(), (work) => this.runIfOpen(work));
  }

  rearm(now: number): void {
    this.parts.deadlines.rearm(now);
  }

  changeSettings(patch: SpacePatch, now: number): void {
    const { record } = this.core;
    this.core.record = { ...record, settings: { ...record.settings, ...patch }, updatedAt: now };
    this.core.spaces.write(this.core.record);
    this.parts.workers.announceSettings();
    if (this.core.record.settings.visibility === "private")
      this.parts.subscribers.dropStrangers(now);
    this.rearm(now);
  }

  drainWorkers(reason: string): void {
    this.parts.workers.drain(reason);
  }

  dropToken(tokenId: string, now: number): void {
    this.parts.workers.dropToken(tokenId, now);
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
      this.parts.workers.dropSilent(now);
      for (const work of works) this.attempt(work, now);
      this.parts.dispatcher.dispatch(now);
      core.jobs.defer(mayHold && core.jobs.areQuick(DEFER_MS) ? DEFER_MS : 0, now);
      // What is written in one turn the runtime stores in one transaction, or not where it aborts.
      core.jobs.save();
      changes = core.jobs.takeStored();
      this.parts.retention.note(changes);
      this.parts.summary.note(changes);
      webhookDue = this.parts.webhooks.note(changes, now, ulid);
    } catch (error) {
      this.deps.crash(error);
      throw error;
    }
    const { deferredSince } = core.jobs;
    this.deferredWrites.since(deferredSince);
    const isHeld = (ulid: string) => core.jobs.isDeferred(ulid);
    // First, because nothing that is told may keep a deadline from being watched.
    this.parts.deadlines.watch(changes, webhookDue, now);
    core.connections.together(() => {
      core.sendBuffer.flushAhead();
      core.sendBuffer.flush(isHeld);
      // All there is to tell of is held.
      if (changes.length === 0 && deferredSince !== null) return;
      this.parts.followers.deliver(changes, now);
      this.parts.status.schedule();
      this.parts.followers.schedulePositions(changes);
      this.deps.onChange();
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
      if (!isThere) this.parts.submissions.cancel(ulid, SUBMITTER_LEFT, now);
    }
    const present = new Set(
      this.core.connections.readyWorkers().map(({ attachment }) => attachment.state.generation),
    );
    for (const job of this.core.jobs.runningJobs()) {
      if (!present.has(job.generation)) this.core.jobs.apply(job.ulid, { type: "detach" }, now);
    }
  }
}
