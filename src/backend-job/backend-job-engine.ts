import type { BackendJob, JobEvent } from "../backend-job-model/backend-job.ts";
import { created, type ReportOutcome, reported } from "../backend-job-model/report.ts";
import type { Position } from "../channel/position.ts";
import { BurstDetector } from "../objects/burst-detector.ts";
import { fingerprintOf } from "../objects/fingerprint.ts";
import { Inbox, type Work } from "../objects/inbox.ts";
import { logErrors } from "../objects/log-errors.ts";
import type { Refusal } from "../objects/reply.ts";
import type { BackendReport, CreateBackendJobBody } from "../protocol/backend-jobs.ts";
import { errorFrame } from "../protocol/error-frame.ts";
import type { BackendJobStore } from "../storage/backend-job-store.ts";
import type { Sql } from "../storage/sql.ts";
import { BackendJobFollowers } from "./backend-job-followers.ts";
import type {
  BackendJobAttachment,
  BackendJobSocket,
  BackendJobSockets,
} from "./backend-job-sockets.ts";
import { NO_SUCH_JOB, PRIVATE_JOB } from "./calls.ts";
import { resourceOf } from "./render.ts";

interface Parts {
  /** The name of the object: its job, if it is made, has this id. */
  id: string;
  sql: Sql;
  store: BackendJobStore;
  sockets: BackendJobSockets;
  /** Memory and rows no longer agree: start again from the rows. */
  crash: (error: unknown) => void;
  /** What is due, or what the monitor counts, may have changed. */
  onChange: () => void;
}

export type Creation = { kind: "made" | "repeat"; job: BackendJob } | { kind: "taken" };

/** The job of an object: handles what arrives together as one batch, stores it, then tells it. */
export class BackendJobEngine {
  job: BackendJob | null = null;
  readonly feed: BackendJobFollowers;
  private readonly parts: Parts;
  private readonly burst = new BurstDetector();
  private readonly inbox: Inbox;
  private events: JobEvent[] = [];
  private afterStored: (() => void)[] = [];
  /** What the epoch of a job that is not made yet will be, as who waits for it was told. */
  private nextEpoch: string;

  constructor(parts: Parts) {
    this.parts = parts;
    this.feed = new BackendJobFollowers(parts.sockets, parts.store.log);
    this.inbox = new Inbox({
      sendBuffer: { after: (post) => this.afterwards(post) },
      isBurst: (now) => this.burst.isBurst(0, now),
      run: (works) => this.run(works),
    });
    const told = parts.sockets.all().find(({ attachment }) => attachment.pending !== null)
      ?.attachment.pending?.epoch;
    this.nextEpoch = told ?? newEpoch();
  }

  /** Takes the job up from its rows. */
  load(): void {
    this.job = this.parts.store.read();
    if (this.job) this.feed.resume(this.job);
  }

  /** Joins the next batch; `work` returns what to answer once the batch is stored. */
  enqueue<T>(work: (now: number) => () => T): Promise<T> {
    this.burst.note(Date.now());
    return this.inbox.join((now) => ({ answer: work(now) }));
  }

  /** Runs inside a batch, and sends once it is stored. */
  afterwards(post: () => void): void {
    this.afterStored.push(post);
  }

  /** Makes the job; must run inside a batch. */
  make({ id: _, ...body }: CreateBackendJobBody, now: number): Creation {
    const { input, ...rest } = body;
    const fingerprint = fingerprintOf(input, [], rest);
    if (this.job) {
      const isRepeat = this.job.fingerprint === fingerprint;
      return isRepeat ? { kind: "repeat", job: this.job } : { kind: "taken" };
    }
    const identity = { id: this.parts.id, epoch: this.nextEpoch, fingerprint };
    const { job, events } = created(body, identity, now);
    this.job = job;
    this.events.push(...events);
    return { kind: "made", job };
  }

  /** Takes a report; must run inside a batch. */
  apply(report: BackendReport, now: number): ReportOutcome | { kind: "unknown" } {
    if (!this.job) return { kind: "unknown" };
    const outcome = reported(this.job, report, now);
    if (outcome.kind !== "changed") return outcome;
    this.job = outcome.job;
    this.events.push(...outcome.events);
    if (outcome.job.status === "canceled") this.sendCancelToReporters(outcome.job.reason);
    return outcome;
  }

  /** The job as JSON text. */
  body(): string | null {
    const { job } = this;
    if (!job) return null;
    const { store } = this.parts;
    return JSON.stringify(resourceOf(job, store.log.after(job.id, 0), store.lacksOutput(job)));
  }

  /** Opens a socket, or says why not. */
  open(
    socket: WebSocket,
    at: BackendJobAttachment,
    { since, mustExist }: { since: Position | null; mustExist: boolean },
  ): Refusal | null {
    const { job } = this;
    const { sockets, id } = this.parts;
    if (!job && mustExist) return NO_SUCH_JOB;
    if (job && !mayRead(at, job)) return PRIVATE_JOB;
    const now = Date.now();
    const pending = job ? null : { since: now, epoch: this.nextEpoch };
    const kept = sockets.accept(socket, { ...at, pending });
    if (job) this.feed.open(kept, job, since);
    else this.feed.openPending(kept, id, since, now);
    this.parts.onChange();
    return null;
  }

  onClose(socket: BackendJobSocket): void {
    this.feed.remove(socket);
    this.parts.sockets.remove(socket);
  }

  /** Handles at once what has arrived. */
  flush(): void {
    const works = this.inbox.takeAll();
    if (works.length > 0) this.run(works);
  }

  /** The job is erased; one of the same id, later, is another. */
  forget(): void {
    this.job = null;
    this.nextEpoch = newEpoch();
    this.parts.onChange();
  }

  private run(works: Work[]): void {
    const now = Date.now();
    const before = this.job;
    // One frame's failure is its own: the others of the batch go on.
    for (const work of works) logErrors(() => work(now));
    const { job, events, afterStored } = this;
    this.events = [];
    this.afterStored = [];
    if (job !== before && job) this.save(job, before === null, events);
    if (job && before === null) this.openPending(job);
    for (const post of afterStored) logErrors(post);
    if (job && events.length > 0) this.feed.deliver(job, events, now);
    this.parts.onChange();
  }

  private save(job: BackendJob, isNew: boolean, events: readonly JobEvent[]): void {
    const { store, sql, crash } = this.parts;
    try {
      if (isNew) store.migrate();
      sql.transaction(() => {
        if (isNew) store.add(job, events);
        else store.update(job, events);
      });
    } catch (error) {
      crash(error);
      throw error;
    }
  }

  /** Who waited for the job hears of it from here on, if it is for them. */
  private openPending(job: BackendJob): void {
    const { sockets } = this.parts;
    for (const kept of sockets.all()) {
      kept.attachment.pending = null;
      sockets.remember(kept);
      if (mayRead(kept.attachment, job)) continue;
      const { code, detail: message } = PRIVATE_JOB;
      sockets.send(kept, errorFrame(code, message, { job_id: job.id }));
      this.feed.remove(kept);
      sockets.close(kept, "notAllowed", message);
    }
  }

  private sendCancelToReporters(reason: string): void {
    const { sockets, id } = this.parts;
    this.afterStored.push(() => {
      for (const kept of sockets.all()) {
        if (kept.attachment.publish) sockets.send(kept, { type: "cancel", job_id: id, reason });
      }
    });
  }
}

function mayRead(at: Pick<BackendJobAttachment, "publish" | "read">, job: BackendJob): boolean {
  return job.visibility === "public" || at.read || at.publish;
}

function newEpoch(): string {
  return crypto.randomUUID().slice(0, 8);
}
