import type { Report } from "../protocol/monitor.ts";
import type { SourceStore } from "../storage/source-store.ts";
import {
  exchanged,
  isBlank,
  latest,
  nothing,
  type RecentOf,
  recentAfter,
  type Totals,
  unanswered,
} from "./totals.ts";

/** What sources report, added up in memory and stored a row each. */
export class Tally {
  totals: Totals;
  /** The jobs that changed last, of all sources. */
  recent: readonly RecentOf[];
  private readonly store: SourceStore;

  constructor(store: SourceStore) {
    this.store = store;
    this.totals = sumOf(store);
    this.recent = recentOf(store);
  }

  /** Takes what a source says of itself now; returns whether anything is told differently. */
  take(source: string, report: Report, now: number): boolean {
    const before = this.store.get(source);
    const after = isBlank(report) ? null : report;
    if (after === null) this.store.remove(source);
    else if (before === null || differs(before, after)) this.store.put(source, after, now);
    return this.tellsOtherwise(() => {
      this.totals = exchanged(this.totals, before, after);
      this.tellRecent(source, after);
    });
  }

  /** The source is no more. What a job without a space did stays counted: its object goes by age. */
  forget(source: string): boolean {
    const before = this.store.get(source);
    if (before === null) return false;
    this.store.remove(source);
    if (before.kind === "job") this.store.addPast(before.jobs);
    return this.tellsOtherwise(() => {
      this.totals = sumOf(this.store);
      this.tellRecent(source, null);
    });
  }

  /** The source does not answer. */
  silence(source: string, now: number): boolean {
    const before = this.store.get(source);
    return before !== null && this.take(source, unanswered(before), now);
  }

  /** Sources with open sockets or active jobs, and when their row was written. */
  live(): { source: string; heardAt: number }[] {
    return this.store.live();
  }

  private tellRecent(source: string, report: Report | null): void {
    this.recent = recentAfter(this.recent, source, report?.recent ?? []) ?? recentOf(this.store);
  }

  private tellsOtherwise(change: () => void): boolean {
    const before = [this.totals, this.recent];
    change();
    return !areEqual(before, [this.totals, this.recent]);
  }
}

/** A job's progress alone is not worth a row: it is told again soon. */
function differs(before: Report, after: Report): boolean {
  return !areEqual(withoutProgress(before), withoutProgress(after));
}

function withoutProgress({ recent, ...figures }: Report) {
  return { ...figures, recent: recent.map(({ id, status }) => ({ id, status })) };
}

/** Reports were all read by one schema, which puts their fields in one order. */
function areEqual(a: unknown, b: unknown): boolean {
  return JSON.stringify(a) === JSON.stringify(b);
}

function sumOf(store: SourceStore): Totals {
  let totals = nothing();
  for (const { count, figures } of store.sums()) {
    totals = exchanged(totals, null, figures);
    totals.sources[figures.kind] = count;
  }
  const { active, completed, failed, canceled } = totals.jobs;
  const past = store.past();
  totals.jobs = {
    active,
    completed: completed + past.completed,
    failed: failed + past.failed,
    canceled: canceled + past.canceled,
  };
  return totals;
}

function recentOf(store: SourceStore): RecentOf[] {
  return latest(
    store.withRecent().flatMap(({ source, recent }) => recent.map((job) => ({ source, job }))),
  );
}
