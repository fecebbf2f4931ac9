import type { Report } from "../protocol/monitor.ts";
import type { SourceStore, StoredReport } from "../storage/source-store.ts";
import {
  isBlank,
  isLive,
  latestJobs,
  noTotals,
  recentAfter,
  type SourceJob,
  type Totals,
  unanswered,
  withPast,
  withReport,
} from "./totals.ts";

/** After this long a row is written again although nothing in it changed, milliseconds. */
const REFRESH_MS = 86_400_000;

/** How many ids of jobs one page has. */
const IDS_PER_PAGE = 5_000;

interface Aggregate {
  totals: Totals;
  /** The jobs that changed last, over all sources. */
  recent: readonly SourceJob[];
}

/** The latest report of each source, stored as one row each, and their totals, in memory. */
export class StatsAggregate {
  private readonly store: SourceStore;
  /** `null` until it is needed: adding up reads every row. */
  private aggregate: Aggregate | null = null;
  /** When each live source last reported; `null` until it is needed. */
  private live: Map<string, number> | null = null;

  constructor(store: SourceStore) {
    this.store = store;
  }

  get totals(): Totals {
    return this.look().totals;
  }

  get recent(): readonly SourceJob[] {
    return this.look().recent;
  }

  /** The next page of the ids of jobs without a space, in order. */
  jobIds(after: string): string[] {
    return this.store.jobIds(after, IDS_PER_PAGE);
  }

  /** Adds up all reports, unless that was done already. From then on every change knows whether it matters. */
  look(): Aggregate {
    this.aggregate ??= { totals: sumOf(this.store), recent: recentOf(this.store) };
    return this.aggregate;
  }

  /** Stores the current report of a source; returns whether the totals differ from what was last looked at. */
  take(source: string, report: Report, now: number): boolean {
    const before = this.store.get(source);
    const after = isBlank(report) ? null : report;
    if (after === null) this.store.remove(source);
    else if (before === null || isWorthWriting(before, after, now))
      this.store.put(source, after, now);
    this.noteLive(source, after, now);
    return this.change(({ totals, recent }) => ({
      totals: withReport(totals, countedOf(before), after),
      recent: this.recentAfter(recent, source, after),
    }));
  }

  /**
   * The source no longer exists. If it was a job without a space, how the job ended stays counted: such
   * objects are erased by age, and the totals must not shrink with them.
   */
  forget(source: string): boolean {
    const before = this.store.get(source);
    if (before === null) return false;
    const { kind, jobs } = before.report;
    this.store.remove(source);
    if (kind === "job") this.store.addPast(jobs);
    this.live?.delete(source);
    return this.change(({ totals, recent }) => {
      const others = withReport(totals, countedOf(before), null);
      return {
        totals: kind === "job" ? withPast(others, jobs) : others,
        recent: this.recentAfter(recent, source, null),
      };
    });
  }

  /** The source did not answer: its sockets are no longer counted, but it is asked again later. */
  silence(source: string, now: number): boolean {
    const before = this.store.get(source);
    if (before === null) return false;
    if (!before.isDoubtful || isOld(before, now)) this.store.markDoubtful(source, now);
    return this.change(({ totals, recent }) => ({
      totals: withReport(totals, countedOf(before), unanswered(before.report)),
      recent,
    }));
  }

  /** Sources with open sockets or active jobs, and when each last reported. */
  liveSources(): { source: string; heardAt: number }[] {
    this.live ??= new Map(this.store.live().map(({ source, heardAt }) => [source, heardAt]));
    return [...this.live].map(([source, heardAt]) => ({ source, heardAt }));
  }

  /** Ended jobs that last reported at `reportedBy` or earlier, the oldest report first. */
  endedSources(reportedBy: number, limit: number): string[] {
    return this.store.ended(reportedBy, limit);
  }

  private noteLive(source: string, report: Report | null, now: number): void {
    if (report !== null && isLive(report)) this.live?.set(source, now);
    else this.live?.delete(source);
  }

  private recentAfter(
    recent: readonly SourceJob[],
    source: string,
    report: Report | null,
  ): readonly SourceJob[] {
    return recentAfter(recent, source, report?.recent ?? []) ?? recentOf(this.store);
  }

  private change(change: (before: Aggregate) => Aggregate): boolean {
    const before = this.aggregate;
    if (before === null) return false;
    this.aggregate = change(before);
    return !areEqual(before, this.aggregate);
  }
}

/** The part of a source's report that is counted: without its sockets if it did not answer. */
function countedOf(known: StoredReport | null): Report | null {
  return known?.isDoubtful ? unanswered(known.report) : (known?.report ?? null);
}

/** A row is rewritten once a day even if nothing changed, so that it shows when its source last reported. */
function isOld({ heardAt }: StoredReport, now: number): boolean {
  return heardAt + REFRESH_MS <= now;
}

function isWorthWriting(before: StoredReport, after: Report, now: number): boolean {
  return before.isDoubtful || isOld(before, now) || differs(before.report, after);
}

/** Whether more than a job's progress changed: that alone is not worth a write, as it soon changes again. */
function differs(before: Report, after: Report): boolean {
  return !areEqual(withoutProgress(before), withoutProgress(after));
}

function withoutProgress({ recent, ...stats }: Report) {
  return { ...stats, recent: recent.map(({ id, status }) => ({ id, status })) };
}

/** Compares as JSON: one schema parsed all reports, so their fields are in the same order. */
function areEqual(a: unknown, b: unknown): boolean {
  return JSON.stringify(a) === JSON.stringify(b);
}

function sumOf(store: SourceStore): Totals {
  let totals = noTotals();
  for (const { count, stats } of store.sums()) {
    totals = withReport(totals, null, stats);
    totals.sources[stats.kind] = count;
  }
  return withPast(totals, store.past());
}

function recentOf(store: SourceStore): SourceJob[] {
  return latestJobs(
    store.withRecent().flatMap(({ source, recent }) => recent.map((job) => ({ source, job }))),
  );
}
