import type { Position } from "../channel/position.ts";
import { LIMITS } from "../protocol/limits.ts";
import type { JobStatus, SpacePatch } from "../protocol/resources.ts";
import { dueAt } from "../queue/deadline.ts";
import { isEnded } from "../queue/job.ts";
import type { Sql } from "../storage/sql.ts";
import { type Connection, isWorker } from "./connections.ts";
import type { SpaceCore } from "./core.ts";
import { Feed } from "./feed.ts";
import { Intake } from "./intake.ts";
import { type Change, Ledger } from "./ledger.ts";
import { jobResourceOf } from "./render.ts";
import { SubscriberDesk } from "./subscriber-desk.ts";
import { WorkerDesk } from "./worker-desk.ts";

interface Parts extends Omit<SpaceCore, "ledger"> {
  sql: Sql;
  /** Rings at the latest then; earlier alarms stay. */
  armAlarm: (at: number) => void;
  /** Memory and rows no longer agree: start again from the rows. */
  crash: (error: unknown) => void;
}

type Work = (now: number) => void;

/** Queue positions and status are told at most this often, milliseconds. */
const POSITIONS_EVERY_MS = 1_000;
const STATUS_EVERY_MS = 100;

/** Runs batches over the parts of a space: handle, dispatch, store, then tell. */
export class SpaceDesk {
  readonly core: SpaceCore;
  readonly intake: Intake;
  private readonly parts: Parts;
  private readonly workers: WorkerDesk;
  private readonly subscribers: SubscriberDesk;
  private readonly feed: Feed;
  private inbox: Work[] = [];
  private drained: Promise<void> | null = null;
  private statusTimer: ReturnType<typeof setTimeout> | null = null;
  private positionsTimer: ReturnType<typeof setTimeout> | null = null;
  private servedBefore: string;

  constructor(parts: Parts) {
    this.parts = parts;
    this.core = { ...parts, ledger: new Ledger(parts.store) };
    this.feed = new Feed(this.core, crypto.randomUUID().slice(0, 8));
    this.workers = new WorkerDesk(this.core);
    this.intake = new Intake(this.core, this.workers);
    this.subscribers = new SubscriberDesk(this.core, this.feed, this.intake);
    this.servedBefore = this.service();
    this.batch((now) => {
      this.detachOrphans(now);
      return () => null;
    });
  }

  /** Handles a frame together with whatever else arrives in the same turn. */
  receive(connection: Connection, raw: string | ArrayBuffer): Promise<void> {
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

  /** Runs a batch of its own at once. */
  batch<T>(work: (now: number) => () => T): T {
    let answer: (() => T) | undefined;
    this.run([
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
    who: { id: string; origin: string; jobUlid: string | null; since: Position | null },
  ): boolean {
    const { since, ...identity } = who;
    const job = who.jobUlid === null ? null : this.core.ledger.get(who.jobUlid);
    if (who.jobUlid !== null && job === null) return false;
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
    this.core.connections.close(connection, "done");
    this.batch((now) => {
      if (isWorker(connection)) this.workers.left(connection, saidGoodbye, now);
      else this.subscribers.left(connection, now);
      return () => null;
    });
  }

  /** The space ends: what has arrived is handled, and nothing it still meant to do comes later. */
  retire(): void {
    this.run(this.inbox.splice(0));
    if (this.statusTimer !== null) clearTimeout(this.statusTimer);
    if (this.positionsTimer !== null) clearTimeout(this.positionsTimer);
  }

  tick(now: number): void {
    for (const { job, effects } of this.core.ledger.tick(now)) this.workers.perform(job, effects);
    this.workers.tick(now);
  }

  /** Derives the next deadline of all from the rows: after an alarm rang, or limits changed. */
  rearm(now: number): void {
    const { store, ledger, record } = this.core;
    const oldest = store.oldestEnded(1)[0];
    const queueDue = store.earliestQueueDue();
    const dues = [
      ...this.workers.dueAt(),
      ...ledger.runningJobs().flatMap((job) => dueAt(job) ?? []),
      ...(queueDue === null ? [] : [queueDue]),
      ...(oldest ? [oldest.completedAt + record.settings.result_ttl_s * 1_000] : []),
    ];
    if (dues.length > 0) this.parts.armAlarm(Math.max(now + 1, Math.min(...dues)));
  }

  changeSettings(patch: SpacePatch, now: number): void {
    const { record } = this.core;
    this.core.record = { ...record, settings: { ...record.settings, ...patch }, updatedAt: now };
    this.core.spaces.write(this.core.record);
    this.workers.announceSettings();
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

  jobBody(ulid: string): string | null {
    const job = this.core.ledger.get(ulid);
    if (job === null) return null;
    const log = this.core.store.log.after(ulid, 0);
    return JSON.stringify(jobResourceOf(job, log, this.feed.view(job)));
  }

  jobsBody(filter: { status?: JobStatus; before?: string; limit: number }): string {
    const page = this.core.store.list({ ...filter, limit: filter.limit + 1 });
    const jobs = page.slice(0, filter.limit).map((stored) => {
      const job = this.core.ledger.get(stored.ulid) ?? stored;
      return jobResourceOf(job, this.core.store.log.after(job.ulid, 0), this.feed.view(job));
    });
    const next_cursor = page.length > filter.limit ? (jobs.at(-1)?.id ?? null) : null;
    return JSON.stringify({ jobs, next_cursor });
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
    try {
      changes = this.parts.sql.transaction(() => {
        for (const work of works) this.attempt(work, now);
        this.workers.dispatch(now);
        core.ledger.save();
        return core.ledger.settle();
      });
    } catch (error) {
      this.parts.crash(error);
      throw error;
    }
    core.outbox.flush();
    this.feed.deliver(changes);
    this.armAlarm(changes, now);
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
    const ttlMs = this.core.record.settings.result_ttl_s * 1_000;
    const dues = changes.flatMap(({ job }) =>
      isEnded(job) ? [job.completedAt + ttlMs] : (dueAt(job) ?? []),
    );
    if (works(changes)) dues.push(...this.workers.dueAt());
    if (dues.length === 0) return;
    this.parts.armAlarm(Math.max(now + 1, Math.min(...dues)));
  }

  /** After a restart no socket is left: the grace of every running attempt begins now. */
  private detachOrphans(now: number): void {
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

/** Whether a batch touched a running attempt, so that leases may have to be watched. */
function works(changes: Change[]): boolean {
  return changes.some(({ job }) => job.status === "processing");
}
