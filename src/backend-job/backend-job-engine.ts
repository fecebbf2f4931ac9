import type { BackendJob, BackendJobEvent } from "../backend-job-model/backend-job.ts";
import { created, type ReportOutcome, reported } from "../backend-job-model/report.ts";
import type { Position } from "../channel/position.ts";
import { BurstDetector } from "../objects/burst-detector.ts";
import { fingerprintOf } from "../objects/fingerprint.ts";
import { type BatchStep, Inbox } from "../objects/inbox.ts";
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
import { areOver, EXPIRED, NO_SUCH_JOB, PRIVATE_JOB, type Rights } from "./calls.ts";
import { resourceOf } from "./render.ts";

interface BackendJobEngineDeps {
  /** The object's name, which is the id of its job. */
  id: string;
  sql: Sql;
  store: BackendJobStore;
  sockets: BackendJobSockets;
  /** Restarts the object, which rebuilds memory from the rows: call it when the two may differ. */
  crash: (error: unknown) => void;
  /** Called when deadlines, or the report for the monitor, may have changed. */
  onChange: () => void;
}

/** How creating the job ended: it is new, it existed with the same content, or it existed with another content. */
export type Creation = { kind: "made" | "repeat"; job: BackendJob } | { kind: "taken" };

/**
 * The one job of an object: gathers what arrives together into a batch, stores it, and only then sends
 * (decisions 0006 and 0025).
 */
export class BackendJobEngine {
  /** `null` until the job is created, and after it was erased. */
  job: BackendJob | null = null;
  readonly followers: BackendJobFollowers;
  private readonly deps: BackendJobEngineDeps;
  private readonly burst = new BurstDetector();
  private readonly inbox: Inbox;
  /** Events of the current batch. */
  private events: BackendJobEvent[] = [];
  /** What the current batch sends once it is stored. */
  private callbacks: (() => void)[] = [];
  /**
   * The epoch of the next job of this id. It is chosen before the job exists, because sockets that wait for the
   * job have been sent it. Each job gets a new one. Example: a job with offset 40 is erased, and its id is used
   * again. If the epochs were equal, a follower that reconnects at offset 40 would be sent the new job's events
   * from 41 on, and append them to the old job's output.
   */
  private nextEpoch: string;

  constructor(deps: BackendJobEngineDeps) {
    this.deps = deps;
    this.followers = new BackendJobFollowers(deps.sockets, deps.store.log, ({ attachment }) => {
      return this.job !== null && refusalFor(attachment, this.job, Date.now()) === null;
    });
    this.inbox = new Inbox({
      sendBuffer: { after: (callback) => this.after(callback) },
      isBurst: (now) => this.burst.isBurst(0, now),
      run: (steps) => this.run(steps),
    });
    const pending = deps.sockets.all().find(({ attachment }) => attachment.pending !== null);
    this.nextEpoch = pending?.attachment.pending?.epoch ?? newEpoch();
  }

  /** The epoch of the job, or of the next one of this id. */
  get epoch(): string {
    return this.job?.epoch ?? this.nextEpoch;
  }

  /** Sets the epoch of the next job of this id. */
  setNextEpoch(epoch: string): void {
    this.nextEpoch = epoch;
  }

  /** Loads the job from its rows. */
  load(): void {
    this.job = this.deps.store.read();
    if (!this.job) return;
    // The object may have stopped after it stored the job and before it looked at its sockets.
    this.dropStrangers(this.job, Date.now());
    this.followers.resume(this.job);
  }

  /**
   * Adds a step to the next batch. The step returns a function that makes the answer; it is called once the
   * batch is stored.
   *
   * @param length the length of the message that it comes from, characters
   */
  enqueue<T>(step: (now: number) => () => T, length: number): Promise<T> {
    this.burst.onArrival(Date.now());
    return this.inbox.join((now) => ({ answer: step(now) }), length);
  }

  /** Runs `callback` once the current batch is stored; must be called inside a batch. */
  after(callback: () => void): void {
    this.callbacks.push(callback);
  }

  /** Creates the job; must run inside a batch. */
  make({ id: _, ...body }: CreateBackendJobBody, now: number): Creation {
    const { input, ...rest } = body;
    const fingerprint = fingerprintOf(input, [], rest);
    if (this.job) {
      const isRepeat = this.job.fingerprint === fingerprint;
      return isRepeat ? { kind: "repeat", job: this.job } : { kind: "taken" };
    }
    const identity = { id: this.deps.id, epoch: this.nextEpoch, fingerprint };
    const { job, events } = created(body, identity, now);
    this.job = job;
    this.events.push(...events);
    return { kind: "made", job };
  }

  /** Applies a backend's report to the job; must run inside a batch. */
  apply(report: BackendReport, now: number): ReportOutcome | { kind: "unknown" } {
    if (!this.job) return { kind: "unknown" };
    const outcome = reported(this.job, report, now);
    if (outcome.kind !== "changed") return outcome;
    this.job = outcome.job;
    this.events.push(...outcome.events);
    if (outcome.job.status === "canceled") this.sendCancelToReporters(outcome.job.reason, now);
    return outcome;
  }

  /** The job as JSON text; `null` if there is none. */
  body(): string | null {
    const { job } = this;
    if (!job) return null;
    const { store } = this.deps;
    return JSON.stringify(resourceOf(job, store.log.after(job.id, 0), store.lacksOutput(job)));
  }

  /** Opens a socket and sends its first frames, or returns why it is refused. */
  open(
    socket: WebSocket,
    attachment: BackendJobAttachment,
    { since, waited, mustExist }: { since: Position | null; waited: boolean; mustExist: boolean },
  ): Refusal | null {
    const { job } = this;
    const { sockets, id } = this.deps;
    if (!job && mustExist) return NO_SUCH_JOB;
    if (job && !mayRead(attachment, job)) return PRIVATE_JOB;
    // Otherwise the Worker has just accepted the token, for some seconds longer than it is valid, because clocks differ.
    const refusal = job && waited ? refusalFor(attachment, job, Date.now()) : null;
    if (refusal !== null) return refusal;
    const excess = sockets.refusalOf(attachment);
    if (excess !== null) return excess;
    const now = Date.now();
    const pending = job ? null : { since: now, epoch: this.nextEpoch };
    const accepted = sockets.accept(socket, { ...attachment, pending });
    if (job) this.followers.open(accepted, job, since);
    else this.followers.openPending(accepted, id, since, now);
    this.deps.onChange();
    return null;
  }

  /** Call this when a socket has closed. */
  onClose(socket: BackendJobSocket): void {
    this.followers.remove(socket);
    this.deps.sockets.remove(socket);
  }

  /** Runs the commands that wait at once, if they fit into one batch. Returns whether none waits any more. */
  flush(): boolean {
    const steps = this.inbox.takeIfFew();
    if (steps.length > 0) this.run(steps);
    return this.inbox.isEmpty;
  }

  /** Call this when the job is erased. A later job of the same id gets another epoch. */
  forget(): void {
    this.job = null;
    this.nextEpoch = newEpoch();
    this.deps.onChange();
  }

  private run(steps: BatchStep[]): void {
    const now = Date.now();
    const before = this.job;
    // If one command fails, the others of the batch still run.
    for (const step of steps) logErrors(() => step(now));
    const { job, events, callbacks } = this;
    this.events = [];
    this.callbacks = [];
    if (job !== before && job) this.save(job, before === null, events);
    // Before anything is sent: a token may have expired since its socket was opened.
    if (job) this.dropStrangers(job, now);
    for (const callback of callbacks) logErrors(callback);
    if (job && events.length > 0) this.followers.deliver(job, events, now);
    this.deps.onChange();
  }

  private save(job: BackendJob, isNew: boolean, events: readonly BackendJobEvent[]): void {
    const { store, sql, crash } = this.deps;
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

  /** Closes the sockets that may not read the job any more. */
  private dropStrangers(job: BackendJob, now: number): void {
    if (job.visibility === "public") return;
    const { sockets } = this.deps;
    for (const socket of sockets.all()) {
      const refusal = refusalFor(socket.attachment, job, now);
      if (refusal === null) continue;
      const { code, detail: message } = refusal;
      sockets.send(socket, errorFrame(code, message, { job_id: job.id }));
      this.followers.remove(socket);
      const close = code === "not_allowed" ? "notAllowed" : "notAuthenticated";
      sockets.close(socket, close, message);
    }
  }

  private sendCancelToReporters(reason: string, now: number): void {
    const { sockets, id } = this.deps;
    this.callbacks.push(() => {
      for (const socket of sockets.all()) {
        if (!socket.attachment.publish || areOver(socket.attachment, now)) continue;
        sockets.send(socket, { type: "cancel", job_id: id, reason });
      }
    });
  }
}

function mayRead(
  { publish, read, user }: Pick<Rights, "publish" | "read" | "user">,
  job: BackendJob,
): boolean {
  const isOwn = typeof user === "string" && user === job.user;
  return job.visibility === "public" || read || publish || isOwn;
}

/** Why a socket may not be told of the job now; `null` if it may. */
function refusalFor(
  rights: Rights,
  job: BackendJob,
  now: number,
): typeof PRIVATE_JOB | typeof EXPIRED | null {
  if (job.visibility === "public") return null;
  if (!mayRead(rights, job)) return PRIVATE_JOB;
  return areOver(rights, now) ? EXPIRED : null;
}

function newEpoch(): string {
  return crypto.randomUUID().slice(0, 8);
}
