import { type Candidate, chooseWorker, freeSlots } from "../../queue/dispatch.ts";
import type { Instant, Job, LogEvent, ProcessingJob } from "../../queue/job.ts";
import { meanAfter } from "../../queue/status.ts";
import {
  type Command,
  type Effect,
  type NewJob,
  submitted,
  transition,
} from "../../queue/transition.ts";
import type { JobStore } from "../../storage/job-store.ts";
import { JobIds } from "./job-ids.ts";
import { byTurn, SpaceQueue } from "./space-queue.ts";

/** What a batch did to one job. */
export interface Change {
  job: Job;
  before: Job | null;
  log: LogEvent[];
}

/** A worker the jobs may hand jobs to. */
export interface ServingWorker extends Candidate {
  name: string | null;
  generation: number;
}

export type Reaction =
  | { kind: "applied"; job: Job; effects: Effect[] }
  | { kind: "unchanged"; job: Job; effects: Effect[] }
  | { kind: "stale" }
  | { kind: "unknown" };

/** Jobs looked at in one pass over those whose wait is over. */
const OVERDUE_PAGE = 500;
const OVERDUE_BYTES = 16_777_216;
const RUNS_MEASURED = 20;

/**
 * The jobs of a space as one batch sees them: rows are loaded when a command touches them, changed in
 * memory, and written once by `save`. Running attempts stay in memory; rows alone can rebuild them.
 */
export class UnitOfWork {
  private readonly running = new Map<string, ProcessingJob>();
  /** The jobs that wait, in the order of their turns. */
  readonly queue: SpaceQueue;
  private changes = new Map<string, Change>();
  /** Of the batch that was stored last, until it is told: nobody has to read them back for that. */
  private stored = new Map<string, Change>();
  /** Of the changes those that are not stored yet. */
  private deferred = new Map<string, Change>();
  private mustStore = false;
  private meanRun: number | null = null;
  private readonly ids: JobIds;

  private readonly store: JobStore;

  constructor(store: JobStore) {
    this.store = store;
    for (const job of store.processing()) this.running.set(job.ulid, job);
    this.queue = new SpaceQueue(store);
    for (const run of store.recentRunsS(RUNS_MEASURED)) this.meanRun = meanAfter(this.meanRun, run);
    this.ids = new JobIds(store.newestUlid());
  }

  get meanRunS(): number | null {
    return this.meanRun;
  }

  get(ulid: string): Job | null {
    const known = this.changes.get(ulid)?.job ?? this.running.get(ulid);
    return known ?? this.stored.get(ulid)?.job ?? this.store.get(ulid);
  }

  /** Jobs that have not ended and are to be canceled when this submitter leaves. */
  leavingWith(submitter: string): string[] {
    const leaving = new Set(this.store.leavingWith(submitter));
    for (const { job } of this.changes.values()) {
      if (job.submitter === submitter && job.cancelOnDisconnect) leaving.add(job.ulid);
    }
    return [...leaving];
  }

  byIdempotencyKey(key: string): Job | null {
    for (const { job } of this.changes.values()) if (job.idempotency?.key === key) return job;
    const ulid = this.store.ulidOfKey(key);
    return ulid === null ? null : this.get(ulid);
  }

  runningJobs(): ProcessingJob[] {
    return [...this.running.values()];
  }

  submit(job: Omit<NewJob, "ulid">, now: number): Job {
    const queued = submitted({ ...job, ulid: this.ids.next(now) }, now);
    this.record(null, queued, []);
    return queued;
  }

  apply(ulid: string, command: Command, now: number): Reaction {
    const job = this.get(ulid);
    if (job === null) return { kind: "unknown" };
    const outcome = transition(job, command, now);
    if (outcome.kind === "stale") return outcome;
    if (outcome.kind === "unchanged") return { ...outcome, job };
    this.record(job, outcome.job, outcome.log);
    return { kind: "applied", job: outcome.job, effects: outcome.effects };
  }

  /** Hands waiting jobs to workers with free slots, in order; `candidates` are counted up. */
  dispatch(candidates: ServingWorker[], now: number): ProcessingJob[] {
    const dispatched: ProcessingJob[] = [];
    const next = this.queue.requested.flatMap((requires) =>
      this.queue.next(requires, freeSlots(candidates, requires), this.changes, now),
    );
    for (const { ulid, requires } of next.sort(byTurn)) {
      const worker = chooseWorker(candidates, requires);
      if (!worker) continue;
      const { id, name, generation } = worker;
      const reaction = this.apply(
        ulid,
        { type: "dispatch", worker: { id, name }, generation },
        now,
      );
      if (reaction.kind !== "applied" || reaction.job.status !== "processing") continue;
      worker.busy += 1;
      dispatched.push(reaction.job);
    }
    return dispatched;
  }

  /** Lets time take effect on everything that may be due; returns the effects by job. */
  tick(now: number): { job: Job; effects: Effect[] }[] {
    const due = [...this.runningJobs(), ...this.overdue(now)];
    return due.flatMap(({ ulid }) => {
      const reaction = this.apply(ulid, { type: "tick" }, now);
      return reaction.kind === "applied" ? [reaction] : [];
    });
  }

  /** As many as memory bears at once; the next alarm finds the others. */
  private overdue(now: number): { ulid: string }[] {
    let bytes = 0;
    return this.store.overdue(now, OVERDUE_PAGE).filter((one, index) => {
      bytes += one.bytes;
      return index === 0 || bytes <= OVERDUE_BYTES;
    });
  }

  /** Whether jobs end within `ms` on the average: the results of those just handed to workers are about to come. */
  areQuick(ms: number): boolean {
    return this.meanRun !== null && this.meanRun * 1_000 < ms;
  }

  /**
   * Leaves in memory, when the batch is stored, the new jobs that were handed to workers less than `ms` ago
   * and of which nothing came yet, but for those that came over a socket before one that is stored: a
   * socket hears of its submits in their order. With 0 none is left.
   */
  defer(ms: number, now: Instant): void {
    this.deferred = new Map();
    if (this.mustStore || ms === 0) return;
    const fresh: [string, Change][] = [];
    const releaseStored = new Set<string>();
    for (const [ulid, change] of [...this.changes].reverse()) {
      const { submitter } = change.job;
      if (submitter !== null && releaseStored.has(submitter)) continue;
      if (isFresh(change, ms, now)) fresh.push([ulid, change]);
      else if (submitter !== null && change.before === null) releaseStored.add(submitter);
    }
    this.deferred = new Map(fresh.reverse());
  }

  /** This batch leaves nothing in memory: somebody is told more of its jobs than that they are accepted. */
  storeAll(): void {
    this.mustStore = true;
  }

  isDeferred(ulid: string): boolean {
    return this.deferred.has(ulid);
  }

  /** When the first of the jobs that are held was handed to its worker; `null` where none is. */
  get deferredSince(): Instant | null {
    const [first] = this.deferred.values();
    return first?.job.status === "processing" ? first.job.dispatchedAt : null;
  }

  /** Writes what the batch changed, but for what is held. */
  save(): void {
    for (const [ulid, { job, before, log }] of this.changes) {
      if (this.deferred.has(ulid)) continue;
      if (before === null) this.store.add(job);
      else this.store.update(job, before);
      this.store.log.append(job.ulid, log);
    }
  }

  /** What the batch changed, once it is stored; the next batch starts with what is held. */
  takeStored(): Change[] {
    for (const ulid of this.deferred.keys()) this.changes.delete(ulid);
    this.stored = this.changes;
    this.changes = new Map(this.deferred);
    this.mustStore = false;
    return [...this.stored.values()];
  }

  /** The batch is told: its jobs need not stay in memory. */
  told(): void {
    this.stored = new Map();
  }

  private record(before: Job | null, job: Job, log: LogEvent[]): void {
    const change = this.changes.get(job.ulid);
    if (change) {
      change.job = job;
      change.log.push(...log);
    } else this.changes.set(job.ulid, { job, before, log: [...log] });
    if (job.status === "processing") this.running.set(job.ulid, job);
    else this.running.delete(job.ulid);
    if (before?.status === "queued") this.queue.remove(before);
    if (job.status === "queued") this.queue.add(job);
    if (job.status === "completed" && before?.status === "processing") {
      this.meanRun = meanAfter(this.meanRun, (job.completedAt - before.dispatchedAt) / 1_000);
    }
  }
}

/** A new job that a worker has, of which nobody has heard; an endpoint would be told of its start. */
function isFresh({ job, before, log }: Change, ms: number, now: Instant): boolean {
  if (before !== null || job.status !== "processing" || log.length > 0) return false;
  const { webhook, detachedAt, resumedAt, cancel, attempts, dispatchedAt } = job;
  if (webhook !== null || detachedAt !== null || resumedAt !== null || cancel !== null)
    return false;
  // A clock that was set back is not waited for.
  return attempts === 1 && dispatchedAt <= now && now - dispatchedAt < ms;
}
