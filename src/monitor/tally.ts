import type { Report } from "../protocol/monitor.ts";
import type { Known, SourceStore } from "../storage/source-store.ts";
import {
  exchanged,
  isBlank,
  isLive,
  latest,
  nothing,
  type RecentOf,
  recentAfter,
  type Totals,
  unanswered,
  withPast,
} from "./totals.ts";

const REFRESH_MS = 86_400_000;

/** What sources report, added up in memory and stored a row each. */
export class Tally {
  totals: Totals;
  /** The jobs that changed last, of all sources. */
  recent: readonly RecentOf[];
  private readonly store: SourceStore;
  /** Looked up when somebody first wants to know. */
  private live: Map<string, number> | null = null;

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
    else if (before === null || isWorthARow(before, after, now)) this.store.put(source, after, now);
    this.noteLive(source, after, now);
    return this.tellsOtherwise(() => {
      this.totals = exchanged(this.totals, countedOf(before), after);
      this.tellRecent(source, after);
    });
  }

  /** The source is no more. What a job without a space did stays counted: its object goes by age. */
  forget(source: string): boolean {
    const before = this.store.get(source);
    if (before === null) return false;
    const { kind, jobs } = before.report;
    this.store.remove(source);
    if (kind === "job") this.store.addPast(jobs);
    this.live?.delete(source);
    return this.tellsOtherwise(() => {
      const others = exchanged(this.totals, countedOf(before), null);
      this.totals = kind === "job" ? withPast(others, jobs) : others;
      this.tellRecent(source, null);
    });
  }

  /** The source does not answer: its sockets count no more, but it is still to be asked. */
  silence(source: string, now: number): boolean {
    const before = this.store.get(source);
    if (before === null) return false;
    if (!before.isDoubtful || isOld(before, now)) this.store.doubt(source, now);
    return this.tellsOtherwise(() => {
      this.totals = exchanged(this.totals, countedOf(before), unanswered(before.report));
    });
  }

  /** Sources with open sockets or active jobs, and when they were last heard of. */
  liveSources(): { source: string; heardAt: number }[] {
    this.live ??= new Map(this.store.live().map(({ source, heardAt }) => [source, heardAt]));
    return [...this.live].map(([source, heardAt]) => ({ source, heardAt }));
  }

  /** Ended jobs of which nothing was heard since then, the longest silent first. */
  endedSources(heardBy: number, limit: number): string[] {
    return this.store.ended(heardBy, limit);
  }

  private noteLive(source: string, report: Report | null, now: number): void {
    if (report !== null && isLive(report)) this.live?.set(source, now);
    else this.live?.delete(source);
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

/** What is counted of a source. */
function countedOf(known: Known | null): Report | null {
  return known?.isDoubtful ? unanswered(known.report) : (known?.report ?? null);
}

/** Also where nothing changed a row says, to the day, when its source was last heard of. */
function isOld({ heardAt }: Known, now: number): boolean {
  return heardAt + REFRESH_MS <= now;
}

function isWorthARow(before: Known, after: Report, now: number): boolean {
  return before.isDoubtful || isOld(before, now) || differs(before.report, after);
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
  return withPast(totals, store.past());
}

function recentOf(store: SourceStore): RecentOf[] {
  return latest(
    store.withRecent().flatMap(({ source, recent }) => recent.map((job) => ({ source, job }))),
  );
}
