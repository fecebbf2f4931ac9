import { type Candidate, chooseWorker } from "../queue/dispatch.ts";
import type { Job, LogEvent, ProcessingJob, QueuedJob } from "../queue/job.ts";
import { meanAfter } from "../queue/status.ts";
import {
  type Command,
  type Effect,
  type NewJob,
  submitted,
  transition,
} from "../queue/transition.ts";
import type { JobStore } from "../storage/job-store.ts";
import { JobIds } from "./job-ids.ts";

/** What a batch did to one job. */
export interface Change {
  job: Job;
  before: Job | null;
  log: LogEvent[];
}

/** A worker the ledger may hand jobs to. */
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
const RUNS_MEASURED = 20;

/**
 * The jobs of a space as one batch sees them: rows are loaded when a command touches them, changed in
 * memory, and written once by `save`. Running attempts stay in memory; rows alone can rebuild them.
 */
export class Ledger {
  private readonly running = new Map<string, ProcessingJob>();
  private readonly queued: Map<number, number>;
  private changes = new Map<string, Change>();
  private meanRun: number | null = null;
  private readonly ids: JobIds;

  private readonly store: JobStore;

  constructor(store: JobStore) {
    this.store = store;
    for (const job of store.processing()) this.running.set(job.ulid, job);
    this.queued = store.queuedByPriority();
    for (const run of store.recentRunsS(RUNS_MEASURED)) this.meanRun = meanAfter(this.meanRun, run);
    this.ids = new JobIds(store.newestUlid());
  }

  get meanRunS(): number | null {
    return this.meanRun;
  }

  get queuedCount(): number {
    let count = 0;
    for (const ofPriority of this.queued.values()) count += ofPriority;
    return count;
  }

  get(ulid: string): Job | null {
    return this.changes.get(ulid)?.job ?? this.running.get(ulid) ?? this.store.get(ulid);
  }

  runningJobs(): ProcessingJob[] {
    return [...this.running.values()];
  }

  /** 1 is next. As stored: ask after `save`. */
  queuePosition(job: Job): number | null {
    if (job.status !== "queued") return null;
    let ahead = this.store.queuedBefore(job);
    for (const [priority, count] of this.queued) if (priority > job.priority) ahead += count;
    return ahead + 1;
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
    const free = candidates.reduce(
      (sum, { slots, busy, draining }) => sum + (draining ? 0 : Math.max(0, slots - busy)),
      0,
    );
    if (free === 0) return dispatched;
    for (const job of this.head(free)) {
      const worker = chooseWorker(candidates);
      if (!worker) break;
      const { id, name, generation } = worker;
      const reaction = this.apply(
        job.ulid,
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
    const due = [...this.runningJobs(), ...this.store.overdue(now, OVERDUE_PAGE)];
    return due.flatMap(({ ulid }) => {
      const reaction = this.apply(ulid, { type: "tick" }, now);
      return reaction.kind === "applied" ? [reaction] : [];
    });
  }

  /** Writes what the batch changed; must run inside its transaction. */
  save(): void {
    for (const { job, before, log } of this.changes.values()) {
      if (before === null || !onlyLogGrew(before, job)) this.store.save(job);
      this.store.log.append(job.ulid, log);
    }
  }

  /** What the batch changed, once it is stored; the next batch starts empty. */
  settle(): Change[] {
    const settled = [...this.changes.values()];
    this.changes = new Map();
    return settled;
  }

  private record(before: Job | null, job: Job, log: LogEvent[]): void {
    const change = this.changes.get(job.ulid);
    if (change) {
      change.job = job;
      change.log.push(...log);
    } else this.changes.set(job.ulid, { job, before, log: [...log] });
    if (job.status === "processing") this.running.set(job.ulid, job);
    else this.running.delete(job.ulid);
    this.count(before, -1);
    this.count(job, 1);
    if (job.status === "completed" && before?.status === "processing") {
      this.meanRun = meanAfter(this.meanRun, (job.completedAt - before.dispatchedAt) / 1_000);
    }
  }

  private count(job: Job | null, by: number): void {
    if (job?.status !== "queued") return;
    const count = (this.queued.get(job.priority) ?? 0) + by;
    if (count === 0) this.queued.delete(job.priority);
    else this.queued.set(job.priority, count);
  }

  /** The next jobs in line, as this batch sees the queue: stored ones, and those it put there. */
  private head(count: number): QueuedJob[] {
    const stored = this.store
      .head(count + this.changes.size)
      .filter(({ ulid }) => !this.changes.has(ulid));
    const unsaved = [...this.changes.values()]
      .map(({ job }) => job)
      .filter((job) => job.status === "queued");
    return [...stored, ...unsaved]
      .sort((a, b) => b.priority - a.priority || (a.ulid < b.ulid ? -1 : 1))
      .slice(0, count);
  }
}

/** The row as stored and the log beside it still tell everything. */
function onlyLogGrew(before: Job, job: Job): boolean {
  if (before.history !== job.history) return false;
  if (before.status !== "processing" || job.status !== "processing") return true;
  return (
    before.generation === job.generation &&
    before.detachedAt === job.detachedAt &&
    before.cancel === job.cancel
  );
}
