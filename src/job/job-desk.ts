import type { Position } from "../channel/position.ts";
import type { BackendReport, CreateBackendJobBody } from "../protocol/backend-jobs.ts";
import { errorFrame, quietly } from "../space/core.ts";
import { fingerprintOf } from "../space/fingerprint.ts";
import { Inbox, type Work } from "../space/inbox.ts";
import { Pace } from "../space/pace.ts";
import type { BackendJobStore } from "../storage/backend-job-store.ts";
import type { Sql } from "../storage/sql.ts";
import type { BackendJob, JobEvent } from "./backend-job.ts";
import { type JobRefusal, NO_SUCH_JOB, PRIVATE_JOB } from "./calls.ts";
import { JobFeed } from "./job-feed.ts";
import type { JobAttachment, JobSocket, JobSockets } from "./job-sockets.ts";
import { resourceOf } from "./render.ts";
import { created, type Outcome, reported } from "./report.ts";

interface Parts {
  /** The name of the object: its job, if it is made, has this id. */
  id: string;
  sql: Sql;
  store: BackendJobStore;
  sockets: JobSockets;
  /** Memory and rows no longer agree: start again from the rows. */
  crash: (error: unknown) => void;
  /** What is due, or what the monitor counts, may have changed. */
  changed: () => void;
}

export type Made = { kind: "made" | "repeat"; job: BackendJob } | { kind: "taken" };

/** The job of an object: handles what arrives together as one batch, stores it, then tells it. */
export class JobDesk {
  job: BackendJob | null = null;
  readonly feed: JobFeed;
  private readonly parts: Parts;
  private readonly pace = new Pace();
  private readonly inbox: Inbox;
  private events: JobEvent[] = [];
  private posts: (() => void)[] = [];
  /** What the epoch of a job that is not made yet will be, as who waits for it was told. */
  private nextEpoch: string;

  constructor(parts: Parts) {
    this.parts = parts;
    this.feed = new JobFeed(parts.sockets, parts.store.log);
    this.inbox = new Inbox({
      outbox: { after: (post) => this.afterwards(post) },
      isBrisk: (now) => this.pace.isBrisk(0, now),
      run: (works) => this.run(works),
    });
    const told = parts.sockets.all().find(({ at }) => at.pending !== null)?.at.pending?.epoch;
    this.nextEpoch = told ?? newEpoch();
  }

  /** Takes the job up from its rows. */
  load(): void {
    this.job = this.parts.store.read();
    if (this.job) this.feed.wake(this.job);
  }

  /** Joins the next batch; `work` returns what to answer once the batch is stored. */
  enqueue<T>(work: (now: number) => () => T): Promise<T> {
    this.pace.arrived(Date.now());
    return this.inbox.join((now) => ({ answer: work(now) }));
  }

  /** Runs inside a batch, and sends once it is stored. */
  afterwards(post: () => void): void {
    this.posts.push(post);
  }

  /** Makes the job; must run inside a batch. */
  make({ id: _, ...body }: CreateBackendJobBody, now: number): Made {
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
  apply(report: BackendReport, now: number): Outcome | { kind: "unknown" } {
    if (!this.job) return { kind: "unknown" };
    const outcome = reported(this.job, report, now);
    if (outcome.kind !== "changed") return outcome;
    this.job = outcome.job;
    this.events.push(...outcome.events);
    if (outcome.job.status === "canceled") this.tellReporters(outcome.job.reason);
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
    at: JobAttachment,
    { since, mustExist }: { since: Position | null; mustExist: boolean },
  ): JobRefusal | null {
    const { job } = this;
    const { sockets, id } = this.parts;
    if (!job && mustExist) return NO_SUCH_JOB;
    if (job && !mayRead(at, job)) return PRIVATE_JOB;
    const now = Date.now();
    const pending = job ? null : { since: now, epoch: this.nextEpoch };
    const one = sockets.accept(socket, { ...at, pending });
    if (job) this.feed.open(one, job, since);
    else this.feed.openPending(one, id, since, now);
    this.parts.changed();
    return null;
  }

  left(one: JobSocket): void {
    this.feed.left(one);
    this.parts.sockets.left(one);
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
    this.parts.changed();
  }

  private run(works: Work[]): void {
    const now = Date.now();
    const before = this.job;
    // One frame's failure is its own: the others of the batch go on.
    for (const work of works) quietly(() => work(now));
    const { job, events, posts } = this;
    this.events = [];
    this.posts = [];
    if (job !== before && job) this.save(job, before === null, events);
    if (job && before === null) this.welcome(job);
    for (const post of posts) quietly(post);
    if (job && events.length > 0) this.feed.deliver(job, events, now);
    this.parts.changed();
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
  private welcome(job: BackendJob): void {
    const { sockets } = this.parts;
    for (const one of sockets.all()) {
      one.at.pending = null;
      sockets.remember(one);
      if (mayRead(one.at, job)) continue;
      const { code, detail: message } = PRIVATE_JOB;
      sockets.send(one, errorFrame(code, message, { job_id: job.id }));
      this.feed.left(one);
      sockets.close(one, "notAllowed", message);
    }
  }

  private tellReporters(reason: string): void {
    const { sockets, id } = this.parts;
    this.posts.push(() => {
      for (const one of sockets.all()) {
        if (one.at.publish) sockets.send(one, { type: "cancel", job_id: id, reason });
      }
    });
  }
}

function mayRead(at: Pick<JobAttachment, "publish" | "read">, job: BackendJob): boolean {
  return job.visibility === "public" || at.read || at.publish;
}

function newEpoch(): string {
  return crypto.randomUUID().slice(0, 8);
}
