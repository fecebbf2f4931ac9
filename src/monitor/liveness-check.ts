import type { Report } from "../protocol/monitor.ts";
import { isLive } from "./totals.ts";

/** A source with open sockets or active jobs that has not reported for this long is asked, milliseconds. */
export const SILENT_MS = 30_000;
/** How many sources are asked at the same time. */
const MAX_AT_ONCE = 50;
/** How many sources are asked in one round because they did not report. */
const MAX_PER_ROUND = 500;
/**
 * An ended job's object usually erases itself after a day and reports that. If nothing came for this long,
 * the report may have been lost and the object is asked, milliseconds.
 */
const ENDED_SILENT_MS = 172_800_000;
/** How often the monitor asks objects of jobs that ended long ago whether they still exist, milliseconds. */
const SWEEP_EVERY_MS = 3_600_000;
/** How many of these objects it asks each time. */
const MAX_PER_SWEEP = 100;
/** How long a source may take to answer, milliseconds. */
const ANSWER_MS = 5_000;

interface LivenessCheckDeps {
  /** Sources with open sockets or active jobs, and when they last reported, as far as it is stored. */
  live: () => { source: string; heardAt: number }[];
  /** Ended jobs that last reported at `reportedBy` or earlier. */
  ended: (reportedBy: number, limit: number) => string[];
  ask: (source: string) => Promise<Report | null>;
  /** `null`: the object no longer exists. */
  onAnswer: (source: string, report: Report | null) => void;
  /** The source did not answer in time. It may still do so later, and is asked again in a later round. */
  onNoAnswer: (source: string) => void;
}

/** A call to a source for its report. */
interface ReportRequest {
  /** If the answer is that the source is idle, the source is not asked again. */
  isFinal: boolean;
}

/** Asks sources that stopped reporting: an object that crashed can't report that it did (decision 0024). */
export class LivenessCheck {
  private readonly deps: LivenessCheckDeps;
  /** When each live source last reported or was asked, since this object was last started. */
  private readonly lastContactAt = new Map<string, number>();
  /** By source, the latest request, until it is answered or the source reports by itself. */
  private readonly openRequests = new Map<string, ReportRequest>();
  /**
   * Sources that answered that they are idle, and are asked once more. A source does not send a report that
   * equals its last one. Example: it reports one socket; we ask in the moment in which it has none; the
   * socket is back before it reports. It has nothing new to report then, and without a second question we
   * would take it for idle for good.
   */
  private readonly toAskAgain = new Set<string>();
  private sweptAt = Number.NEGATIVE_INFINITY;
  private round: Promise<void> | null = null;

  constructor(deps: LivenessCheckDeps) {
    this.deps = deps;
  }

  /** The source reported by itself. The answer to an open request may be older, so it is ignored. */
  onReport(source: string, isLive: boolean, now: number): void {
    this.openRequests.delete(source);
    this.toAskAgain.delete(source);
    if (isLive) this.lastContactAt.set(source, now);
    else this.lastContactAt.delete(source);
  }

  /** Asks the sources that are due. If a round is under way, waits for that one instead. */
  run(now: number): Promise<void> {
    this.round ??= this.runRound(now).finally(() => {
      this.round = null;
    });
    return this.round;
  }

  /** When the next source is to be asked, milliseconds since 1970; `null` if all are idle. */
  dueAt(): number | null {
    const first = this.byLastContact()[0];
    return first ? first.at + SILENT_MS : null;
  }

  private async runRound(now: number): Promise<void> {
    const silent = this.findSilent(now).map((source) => {
      return { source, isFinal: this.toAskAgain.has(source) };
    });
    const longEnded = this.findLongEnded(now).map((source) => ({ source, isFinal: true }));
    const due = [...silent, ...longEnded];
    for (let at = 0; at < due.length; at += MAX_AT_ONCE) {
      const group = due.slice(at, at + MAX_AT_ONCE);
      await Promise.all(group.map(({ source, isFinal }) => this.ask(source, { isFinal }, now)));
    }
  }

  private findSilent(now: number): string[] {
    const silent = this.byLastContact().filter(({ at }) => at + SILENT_MS <= now);
    return silent.slice(0, MAX_PER_ROUND).map(({ source }) => source);
  }

  /** Ended jobs that may have been erased without the monitor knowing. */
  private findLongEnded(now: number): string[] {
    if (now < this.sweptAt + SWEEP_EVERY_MS) return [];
    this.sweptAt = now;
    return this.deps.ended(now - ENDED_SILENT_MS, MAX_PER_SWEEP);
  }

  /** Live sources, the one with the oldest contact first. */
  private byLastContact(): { source: string; at: number }[] {
    const last = new Map([...this.toAskAgain].map((source) => [source, 0]));
    for (const { source, heardAt } of this.deps.live()) last.set(source, heardAt);
    return [...last]
      .map(([source, heardAt]) => ({ source, at: this.lastContactAt.get(source) ?? heardAt }))
      .sort((a, b) => a.at - b.at);
  }

  private async ask(source: string, request: ReportRequest, now: number): Promise<void> {
    this.openRequests.set(source, request);
    this.lastContactAt.set(source, now);
    const answer = this.deps.ask(source).then((report) => this.onAnswer(source, request, report));
    const isAnswered = await within(ANSWER_MS, answer).catch(() => undefined);
    const isOpen = this.openRequests.get(source) === request;
    if (isAnswered === undefined && isOpen) this.deps.onNoAnswer(source);
  }

  /** Takes an answer, however late, unless the source has reported or was asked again since. */
  private onAnswer(source: string, request: ReportRequest, report: Report | null): true {
    if (this.openRequests.get(source) !== request) return true;
    this.openRequests.delete(source);
    const isIdle = report !== null && !isLive(report);
    const isAskedAgain = isIdle && !request.isFinal;
    if (isAskedAgain) this.toAskAgain.add(source);
    else this.toAskAgain.delete(source);
    if (report === null || (isIdle && !isAskedAgain)) this.lastContactAt.delete(source);
    this.deps.onAnswer(source, report);
    return true;
  }
}

/** Resolves as `promise` does, or with `undefined` after `ms` milliseconds, whichever comes first. */
export async function within<T>(ms: number, promise: Promise<T>): Promise<T | undefined> {
  const { promise: late, resolve } = Promise.withResolvers<undefined>();
  const timer = setTimeout(resolve, ms);
  try {
    return await Promise.race([promise, late]);
  } finally {
    clearTimeout(timer);
  }
}
