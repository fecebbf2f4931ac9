import type { Instant, Job, ProcessingJob, QueuedJob } from "../../queue/job.ts";
import { type Place, Rounds } from "../../queue/rounds.ts";
import type { WaitingClass } from "../../queue/status.ts";
import { classOf } from "../../storage/job-row.ts";
import type { JobStore, Standing, Waiting } from "../../storage/job-store.ts";
import { PassedOver, type RunBound, type Search } from "./passed-over.ts";

/** The waiting jobs that require the same capabilities: how many there are of each priority. */
interface QueueClass {
  key: string;
  requires: readonly string[];
  priorities: Map<number, number>;
  /** The first of them as they were last read; `null` once any has come or gone. */
  heads: Heads | null;
}

/** The first `count` waiting jobs of a class, or all if they are fewer. */
interface Heads {
  rows: readonly Standing[];
  count: number;
}

/** The first jobs of a class are remembered if they are not more than this. */
const MAX_HEADS = 16;

/** A waiting job with the capabilities that its worker must have. */
export interface Turn extends Waiting {
  requires: readonly string[];
}

/** What a batch changed but has not stored yet: here the store is out of date. */
export interface Unsaved {
  changes: ReadonlyMap<string, { job: Job }>;
  /** Those of the jobs that wait, by class. */
  queued: ReadonlyMap<string, readonly QueuedJob[]>;
  /** The classes of all of them. */
  classes: ReadonlySet<string>;
}

/** Later than every instant. */
const LATEST = Number.MAX_SAFE_INTEGER;

/**
 * The index of the jobs that wait in a space: by the capabilities they require, then by priority, then by round and
 * age (decisions 0015 and 0049). Counts are in memory, the jobs themselves in the store: a backlog of a million costs
 * no memory.
 */
export class SpaceQueue {
  readonly rounds = new Rounds();
  private readonly classes = new Map<string, QueueClass>();
  private readonly store: JobStore;
  private readonly passedOver: PassedOver;
  private waiting = 0;

  constructor(store: JobStore, running: readonly ProcessingJob[]) {
    this.store = store;
    this.passedOver = new PassedOver(store, this.rounds);
    this.countRunning(running.filter(({ attempts }) => attempts === 1));
    for (const { requires, priority, party, count, first, last } of store.queueCounts()) {
      const place = { requires: classOf(requires), priority, party };
      this.rounds.recover(place, { count, first, last });
      const { priorities } = this.classOf(requires);
      priorities.set(priority, (priorities.get(priority) ?? 0) + count);
      this.waiting += count;
    }
    this.countRunning(running.filter(({ attempts }) => attempts > 1));
  }

  private countRunning(jobs: readonly ProcessingJob[]): void {
    for (const job of jobs) this.rounds.count(placeOf(job), 0, 1);
  }

  /** The number of waiting jobs. */
  get size(): number {
    return this.waiting;
  }

  /** How many distinct capability sets waiting jobs require, besides those that require nothing. */
  get classCount(): number {
    return this.classes.size - Number(this.hasClass([]));
  }

  /** Whether a waiting job requires exactly this. */
  hasClass(requires: readonly string[]): boolean {
    return this.classes.has(classOf(requires));
  }

  /** The distinct capability sets that waiting jobs require. */
  get requested(): (readonly string[])[] {
    return [...this.classes.values()].map(({ requires }) => requires);
  }

  /**
   * The waiting jobs of each class, and how many of them come before a new job of priority 0, of somebody who has no
   * jobs here.
   */
  get waitingClasses(): WaitingClass[] {
    const round = this.rounds.ofNewcomer(NEWCOMER);
    return [...this.classes.values()].map(({ key, requires, priorities }) => {
      let ahead = 0;
      for (const [priority, count] of priorities) {
        if (priority > 0) ahead += count;
        else if (priority === 0) {
          ahead += this.store.ranks.countThrough({ requires: key, priority }, round);
        }
      }
      return { requires, ahead };
    });
  }

  /** About how many of the jobs counted in `waitingClasses` must let others pass, because their party has enough running. */
  aheadButBound(bound: RunBound): number {
    if (bound === null) return 0;
    const round = this.rounds.ofNewcomer(NEWCOMER);
    return this.rounds.waitingUpTo(round, (party) => this.isBound(party, bound));
  }

  /** Whether a party has as many jobs running as it may. */
  isBound(party: string | null, bound: RunBound): boolean {
    return bound !== null && party !== null && this.rounds.runningOf(party) >= bound;
  }

  /** A job's position in the queue, 1 being next; `null` if it does not wait. Only correct between batches. */
  position(job: Job): number | null {
    if (job.status !== "queued") return null;
    let ahead = 0;
    for (const [requires, { priorities }] of this.classes) {
      for (const [priority, count] of priorities) {
        if (priority > job.priority) ahead += count;
        else if (priority === job.priority) {
          ahead += this.store.ranks.countBefore({ requires, priority }, job);
        }
      }
    }
    return ahead + 1;
  }

  /** The next jobs of the queue, whichever worker can take them. Only correct between batches. */
  front(count: number): Waiting[] {
    const candidates = this.requested.flatMap((requires) =>
      this.store.head(requires, LATEST, count),
    );
    return candidates.sort(byTurn).slice(0, count);
  }

  /**
   * The next jobs of one class that may start now.
   *
   * @param bound how many jobs of a party may run; jobs of those that have so many are left out
   */
  next(
    requires: readonly string[],
    count: number,
    { changes, queued, classes }: Unsaved,
    now: Instant,
    bound: RunBound,
  ): Turn[] {
    if (count === 0) return [];
    const { key, priorities } = this.classOf(requires);
    const fresh = queued.get(key) ?? [];
    let stored = -fresh.length;
    for (const ofPriority of priorities.values()) stored += ofPriority;
    const search = { count, changes, fresh, now };
    const heads = bound === null && !classes.has(key) ? this.headsOf(requires, count, now) : null;
    const waiting = stored > 0 ? (heads ?? this.storedOf(requires, search, bound)) : [];
    const turns = waiting
      .filter(({ ulid }) => !changes.has(ulid))
      .map((job): Turn => ({ ...job, requires }));
    const available = fresh.filter(
      (job) => job.availableAt <= now && !this.isBound(job.party, bound),
    );
    return [...turns, ...available].sort(byTurn).slice(0, count);
  }

  private storedOf(
    requires: readonly string[],
    search: Omit<Search, "bound">,
    bound: RunBound,
  ): Waiting[] {
    const { count, changes, now } = search;
    if (bound === null) return this.store.head(requires, now, count + changes.size);
    const { key, priorities } = this.classOf(requires);
    const lines = [...priorities.keys()]
      .sort((a, b) => b - a)
      .map((priority) => ({ requires: key, priority }));
    return this.passedOver.next(lines, { ...search, bound });
  }

  /**
   * The first jobs of a class that the batch has not touched: with many classes, most need not be read again at each
   * dispatch. `null` if the jobs are too many to remember, or some wait for a delay.
   */
  private headsOf(requires: readonly string[], count: number, now: Instant): Standing[] | null {
    if (count > MAX_HEADS) return null;
    const known = this.classOf(requires);
    if (known.heads === null || known.heads.count < count) {
      known.heads = { rows: this.store.head(requires, LATEST, count), count };
    }
    const rows = known.heads.rows.slice(0, count);
    return rows.every(({ availableAt }) => availableAt <= now) ? rows : null;
  }

  /** Notes that a job's status has changed, or that it is new. */
  move(before: Job | null, job: Job): void {
    const waiting = Number(job.status === "queued") - Number(before?.status === "queued");
    const running = Number(job.status === "processing") - Number(before?.status === "processing");
    if (waiting === 0 && running === 0) return;
    // A job that has ended no longer has a party.
    const place = placeOf(before ?? job);
    this.rounds.count(place, waiting, running);
    if (waiting === 0) return;
    this.waiting += waiting;
    this.count(job.requires, place, waiting);
    if (waiting < 0) this.store.ranks.remove(place, job);
    else {
      this.store.ranks.add(place, job);
      this.passedOver.onQueued(place, job);
    }
  }

  private count(requires: readonly string[], { requires: key, priority }: Place, by: number): void {
    const known = this.classOf(requires);
    known.heads = null;
    const { priorities } = known;
    const count = (priorities.get(priority) ?? 0) + by;
    if (count > 0) priorities.set(priority, count);
    else {
      priorities.delete(priority);
      this.passedOver.forget({ requires: key, priority });
    }
    if (priorities.size === 0) this.classes.delete(key);
  }

  private classOf(requires: readonly string[]): QueueClass {
    const key = classOf(requires);
    const known = this.classes.get(key);
    if (known) return known;
    const made = { key, requires, priorities: new Map<number, number>(), heads: null };
    this.classes.set(key, made);
    return made;
  }
}

/** Where a job of priority 0 that requires nothing would join. */
const NEWCOMER = { requires: classOf([]), priority: 0 };

function placeOf({ requires, priority, party, round }: Job): Place {
  return { requires: classOf(requires), priority, party, round };
}

/** Orders jobs by priority, highest first, then by round, then by age, oldest first. */
export function byTurn(a: Waiting, b: Waiting): number {
  return b.priority - a.priority || a.round - b.round || (a.ulid < b.ulid ? -1 : 1);
}
