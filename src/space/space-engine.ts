import { ulid } from "ulid";
import { TOO_SLOW } from "../channel/flow.ts";
import type { Position } from "../channel/position.ts";
import { BurstDetector } from "../objects/burst-detector.ts";
import { type AnsweredStep, type BatchStep, Inbox } from "../objects/inbox.ts";
import type { Refusal } from "../objects/reply.ts";
import type { SocketRequestOf } from "../objects/socket-request.ts";
import { LIMITS } from "../protocol/limits.ts";
import type { SettingsPatch } from "../protocol/resources.ts";
import { isEnded } from "../queue/job.ts";
import type { OutputFile } from "../queue/output-files.ts";
import { ATTEMPT_OVER, NO_SUCH_JOB } from "./calls.ts";
import {
  type Connection,
  isWorker,
  type NewSubscriber,
  type SubscriberAttachment,
  type WorkerAttachment,
} from "./connections.ts";
import { EdgeAbsence } from "./edge-absence.ts";
import { DEFER_MS, DeferredWrites } from "./jobs/deferred-writes.ts";
import type { Change } from "./jobs/unit-of-work.ts";
import type { UploadEnd, UploadTarget } from "./jobs/uploads.ts";
import { MessageIntake } from "./message-intake.ts";
import type { SpaceCore } from "./space-core.ts";
import { connectSpaceParts, type SpaceDeps, type SpaceParts } from "./space-parts.ts";
import { NOTHING } from "./subscribers/submit-gate.ts";
import { SUBMITTER_LEFT } from "./subscribers/subscriber-handler.ts";

/** The reason that a job gets which is erased before it has ended. */
const ERASED = "The job was erased.";

/**
 * Gathers what arrives at a space into batches and runs them: handle every command, hand jobs to workers,
 * store, and only then send (decision 0006).
 */
export class SpaceEngine {
  readonly parts: SpaceParts;
  private readonly deps: SpaceDeps;
  /** Arrivals of RPC calls. */
  private readonly calls = new BurstDetector();
  private readonly inbox: Inbox;
  private readonly intake: MessageIntake;
  private readonly deferredWrites: DeferredWrites;
  private readonly absence: EdgeAbsence;
  /** The space was deleted: nothing may be stored any more. */
  private isRetired = false;

  constructor(deps: SpaceDeps) {
    this.deps = deps;
    this.inbox = new Inbox({
      sendBuffer: deps.sendBuffer,
      isBurst: (now) => this.isBurst(now),
      run: (steps) => this.run(steps, true),
    });
    this.deferredWrites = new DeferredWrites(() => this.run(this.inbox.takeIfFew(), true));
    this.parts = connectSpaceParts(deps, (step) => this.runIfOpen(step));
    this.absence = new EdgeAbsence({
      ...this.parts,
      mayStandStill: deps.mayStandStill,
      runIfOpen: (step) => this.runIfOpen(step),
    });
    this.intake = new MessageIntake(this.parts, {
      inbox: this.inbox,
      isRetired: () => this.isRetired,
      runIfOpen: (step) => this.runIfOpen(step),
      runInOrder: (step) => this.runInOrder(step),
      runStep: (step, now) => this.runStep(step, now),
    });
    deps.connections.onTooSlow = (slow) =>
      this.runIfOpen((now) => this.dropSlow(slow as Connection, now));
    this.runNow((now) => {
      this.parts.workers.recover(now);
      this.cancelForAbsentSubmitters(now);
      this.absence.onStart(deps.alarmAt, now);
      return () => this.rearm(now);
    });
  }

  get core(): SpaceCore {
    return this.parts.core;
  }

  /** Handles a message in one batch with whatever else arrives in the same turn of the event loop. */
  onMessage(connection: Connection, raw: string | ArrayBuffer): Promise<void> {
    return this.intake.onMessage(connection, raw);
  }

  private isBurst(now: number): boolean {
    const running = this.core.jobs.runningJobs().length;
    return this.intake.isBurst(running, now) || this.calls.isBurst(running, now);
  }

  /** Adds an RPC call to the next batch. Its answer comes once the batch is stored. */
  enqueue<T>(step: AnsweredStep<T>): Promise<T> {
    this.calls.onArrival(Date.now());
    return this.inbox.join(step);
  }

  /**
   * Runs `step` at once, in one batch with everything that arrived before it, and stores every deferred job. If more
   * waits than fits into a batch, it runs before that. Returns the answer, which is made once the batch is stored.
   */
  runNow<T>(step: (now: number) => () => T): T {
    let answer: (() => T) | undefined;
    const last = (now: number) => {
      answer = step(now);
    };
    this.run([...this.inbox.takeIfFew(), last], false);
    if (!answer) throw new Error("the batch was not stored");
    return answer();
  }

  /** Runs `step` after everything that arrived before it: at once, unless more waits than fits into a batch. */
  async runInOrder(step: (now: number) => void): Promise<void> {
    if (this.isRetired) return;
    if (this.inbox.fitsBatch) {
      this.runNow((now) => {
        step(now);
        return () => undefined;
      });
      return;
    }
    await this.inbox.join((now) => {
      if (!this.isRetired) step(now);
      return { answer: () => undefined };
    });
  }

  /** Accepts a worker's socket and greets it with `hello`, or returns why it is refused. */
  openWorker(
    socket: WebSocket,
    { id, origin, tokenId, batch }: SocketRequestOf<"worker"> & { id: string },
  ): Refusal | null {
    const openedAt = Date.now();
    const state = { phase: "new", isAnnounced: false } as const;
    const attachment = { kind: "worker" as const, id, origin, tokenId, batch, openedAt, state };
    const refusal = this.core.connections.refusalOf(attachment);
    if (refusal !== null) return refusal;
    const worker = this.core.connections.accept<WorkerAttachment>(socket, attachment);
    this.runNow(() => {
      this.parts.workers.sendHello(worker);
      return () => this.deps.armAlarm(openedAt + LIMITS.registerMs);
    });
    return null;
  }

  /** Stores a deferred job, because somebody asks for it: its worker knows the id and may have passed it on. */
  flushIfDeferred(ulid: string): void {
    if (this.core.jobs.isDeferred(ulid)) this.runNow(() => () => null);
  }

  /** Stores every deferred job, because jobs are looked for by something else than their id. */
  storeDeferred(): void {
    if (this.core.jobs.deferredSince !== null) this.runNow(() => () => null);
  }

  /** Resolves in a turn that has room for what the socket of a job is sent when it opens. */
  async turnToOpen(jobUlid: string | null, since: Position | null): Promise<void> {
    if (jobUlid === null) return;
    await this.parts.pace.takeTurn(this.parts.followers.catchUpBytes(jobUlid, since));
  }

  /** Accepts a subscriber's socket and sends its first frames, or returns why it is refused. */
  openSubscriber(
    socket: WebSocket,
    subscriber: NewSubscriber,
    since: Position | null,
  ): Refusal | null {
    const { jobUlid } = subscriber;
    const attachment: SubscriberAttachment = {
      kind: "subscriber",
      ...subscriber,
      follows: [],
      muted: [],
      malformed: 0,
      openedAt: Date.now(),
      heardAt: 0,
      pingedAt: 0,
    };
    const refusal = this.core.connections.refusalOf(attachment);
    if (refusal !== null) return refusal;
    if (jobUlid !== null) this.flushIfDeferred(jobUlid);
    // Before the job is read, because its worker may be one of them.
    this.checkWorkers();
    const job = jobUlid === null ? null : this.core.jobs.get(jobUlid);
    if (jobUlid !== null && job === null) return NO_SUCH_JOB;
    this.parts.status.publish(Date.now());
    const connection = this.core.connections.accept(socket, attachment);
    const { expiresAt } = attachment.caller;
    if (expiresAt !== null) this.deps.armAlarm(expiresAt);
    this.deps.onChange();
    if (job === null) {
      this.parts.status.open(connection, since, Date.now());
      this.parts.deadlines.watchWorkers(Date.now());
      return null;
    }
    this.parts.followers.catchUp(connection, job, since);
    if (isEnded(job)) this.parts.followers.finish(connection, job);
    else this.parts.followers.follow(connection, job.ulid);
    return null;
  }

  /** Call this when a socket has closed. What a subscriber sent before is handled first (decision 0026). */
  onClose(connection: Connection, saidGoodbye: boolean): Promise<void> {
    const handleClose = async () => {
      await this.runInOrder((now) => {
        if (isWorker(connection)) this.parts.workers.onClose(connection, saidGoodbye, now);
        else this.parts.subscribers.onClose(connection, saidGoodbye, now);
      });
      this.core.connections.forget(connection);
    };
    if (isWorker(connection)) return handleClose();
    this.parts.gate.forget(connection);
    return this.parts.gate.pass(connection, NOTHING, handleClose);
  }

  /** Drops workers whose lease has expired before the status is reported (decision 0010), and tells those who watch. */
  checkWorkers(): void {
    if (!this.parts.workers.needsCheck(Date.now())) return;
    this.runNow((now) => () => this.parts.deadlines.watchWorkers(now));
  }

  /** Call this when the monitor asks, which it does while somebody watches it: it is told when a lease expires. */
  watchLeases(): void {
    this.parts.deadlines.watchLeases(Date.now());
  }

  /** Shuts the space down: handles what is queued, then cancels every pending timer. */
  retire(): void {
    this.isRetired = true;
    this.run(this.inbox.takeAll(), false);
    this.parts.status.stop();
    this.parts.webhooks.stop();
    this.parts.followers.stop();
    this.parts.dispatcher.stop();
    this.absence.stop();
  }

  /**
   * Does what is due; called by the alarm, within a batch.
   *
   * @param resumedAt since when the edge has run without standing still, as far as the alarm can tell
   */
  tick(now: number, resumedAt: number): void {
    this.parts.webhooks.send(now);
    for (const { job, effects } of this.core.jobs.tick(now))
      this.parts.dispatcher.perform(job, effects);
    this.parts.workers.tick(now);
    this.parts.subscribers.tick(now, resumedAt);
  }

  /** Erases finished jobs that are due, and files that nobody needs. */
  async sweep(bucket: R2Bucket): Promise<void> {
    const { retention, released } = this.parts;
    const runBatch = (step: () => void) => this.runIfOpen(step);
    await retention.sweep(bucket, Date.now(), runBatch);
    await released.sweep(bucket, Date.now(), runBatch);
  }

  /** Sets the alarm for the next deadline. */
  rearm(now: number): void {
    this.parts.deadlines.rearm(now);
  }

  /** Stores new settings and puts them into effect; must run inside a batch. */
  changeSettings(patch: SettingsPatch, now: number): void {
    const { record } = this.core;
    this.core.record = { ...record, settings: { ...record.settings, ...patch }, updatedAt: now };
    this.core.spaces.write(this.core.record);
    this.parts.workers.sendSettings();
    if (patch.visibility !== undefined) this.parts.subscribers.dropStrangers(now);
    this.rearm(now);
  }

  /** Shares a job by the link whose token has this hash, or with `null` by none; must run inside a batch. */
  shareJob(ulid: string, hash: string | null, now: number): void {
    const { shares } = this.core.store;
    if (hash === null) shares.remove(ulid);
    else shares.put(ulid, hash);
    this.parts.subscribers.dropStrangersOf(ulid, now);
  }

  /** Erases a job: cancels it, closes what follows it, and removes its files, its log and its row. */
  async eraseJob(ulid: string, bucket: R2Bucket): Promise<void> {
    this.runNow((now) => {
      this.parts.submissions.cancel(ulid, ERASED, now);
      // At once, whatever its worker says; what that still reports is answered `stale`.
      this.parts.dispatcher.apply(ulid, { type: "lose", reason: ERASED }, now);
      return () => null;
    });
    const { retention, released } = this.parts;
    const runBatch = (step: () => void) => this.runIfOpen(step);
    await retention.erase(bucket, ulid, runBatch);
    await released.sweep(bucket, Number.POSITIVE_INFINITY, runBatch);
  }

  /** Takes a file of an attempt that the Worker has put into the bucket. */
  async finishUpload(target: UploadTarget, file: OutputFile): Promise<UploadEnd> {
    const { uploads } = this.parts;
    const end = await this.enqueue((now) => {
      const end = uploads.finish(target, file, now);
      return { answer: () => end };
    });
    if (!end.ok || end.isRepeat) return end;
    return uploads.isKept(target.ulid, file) ? end : ATTEMPT_OVER;
  }

  /** Asks every worker to finish what it has and take no new jobs. */
  drainWorkers(reason: string): void {
    this.parts.workers.drain(reason);
  }

  /** Closes the sockets of workers that came with this token. */
  dropToken(tokenId: string, now: number): void {
    this.parts.workers.dropToken(tokenId, now);
  }

  /**
   * Runs `step` in a batch of its own, unless the space was deleted meanwhile. For timers and asynchronous work.
   */
  private runIfOpen(step: (now: number) => void): void {
    if (this.isRetired) return;
    this.runNow((now) => {
      step(now);
      return () => this.rearm(now);
    });
  }

  /** Ends a connection whose client doesn't read; it may connect again and go on where it was. */
  private dropSlow(slow: Connection, now: number): void {
    if (isWorker(slow)) this.parts.workers.dismiss(slow, "tooMany", TOO_SLOW, now);
    else this.parts.subscribers.dismiss(slow, "tooMany", TOO_SLOW, now);
  }

  /** @param mayDefer whether new jobs whose results are about to come may stay in memory (decision 0030) */
  private run(steps: BatchStep[], mayDefer: boolean): void {
    const now = Date.now();
    const { core } = this;
    let changes: Change[];
    let webhookDue: number | null = null;
    try {
      this.absence.onBatch(now);
      this.parts.workers.checkLeases(now);
      for (const step of steps) this.runStep(step, now);
      this.intake.onDispatched(this.parts.dispatcher.dispatch(now));
      core.jobs.defer(mayDefer && core.jobs.areQuick(DEFER_MS) ? DEFER_MS : 0, now);
      // The runtime stores everything written in one turn as one transaction, and nothing of it if the object
      // aborts. Until that is on disk, it holds back whatever is sent.
      core.jobs.save();
      changes = core.jobs.takeStored();
      this.parts.retention.countEnded(changes);
      this.parts.released.onStored(changes, now);
      this.parts.report.countChanges(changes);
      webhookDue = this.parts.webhooks.storeMessages(changes, now, ulid);
    } catch (error) {
      this.deps.crash(error);
      throw error;
    }
    this.absence.onStored(now);
    const { deferredSince } = core.jobs;
    this.deferredWrites.update(deferredSince);
    // Before anything is sent: if sending fails, the deadlines must be watched all the same.
    this.parts.deadlines.watch(changes, webhookDue, now);
    core.connections.sendTogether(() => {
      core.sendBuffer.flushAhead();
      core.sendBuffer.flush((ulid) => core.jobs.isDeferred(ulid));
      // Everything that changed is deferred, so followers and the monitor get nothing yet.
      if (changes.length === 0 && deferredSince !== null) return;
      this.parts.followers.deliver(changes, now);
      this.parts.status.schedule();
      this.parts.followers.schedulePositions(changes);
      this.deps.onChange();
    });
    core.jobs.releaseStored();
    this.parts.submissions.onStored();
  }

  /** If one command fails, the others of the batch still run. */
  private runStep(step: BatchStep, now: number): void {
    try {
      step(now);
    } catch (error) {
      console.error("a command of a batch failed", error);
    }
  }

  /** After a restart, sockets may be gone without a close event. */
  private cancelForAbsentSubmitters(now: number): void {
    for (const { ulid, submitter } of this.core.store.canceledWithAnySocket()) {
      const isPresent = submitter !== null && this.core.connections.get(submitter) !== null;
      if (!isPresent) this.parts.submissions.cancel(ulid, SUBMITTER_LEFT, now);
    }
  }
}
