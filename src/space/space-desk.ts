import { ulid } from "ulid";
import type { Position } from "../channel/position.ts";
import { LIMITS } from "../protocol/limits.ts";
import type { SpacePatch } from "../protocol/resources.ts";
import { dueAt } from "../queue/deadline.ts";
import { isEnded } from "../queue/job.ts";
import type { SpaceRecord } from "../storage/space-store.ts";
import type { Sql } from "../storage/sql.ts";
import { makeSecret } from "../webhooks/message.ts";
import { type Connection, isWorker } from "./connections.ts";
import type { SpaceCore } from "./core.ts";
import { Feed } from "./feed.ts";
import { Intake } from "./intake.ts";
import { JobReads } from "./job-reads.ts";
import { type Change, Ledger } from "./ledger.ts";
import { deleteFiles } from "./retention.ts";
import { SUBMITTER_LEFT, SubscriberDesk } from "./subscriber-desk.ts";
import { WebhookDesk } from "./webhook-desk.ts";
import { WorkerDesk } from "./worker-desk.ts";

interface Parts extends Omit<SpaceCore, "ledger"> {
  sql: Sql;
  /** On one's own machine webhooks may go anywhere. */
  allowPrivateWebhooks: boolean;
  /** Rings at the latest then; earlier alarms stay. */
  armAlarm: (at: number) => void;
  /** Memory and rows no longer agree: start again from the rows. */
  crash: (error: unknown) => void;
}

type Work = (now: number) => void;

/** Queue positions and status are told at most this often, milliseconds. */
const POSITIONS_EVERY_MS = 1_000;
const STATUS_EVERY_MS = 100;
/** Jobs erased in one pass: the alarm comes again for the rest. */
const SWEEP_PAGE = 200;
/** How long the bucket is left alone after it refused a deletion. */
const SWEEP_AGAIN_MS = 60_000;

/** Runs batches over the parts of a space: handle, dispatch, store, then tell. */
export class SpaceDesk {
  readonly core: SpaceCore;
  readonly intake: Intake;
  readonly reads: JobReads;
  private readonly webhooks: WebhookDesk;
  private readonly parts: Parts;
  private readonly workers: WorkerDesk;
  private readonly subscribers: SubscriberDesk;
  private readonly feed: Feed;
  private inbox: Work[] = [];
  private drained: Promise<void> | null = null;
  private statusTimer: ReturnType<typeof setTimeout> | null = null;
  private positionsTimer: ReturnType<typeof setTimeout> | null = null;
  private servedBefore: string;
  private noSweepBefore = 0;
  private isRetired = false;

  constructor(parts: Parts) {
    this.parts = parts;
    this.core = { ...parts, ledger: new Ledger(parts.store) };
    this.feed = new Feed(this.core, crypto.randomUUID().slice(0, 8));
    this.workers = new WorkerDesk(this.core);
    this.intake = new Intake(this.core, this.workers, parts.allowPrivateWebhooks);
    this.subscribers = new SubscriberDesk(this.core, this.feed, this.intake);
    this.reads = new JobReads(this.core, this.feed);
    this.webhooks = new WebhookDesk({
      store: parts.webhooks,
      allowPrivate: parts.allowPrivateWebhooks,
      secret: () => this.webhookSecret(),
      jobBody: (ulid) => this.reads.job(ulid),
      commit: (work) => this.commit(work),
    });
    this.servedBefore = this.service();
    this.batch((now) => {
      this.settleOrphans(now);
      return () => this.rearm(now);
    });
  }

  /** Handles a frame together with whatever else arrives in the same turn. */
  receive(connection: Connection, raw: string | ArrayBuffer): Promise<void> {
    if (isWorker(connection)) this.workers.heardFrom(connection, Date.now());
    return this.enqueue((now) => {
      if (isWorker(connection)) this.workers.receive(connection, raw, now);
      else this.subscribers.receive(connection, raw, now);
      return () => undefined;
    });
  }

  /** Joins the next batch; `work` returns what to answer once the batch is stored. */
  enqueue<T>(work: (now: number) => () => T): Promise<T> {
    return new Promise((resolve, reject) => {
      this.inbox.push((now) => {
        try {
          const answer = work(now);
          this.core.outbox.after(() => resolve(answer()));
        } catch (error) {
          reject(error);
          throw error;
        }
      });
      this.drained ??= this.drainSoon();
    });
  }

  /** Runs a batch at once, with all that has arrived before it. */
  batch<T>(work: (now: number) => () => T): T {
    let answer: (() => T) | undefined;
    this.run([
      ...this.inbox.splice(0),
      (now) => {
        answer = work(now);
      },
    ]);
    if (!answer) throw new Error("the batch was not stored");
    return answer();
  }

  openWorker(socket: WebSocket, who: { id: string; origin: string; tokenId: string }): void {
    const openedAt = Date.now();
    const at = { kind: "worker" as const, ...who, openedAt, state: { phase: "new" as const } };
    const connection = this.core.connections.accept(socket, at);
    if (isWorker(connection)) this.workers.welcome(connection);
    this.core.outbox.flush();
    this.parts.armAlarm(openedAt + LIMITS.registerMs);
  }

  /** `false` where it asks for a job that is not there. */
  openSubscriber(
    socket: WebSocket,
    who: {
      id: string;
      origin: string;
      operator: boolean;
      leaving: boolean;
      jobUlid: string | null;
      since: Position | null;
    },
  ): boolean {
    const { since, ...identity } = who;
    const job = who.jobUlid === null ? null : this.core.ledger.get(who.jobUlid);
    if (who.jobUlid !== null && job === null) return false;
    this.dropSilent();
    this.feed.publishStatus(Date.now());
    const connection = this.core.connections.accept(socket, {
      kind: "subscriber",
      ...identity,
      follows: [],
      muted: [],
      malformed: 0,
    });
    if (isWorker(connection)) return false;
    if (job === null) {
      this.feed.openSpace(connection, since, Date.now());
      return true;
    }
    this.feed.catchUp(connection, job, since);
    if (isEnded(job)) this.feed.finish(connection, job);
    else this.feed.follow(connection, job.ulid);
    return true;
  }

  left(connection: Connection, saidGoodbye: boolean): void {
    this.batch((now) => {
      if (isWorker(connection)) this.workers.left(connection, saidGoodbye, now);
      else this.subscribers.left(connection, saidGoodbye, now);
      return () => this.core.connections.close(connection, "done");
    });
  }

  /** What is said of the workers must not count one that fell silent. */
  dropSilent(): void {
    if (!this.workers.anySilent(Date.now())) return;
    this.batch(() => () => null);
  }

  /** The space ends: what has arrived is handled, and nothing it still meant to do comes later. */
  retire(): void {
    this.isRetired = true;
    this.run(this.inbox.splice(0));
    if (this.statusTimer !== null) clearTimeout(this.statusTimer);
    if (this.positionsTimer !== null) clearTimeout(this.positionsTimer);
  }

  tick(now: number): void {
    this.webhooks.send(now);
    for (const { job, effects } of this.core.ledger.tick(now)) this.workers.perform(job, effects);
    this.workers.tick(now);
  }

  /**
   * Erases jobs whose time is over. Their files go first: a row without its files is erased by the next
   * sweep, files without a row would stay for ever.
   */
  async sweep(bucket: R2Bucket): Promise<void> {
    const { store, record } = this.core;
    const expired = store.endedBy(Date.now() - ttlMs(record), SWEEP_PAGE);
    const files = expired.flatMap((job) => job.files);
    try {
      await deleteFiles(
        bucket,
        files.map(({ key }) => key),
      );
    } catch (error) {
      console.error("files of expired jobs could not be deleted", error);
      this.noSweepBefore = Date.now() + SWEEP_AGAIN_MS;
      return;
    }
    this.batch(() => {
      for (const { ulid } of expired) store.remove(ulid);
      return () => null;
    });
  }

  /** Derives the next deadline of all from the rows: after an alarm rang, or limits changed. */
  rearm(now: number): void {
    const { store, ledger, record } = this.core;
    const end = store.earliestEnd(SWEEP_PAGE);
    const queueDue = store.earliestQueueDue();
    const delayed = store.earliestDelayed(now);
    const told = this.webhooks.dueAt();
    const dues = [
      ...(told === null ? [] : [told]),
      ...this.workers.dueAt(),
      ...ledger.runningJobs().flatMap((job) => dueAt(job) ?? []),
      ...(queueDue === null ? [] : [queueDue]),
      ...(delayed === null ? [] : [delayed]),
      ...(end === null ? [] : [Math.max(this.noSweepBefore, end + ttlMs(record))]),
    ];
    if (dues.length > 0) this.parts.armAlarm(Math.max(now + 1, Math.min(...dues)));
  }

  changeSettings(patch: SpacePatch, now: number): void {
    const { record } = this.core;
    this.core.record = { ...record, settings: { ...record.settings, ...patch }, updatedAt: now };
    this.core.spaces.write(this.core.record);
    this.workers.announceSettings();
    if (this.core.record.settings.visibility === "private") this.subscribers.dropStrangers(now);
    this.rearm(now);
  }

  dropToken(tokenId: string, now: number): void {
    for (const worker of this.core.connections.workers()) {
      if (worker.at.tokenId !== tokenId) continue;
      const message = "The token of this worker was revoked.";
      this.core.outbox.error(worker, "token_revoked", message);
      this.workers.dismiss(worker, "notAuthenticated", message, now);
    }
  }

  /** Made when it is first asked for. */
  webhookSecret(): string {
    const { spaces } = this.core;
    return spaces.webhookSecret() ?? this.renewWebhookSecret();
  }

  renewWebhookSecret(): string {
    const secret = makeSecret();
    this.core.spaces.keepWebhookSecret(secret);
    return secret;
  }

  /** Stores what came of something that took its time, unless the space is gone meanwhile. */
  private commit(work: (now: number) => void): void {
    if (this.isRetired) return;
    this.batch((now) => {
      work(now);
      return () => this.rearm(now);
    });
  }

  private async drainSoon(): Promise<void> {
    await scheduler.wait(0);
    this.drained = null;
    const works = this.inbox;
    this.inbox = [];
    if (works.length > 0) this.run(works);
  }

  private run(works: Work[]): void {
    const now = Date.now();
    const { core } = this;
    let changes: Change[];
    let webhookDue: number | null = null;
    try {
      changes = this.parts.sql.transaction(() => {
        this.workers.dropSilent(now);
        for (const work of works) this.attempt(work, now);
        this.workers.dispatch(now);
        core.ledger.save();
        const settled = core.ledger.settle();
        webhookDue = this.webhooks.note(settled, now, ulid);
        return settled;
      });
    } catch (error) {
      this.parts.crash(error);
      throw error;
    }
    // First, because nothing that is told may keep a deadline from being watched.
    this.armAlarm(changes, now);
    if (webhookDue !== null) this.parts.armAlarm(Math.max(now + 1, webhookDue));
    core.outbox.flush();
    this.feed.deliver(changes);
    this.tellStatus();
    if (changes.some(({ job, before }) => job.status === "queued" || before?.status === "queued")) {
      this.tellPositions();
    }
  }

  /** One frame's failure is its own: the others of the batch go on. */
  private attempt(work: Work, now: number): void {
    try {
      work(now);
    } catch (error) {
      console.error("a command of a batch failed", error);
    }
  }

  private armAlarm(changes: Change[], now: number): void {
    const ttl = ttlMs(this.core.record);
    const dues = changes.flatMap(({ job }) => {
      if (isEnded(job)) return [job.completedAt + ttl];
      const delayed = job.status === "queued" && job.availableAt > now ? [job.availableAt] : [];
      return [...delayed, ...[dueAt(job) ?? []].flat()];
    });
    if (works(changes)) dues.push(...this.workers.dueAt());
    if (dues.length === 0) return;
    this.parts.armAlarm(Math.max(now + 1, Math.min(...dues)));
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

  /** A worker's coming and going is told at once, counts at a bounded rate. */
  private tellStatus(): void {
    const service = this.service();
    if (service !== this.servedBefore) {
      this.servedBefore = service;
      this.feed.publishStatus(Date.now());
      return;
    }
    this.statusTimer ??= setTimeout(() => {
      this.statusTimer = null;
      this.feed.publishStatus(Date.now());
    }, STATUS_EVERY_MS);
  }

  private service(): string {
    const workers = this.core.connections.readyWorkers();
    return workers.map(({ at: { state } }) => `${state.generation} ${state.phase}`).join();
  }

  private tellPositions(): void {
    if (!this.feed.hasFollowers()) return;
    this.positionsTimer ??= setTimeout(() => {
      this.positionsTimer = null;
      this.batch((now) => {
        for (const { ulid, position } of this.feed.movedPositions()) {
          this.core.ledger.apply(ulid, { type: "position", position }, now);
        }
        return () => null;
      });
    }, POSITIONS_EVERY_MS);
  }
}

/** How long finished jobs are kept, whole milliseconds. */
function ttlMs({ settings }: SpaceRecord): number {
  return Math.ceil(settings.result_ttl_s * 1_000);
}

/** Whether a batch touched a running attempt, so that leases may have to be watched. */
function works(changes: Change[]): boolean {
  return changes.some(({ job }) => job.status === "processing");
}
