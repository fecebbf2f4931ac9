import { LIMITS } from "../../protocol/limits.ts";
import type { JobStatus } from "../../protocol/resources.ts";
import { roughLength } from "../../protocol/rough-length.ts";
import { type Candidate, chooseWorker, freeSlots } from "../../queue/dispatch.ts";
import {
  type Instant,
  isEnd,
  type Job,
  type LogEvent,
  type ProcessingJob,
  type QueuedJob,
} from "../../queue/job.ts";
import { fileChanges } from "../../queue/output-files.ts";
import { meanAfter } from "../../queue/status.ts";
import {
  type Command,
  type Effect,
  type NewJob,
  submitted,
  transition,
} from "../../queue/transition.ts";
import { classOf, inputBytesOf } from "../../storage/job-row.ts";
import type { JobStore, Keyed } from "../../storage/job-store.ts";
import type { JobRights } from "../access.ts";
import { JobIds } from "./job-ids.ts";
import type { RunBound } from "./passed-over.ts";
import { byTurn, SpaceQueue, type Unsaved } from "./space-queue.ts";

/** How a batch changed one job. */
export interface Change {
  job: Job;
  /** The job before the batch; `null` if it is new. */
  before: Job | null;
  /** The events that the batch added to the job's log. */
  log: LogEvent[];
}

/** A worker that jobs can be handed to. */
export interface ServingWorker extends Candidate {
  name: string | null;
  generation: number;
}

export type Reaction =
  | { kind: "applied"; job: Job; effects: Effect[] }
  | { kind: "unchanged"; job: Job; effects: Effect[] }
  | { kind: "no_such_file"; name: string }
  | { kind: "stale" }
  | { kind: "unknown" };

/** At most this many overdue jobs, and this many bytes of them, are loaded in one pass. */
const OVERDUE_PAGE = 500;
const OVERDUE_BYTES = 16_777_216;
/** After a restart, the mean duration is that of this many jobs. */
const RUNS_MEASURED = 20;

/**
 * The jobs of a space as one batch sees them. A job's row is loaded when a command touches it, changed in
 * memory, and written once, by `save`. Running attempts stay in memory between batches; after a restart they
 * are rebuilt from the rows.
 */
export class UnitOfWork {
  private readonly running = new Map<string, ProcessingJob>();
  /** The bytes of the running jobs' inputs. */
  private runningBytes = 0;
  /** The waiting jobs, in the order in which workers get them. */
  readonly queue: SpaceQueue;
  private changes = new Map<string, Change>();
  /**
   * The changes of the last stored batch until they are sent, so that their jobs need not be read from rows for
   * that.
   */
  private stored = new Map<string, Change>();
  /** Those of `changes` that `save` leaves out. */
  private deferred = new Map<string, Change>();
  /** The job that was last read from its row; no row changes before the end of the batch. */
  private lastRead: Job | null = null;
  private mustStore = false;
  private mustStoreHeld = false;
  private meanRun: number | null = null;
  private readonly ids: JobIds;

  private readonly store: JobStore;

  constructor(store: JobStore) {
    this.store = store;
    for (const job of store.processing()) this.keepRunning(job);
    this.queue = new SpaceQueue(store, this.runningJobs());
    for (const run of store.recentRunsS(RUNS_MEASURED)) this.meanRun = meanAfter(this.meanRun, run);
    this.ids = new JobIds(store.newestUlid());
  }

  /** How long the latest jobs ran on average, seconds; `null` before the first has completed. */
  get meanRunS(): number | null {
    return this.meanRun;
  }

  get(ulid: string): Job | null {
    const known = this.known(ulid);
    if (known !== null) return known;
    // The frames of a message may name the same large job again and again.
    if (this.lastRead?.ulid !== ulid) this.lastRead = this.store.get(ulid);
    return this.lastRead;
  }

  /** Whether there is such a job, which is not read for that. */
  has(ulid: string): boolean {
    return this.statusOf(ulid) !== null;
  }

  /** Whether there is such a job and it has ended; it is not read for that. */
  hasEnded(ulid: string): boolean {
    const status = this.statusOf(ulid);
    return status !== null && isEnd(status);
  }

  private statusOf(ulid: string): JobStatus | null {
    return this.known(ulid)?.status ?? this.store.statusOf(ulid);
  }

  /** Who may see a job and change it; it is not read for that. `null` if there is no such job. */
  rightsOf(ulid: string): JobRights | null {
    const known = this.known(ulid);
    const user = known === null ? this.store.userOf(ulid) : known.user;
    return user === undefined ? null : { user, share: this.store.shares.hashOf(ulid) };
  }

  /** A job's position in the queue, 1 being next; `null` if it does not wait. Only a job that waits is read. */
  positionOf(ulid: string): number | null {
    const job = this.statusOf(ulid) === "queued" ? this.get(ulid) : null;
    return job === null ? null : this.queue.position(job);
  }

  /** The job if it is in memory. */
  private known(ulid: string): Job | null {
    const changed = this.changes.get(ulid)?.job ?? this.running.get(ulid);
    return changed ?? this.stored.get(ulid)?.job ?? null;
  }

  /** ULIDs of the jobs that must be canceled when this submitter's socket closes. */
  leavingWith(submitter: string): string[] {
    const leaving = new Set(this.store.canceledWithSocketOf(submitter));
    for (const { job } of this.changes.values()) {
      if (job.submitter === submitter && job.cancelOnDisconnect) leaving.add(job.ulid);
    }
    return [...leaving];
  }

  /**
   * The job that the user submitted with this key; each user has keys of their own. It is not read: a batch may name a
   * large one a thousand times.
   */
  byIdempotencyKey(key: string, user: string | null): Keyed | null {
    for (const { job } of this.changes.values()) {
      if (job.idempotency?.key !== key || job.user !== user) continue;
      return { ulid: job.ulid, fingerprint: job.idempotency.fingerprint };
    }
    return this.store.keyed(key, user);
  }

  isRunning(ulid: string): boolean {
    return this.running.has(ulid);
  }

  runningJobs(): ProcessingJob[] {
    return [...this.running.values()];
  }

  submit(job: Omit<NewJob, "ulid" | "round">, now: number): Job {
    const line = { requires: classOf(job.requires), priority: job.priority };
    const round = this.queue.rounds.next(line, job.party);
    const queued = submitted({ ...job, round, ulid: this.ids.next(now) }, now);
    this.record(null, queued, []);
    return queued;
  }

  apply(ulid: string, command: Command, now: number): Reaction {
    const job = this.get(ulid);
    if (job === null) return { kind: "unknown" };
    const outcome = transition(job, command, now);
    if (outcome.kind === "stale" || outcome.kind === "no_such_file") return outcome;
    if (outcome.kind === "unchanged") return { ...outcome, job };
    this.record(job, outcome.job, outcome.log);
    return { kind: "applied", job: outcome.job, effects: outcome.effects };
  }

  /**
   * Hands waiting jobs to workers with free slots, in the queue's order, and increases `busy` of those workers. Stops
   * when the inputs have as many bytes as fit into a turn, or into memory; `isCut` if the next turn may go on.
   *
   * @param bound how many jobs of a party may run at once
   */
  dispatch(
    candidates: ServingWorker[],
    now: number,
    bound: RunBound = null,
  ): { dispatched: ProcessingJob[]; isCut: boolean } {
    const dispatched: ProcessingJob[] = [];
    for (;;) {
      const before = dispatched.length;
      const end = this.handOut(candidates, now, bound, dispatched);
      // The search in each class knows nothing of what it finds in the others.
      if (end !== "bound" || dispatched.length === before)
        return { dispatched, isCut: end === "cut" };
    }
  }

  /** Adds to `dispatched`. Ends as `bound` at a job whose party has enough running since others were handed out. */
  private handOut(
    candidates: ServingWorker[],
    now: number,
    bound: RunBound,
    dispatched: ProcessingJob[],
  ): "done" | "cut" | "bound" {
    if (this.runningBytes >= LIMITS.runningInputBytes || freeSlots(candidates, []) === 0)
      return "done";
    let bytes = dispatched.reduce((sum, { input }) => sum + inputBytesOf(input), 0);
    for (const { ulid, requires, party } of this.nextFor(candidates, now, bound)) {
      const worker = chooseWorker(candidates, requires);
      if (!worker) continue;
      if (this.runningBytes >= LIMITS.runningInputBytes) break;
      if (bytes >= LIMITS.dispatchBytes) return "cut";
      if (this.queue.isBound(party, bound)) return "bound";
      const { id, name, generation } = worker;
      const command = { type: "dispatch", worker: { id, name }, generation } as const;
      const reaction = this.apply(ulid, command, now);
      if (reaction.kind !== "applied" || reaction.job.status !== "processing") continue;
      worker.busy += 1;
      bytes += inputBytesOf(reaction.job.input);
      if (worker.room !== undefined) worker.room -= roughLength(reaction.job.input);
      dispatched.push(reaction.job);
    }
    return "done";
  }

  /** The next jobs for the workers' free slots, in the queue's order. */
  private nextFor(candidates: ServingWorker[], now: number, bound: RunBound) {
    if (this.queue.size === 0) return [];
    const unsaved = this.unsaved();
    const next = this.queue.requested.flatMap((requires) =>
      this.queue.next(requires, freeSlots(candidates, requires), unsaved, now, bound),
    );
    return next.sort(byTurn);
  }

  private unsaved(): Unsaved {
    const queued = new Map<string, QueuedJob[]>();
    const classes = new Set<string>();
    for (const { job } of this.changes.values()) {
      const key = classOf(job.requires);
      classes.add(key);
      if (job.status !== "queued") continue;
      const others = queued.get(key);
      if (others) others.push(job);
      else queued.set(key, [job]);
    }
    return { changes: this.changes, queued, classes };
  }

  /** Applies every deadline that has passed. Returns the changed jobs with their effects. */
  tick(now: number): { job: Job; effects: Effect[] }[] {
    const due = [...this.runningJobs(), ...this.overdue(now)];
    return due.flatMap(({ ulid }) => {
      const reaction = this.apply(ulid, { type: "tick" }, now);
      return reaction.kind === "applied" ? [reaction] : [];
    });
  }

  /** Waiting jobs whose deadline has passed, as many as fit in memory at once; the next alarm finds the rest. */
  private overdue(now: number): { ulid: string }[] {
    let bytes = 0;
    return this.store.overdue(now, OVERDUE_PAGE).filter((job, index) => {
      bytes += job.bytes;
      return index === 0 || bytes <= OVERDUE_BYTES;
    });
  }

  /**
   * Whether jobs end within `ms` milliseconds on average. If they do, results of the jobs that were just handed to
   * workers will soon come.
   */
  areQuick(ms: number): boolean {
    return this.meanRun !== null && this.meanRun * 1_000 < ms;
  }

  /**
   * Chooses the new jobs that the next `save` leaves in memory (decision 0030): those handed to a worker less than
   * `ms` milliseconds ago of which nothing else is known yet. 0 defers none. Of one socket's jobs, only those
   * after its last stored job can be deferred, hence the walk from the newest job to the oldest. Example: jobs A
   * and B come over one socket, A is with a worker, B waits. If A alone were deferred, B's `accepted` would wait
   * behind A's, but B's events go out as soon as B is stored: the client would get events of a job it doesn't know.
   */
  defer(ms: number, now: Instant): void {
    this.deferred = new Map();
    if (this.mustStore || ms === 0) return;
    const deferred: [string, Change][] = [];
    const submittersOfStored = new Set<string>();
    for (const [ulid, change] of [...this.changes].reverse()) {
      const { submitter } = change.job;
      if (submitter !== null && submittersOfStored.has(submitter)) continue;
      if (isFresh(change, ms, now)) deferred.push([ulid, change]);
      else if (submitter !== null && change.before === null) submittersOfStored.add(submitter);
    }
    this.deferred = new Map(deferred.reverse());
  }

  /**
   * Makes this batch defer nothing. Call it if somebody will be sent more about its jobs than `accepted`: such a
   * frame does not wait in the send buffer and would come before the `accepted` that does.
   */
  storeAll(): void {
    this.mustStore = true;
  }

  /** Whether the last batch left this new job in memory: it is neither stored nor reported to anybody. */
  isDeferred(ulid: string): boolean {
    return this.deferred.has(ulid);
  }

  /** When the oldest deferred job was handed to its worker, milliseconds since 1970; `null` if none is deferred. */
  get deferredSince(): Instant | null {
    const [first] = this.deferred.values();
    return first?.job.status === "processing" ? first.job.dispatchedAt : null;
  }

  /**
   * Writes what the batch changed, except for deferred jobs: one row for each job (decision 0007). What a running
   * attempt reports is held, and stored together with the next change of the job's row at the latest (decision 0070).
   */
  save(): void {
    for (const [ulid, { job, before, log }] of this.changes) {
      if (this.deferred.has(ulid)) continue;
      if (before === null) this.store.add(job);
      const isWritten = before === null || this.store.update(job, before);
      const mayWait =
        !isWritten &&
        job.status === "processing" &&
        // What is told of a file is stored with the file.
        !log.some(({ kind }) => kind === "file");
      if (mayWait) this.store.log.hold(ulid, log);
      else this.store.log.append(ulid, log);
      const files = fileChanges(before, job);
      if (files !== null) this.store.outputFiles.apply(job, files);
    }
    if (this.mustStoreHeld) this.store.log.storeHeld();
    this.mustStoreHeld = false;
  }

  /** Has the next `save` store everything that running attempts have reported. */
  storeHeld(): void {
    this.mustStoreHeld = true;
  }

  /** Whether something that running attempts have reported is not stored yet. */
  get holdsEvents(): boolean {
    return this.store.log.holdsEvents;
  }

  /** Returns the stored changes. The next batch starts with the changes of deferred jobs. */
  takeStored(): Change[] {
    for (const ulid of this.deferred.keys()) this.changes.delete(ulid);
    this.stored = this.changes;
    this.changes = new Map(this.deferred);
    this.mustStore = false;
    this.lastRead = null;
    return [...this.stored.values()];
  }

  /** Call this when everything about the stored changes is sent: their jobs need not stay in memory any longer. */
  releaseStored(): void {
    this.stored = new Map();
  }

  private keepRunning(job: ProcessingJob): void {
    if (!this.running.has(job.ulid)) this.runningBytes += inputBytesOf(job.input);
    this.running.set(job.ulid, job);
  }

  private record(before: Job | null, job: Job, log: LogEvent[]): void {
    const change = this.changes.get(job.ulid);
    if (change) {
      change.job = job;
      change.log.push(...log);
    } else this.changes.set(job.ulid, { job, before, log: [...log] });
    if (job.status === "processing") this.keepRunning(job);
    else if (this.running.delete(job.ulid)) this.runningBytes -= inputBytesOf(job.input);
    this.queue.move(before, job);
    if (job.status === "completed" && before?.status === "processing") {
      this.meanRun = meanAfter(this.meanRun, (job.completedAt - before.dispatchedAt) / 1_000);
    }
  }
}

/**
 * Whether a job is new, just handed to a worker, and nothing else has happened to it. A job with a webhook never
 * counts, because its endpoint is sent the start.
 */
function isFresh({ job, before, log }: Change, ms: number, now: Instant): boolean {
  if (before !== null || job.status !== "processing" || log.length > 0) return false;
  const { webhook, detachedAt, resumedAt, cancel, attempts, dispatchedAt } = job;
  if (webhook !== null || detachedAt !== null || resumedAt !== null || cancel !== null)
    return false;
  // If the clock was set back, `dispatchedAt` is in the future: the job is stored rather than wait for the clock.
  return attempts === 1 && dispatchedAt <= now && now - dispatchedAt < ms;
}
