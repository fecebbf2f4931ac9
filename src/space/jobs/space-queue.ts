import type { Instant, Job, QueuedJob } from "../../queue/job.ts";
import type { WaitingClass } from "../../queue/status.ts";
import { classOf } from "../../storage/job-row.ts";
import type { JobStore, Waiting } from "../../storage/job-store.ts";

/** The waiting jobs that require the same capabilities: how many there are of each priority. */
interface QueueClass {
  key: string;
  requires: readonly string[];
  priorities: Map<number, number>;
}

/** A waiting job with the capabilities that its worker must have. */
export interface Turn extends Waiting {
  requires: readonly string[];
}

/** Later than every instant. */
const LATEST = Number.MAX_SAFE_INTEGER;

/**
 * The index of the jobs that wait in a space: by the capabilities they require, then by priority, then by
 * age (decision 0015). Counts are in memory, the jobs themselves in the store: a backlog of a million costs
 * no memory.
 */
export class SpaceQueue {
  private readonly classes = new Map<string, QueueClass>();
  private readonly store: JobStore;

  constructor(store: JobStore) {
    this.store = store;
    for (const { requires, priority, count } of store.queueCounts()) {
      this.classOf(requires).priorities.set(priority, count);
    }
  }

  /** The number of waiting jobs. */
  get size(): number {
    let count = 0;
    for (const { priorities } of this.classes.values()) {
      for (const ofPriority of priorities.values()) count += ofPriority;
    }
    return count;
  }

  /** The distinct capability sets that waiting jobs require. */
  get requested(): (readonly string[])[] {
    return [...this.classes.values()].map(({ requires }) => requires);
  }

  /** The waiting jobs of each class, and how many of them come before a new job of priority 0. */
  get waitingClasses(): WaitingClass[] {
    return [...this.classes.values()].map(({ requires, priorities }) => {
      let ahead = 0;
      for (const [priority, count] of priorities) if (priority >= 0) ahead += count;
      return { requires, ahead };
    });
  }

  /** A job's position in the queue, 1 being next; `null` if it does not wait. Only correct between batches. */
  position(job: Job): number | null {
    if (job.status !== "queued") return null;
    let ahead = 0;
    for (const [requires, { priorities }] of this.classes) {
      for (const [priority, count] of priorities) {
        if (priority > job.priority) ahead += count;
        else if (priority === job.priority) {
          ahead += this.store.ranks.countBefore({ requires, priority }, job.ulid);
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
   * @param unsaved jobs that the batch changed but has not stored yet, by ULID: here the store is out of date
   */
  next(
    requires: readonly string[],
    count: number,
    unsaved: ReadonlyMap<string, { job: Job }>,
    now: Instant,
  ): Turn[] {
    if (count === 0) return [];
    const { key, priorities } = this.classOf(requires);
    const fresh: QueuedJob[] = [];
    for (const { job } of unsaved.values()) {
      if (job.status === "queued" && classOf(job.requires) === key) fresh.push(job);
    }
    let stored = -fresh.length;
    for (const ofPriority of priorities.values()) stored += ofPriority;
    const waiting = stored > 0 ? this.store.head(requires, now, count + unsaved.size) : [];
    const turns = waiting
      .filter(({ ulid }) => !unsaved.has(ulid))
      .map((job): Turn => ({ ...job, requires }));
    const available = fresh.filter((job) => job.availableAt <= now);
    return [...turns, ...available].sort(byTurn).slice(0, count);
  }

  add(job: QueuedJob): void {
    this.store.ranks.add(this.count(job, 1), job.ulid);
  }

  remove(job: QueuedJob): void {
    this.store.ranks.remove(this.count(job, -1), job.ulid);
  }

  private count({ requires, priority }: QueuedJob, by: 1 | -1) {
    const { key, priorities } = this.classOf(requires);
    const count = (priorities.get(priority) ?? 0) + by;
    if (count > 0) priorities.set(priority, count);
    else priorities.delete(priority);
    if (priorities.size === 0) this.classes.delete(key);
    return { requires: key, priority };
  }

  private classOf(requires: readonly string[]): QueueClass {
    const key = classOf(requires);
    const known = this.classes.get(key);
    if (known) return known;
    const made = { key, requires, priorities: new Map<number, number>() };
    this.classes.set(key, made);
    return made;
  }
}

/** Orders jobs by priority, highest first, then by age, oldest first. */
export function byTurn(a: Waiting, b: Waiting): number {
  return b.priority - a.priority || (a.ulid < b.ulid ? -1 : 1);
}
