import type { Report } from "../protocol/monitor.ts";
import { isLive } from "./totals.ts";

/** Silence of a source with open sockets or active jobs after which it is asked, milliseconds. */
export const SILENT_MS = 30_000;
/** Sources asked at a time, and in one round. */
const AT_ONCE = 50;
const A_ROUND = 500;
/** How long one may take to answer. */
const ANSWER_MS = 5_000;

interface Parts {
  live: () => { source: string; heardAt: number }[];
  ask: (source: string) => Promise<Report | null>;
  /** `null`: it is no more. */
  answered: (source: string, report: Report | null) => void;
  unanswered: (source: string) => void;
}

/** Asks sources that fell silent: one that died could not say so. */
export class Census {
  private readonly parts: Parts;
  /** When each live source was last heard of or asked, as far as this memory knows. */
  private readonly heardAt = new Map<string, number>();
  private readonly asking = new Set<string>();
  private round: Promise<void> | null = null;

  constructor(parts: Parts) {
    this.parts = parts;
  }

  /** It reported by itself: what it was asked before may be answered with older numbers. */
  heard(source: string, isLive: boolean, now: number): void {
    this.asking.delete(source);
    if (isLive) this.heardAt.set(source, now);
    else this.heardAt.delete(source);
  }

  /** One round at a time: who comes meanwhile waits for the same. */
  run(now: number): Promise<void> {
    this.round ??= this.goRound(now).finally(() => {
      this.round = null;
    });
    return this.round;
  }

  /** When the next source is to be asked; `null` where all are idle. */
  dueAt(): number | null {
    const first = this.byHearing()[0];
    return first ? first.at + SILENT_MS : null;
  }

  private async goRound(now: number): Promise<void> {
    const due = this.silent(now);
    for (let at = 0; at < due.length; at += AT_ONCE) {
      await Promise.all(due.slice(at, at + AT_ONCE).map((source) => this.ask(source, now)));
    }
  }

  private silent(now: number): string[] {
    const silent = this.byHearing().filter(({ at }) => at + SILENT_MS <= now);
    return silent.slice(0, A_ROUND).map(({ source }) => source);
  }

  /** Live sources, the longest silent first. */
  private byHearing(): { source: string; at: number }[] {
    return this.parts
      .live()
      .map(({ source, heardAt }) => ({ source, at: this.heardAt.get(source) ?? heardAt }))
      .sort((a, b) => a.at - b.at);
  }

  private async ask(source: string, now: number): Promise<void> {
    this.asking.add(source);
    this.heardAt.set(source, now);
    const answer = await within(ANSWER_MS, this.parts.ask(source)).catch(() => undefined);
    if (!this.asking.delete(source)) return;
    if (answer === undefined) {
      this.parts.unanswered(source);
      return;
    }
    if (answer === null || !isLive(answer)) this.heardAt.delete(source);
    this.parts.answered(source, answer);
  }
}

/** What a promise gives, or `undefined` where that takes longer. */
export async function within<T>(ms: number, promise: Promise<T>): Promise<T | undefined> {
  const { promise: late, resolve } = Promise.withResolvers<undefined>();
  const timer = setTimeout(resolve, ms);
  try {
    return await Promise.race([promise, late]);
  } finally {
    clearTimeout(timer);
  }
}
