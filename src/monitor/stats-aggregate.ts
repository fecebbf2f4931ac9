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

interface Aggregate {
  totals: Totals;
  /** The jobs that changed last, of all sources. */
  recent: readonly RecentOf[];
}

/** What sources report: stored a row each, and added up in memory once somebody looks. */
export class StatsAggregate {
  private readonly store: SourceStore;
  /** `null` until somebody looks: adding up reads every row. */
  private told: Aggregate | null = null;
  /** Looked up when somebody first wants to know. */
  private live: Map<string, number> | null = null;

  constructor(store: SourceStore) {
    this.store = store;
  }

  get totals(): Totals {
    return this.look().totals;
  }

  get recent(): readonly RecentOf[] {
    return this.look().recent;
  }

  /** From now on it is known whether a report changes anything. */
  look(): Aggregate {
    this.told ??= { totals: sumOf(this.store), recent: recentOf(this.store) };
    return this.told;
  }

  /** Takes what a source says of itself now; returns whether what was looked at is different. */
  take(source: string, report: Report, now: number): boolean {
    const before = this.store.get(source);
    const after = isBlank(report) ? null : report;
    if (after === null) this.store.remove(source);
    else if (before === null || isWorthARow(before, after, now)) this.store.put(source, after, now);
    this.noteLive(source, after, now);
    return this.tell(({ totals, recent }) => ({
      totals: exchanged(totals, countedOf(before), after),
      recent: this.recentAfter(recent, source, after),
    }));
  }

  /** The source is no more. What a job without a space did stays counted: its object goes by age. */
  forget(source: string): boolean {
    const before = this.store.get(source);
    if (before === null) return false;
    const { kind, jobs } = before.report;
    this.store.remove(source);
    if (kind === "job") this.store.addPast(jobs);
    this.live?.delete(source);
    return this.tell(({ totals, recent }) => {
      const others = exchanged(totals, countedOf(before), null);
      return {
        totals: kind === "job" ? withPast(others, jobs) : others,
        recent: this.recentAfter(recent, source, null),
      };
    });
  }

  /** The source does not answer: its sockets count no more, but it is still to be asked. */
  silence(source: string, now: number): boolean {
    const before = this.store.get(source);
    if (before === null) return false;
    if (!before.isDoubtful || isOld(before, now)) this.store.doubt(source, now);
    return this.tell(({ totals, recent }) => ({
      totals: exchanged(totals, countedOf(before), unanswered(before.report)),
      recent,
    }));
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

  private recentAfter(
    recent: readonly RecentOf[],
    source: string,
    report: Report | null,
  ): readonly RecentOf[] {
    return recentAfter(recent, source, report?.recent ?? []) ?? recentOf(this.store);
  }

  private tell(change: (told: Aggregate) => Aggregate): boolean {
    const before = this.told;
    if (before === null) return false;
    this.told = change(before);
    return !areEqual(before, this.told);
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
