import type { Report } from "../protocol/monitor.ts";
import { isLive } from "./totals.ts";

/** Silence of a source with open sockets or active jobs after which it is asked, milliseconds. */
export const SILENT_MS = 30_000;
/** Sources asked at a time, and in one round. */
const AT_ONCE = 50;
const A_ROUND = 500;
/** A job that ended is forgotten with its result, mostly after a day: after so long it is asked about that. */
const ENDED_SILENT_MS = 172_800_000;
/** How often, and how many at a time. */
const SWEEP_EVERY_MS = 3_600_000;
const A_SWEEP = 100;
/** How long one may take to answer. */
const ANSWER_MS = 5_000;

interface Parts {
  live: () => { source: string; heardAt: number }[];
  /** Ended jobs of which nothing was heard since then. */
  ended: (heardBy: number, limit: number) => string[];
  ask: (source: string) => Promise<Report | null>;
  /** `null`: it is no more. */
  onAnswer: (source: string, report: Report | null) => void;
  /** It may still answer, or be asked again. */
  onNoAnswer: (source: string) => void;
}

/** One that `settles` need not be repeated where the source is idle. */
interface Question {
  settles: boolean;
}

/** Asks sources that fell silent: one that died could not say so. */
export class LivenessCheck {
  private readonly parts: Parts;
  /** When each live source was last heard of or asked, as far as this memory knows. */
  private readonly heardAt = new Map<string, number>();
  /** By source, the last question that nothing came after. */
  private readonly asking = new Map<string, Question>();
  /**
   * Idle by their answer, and to be asked once more: if they are soon as they were when they last reported,
   * they don't report that again.
   */
  private readonly settling = new Set<string>();
  private sweptAt = Number.NEGATIVE_INFINITY;
  private round: Promise<void> | null = null;

  constructor(parts: Parts) {
    this.parts = parts;
  }

  /** It reported by itself: what it was asked before may be answered with older numbers. */
  onReport(source: string, isLive: boolean, now: number): void {
    this.asking.delete(source);
    this.settling.delete(source);
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
    const silent = this.silent(now).map((source) => {
      return { source, settles: this.settling.has(source) };
    });
    const leftOver = this.leftOver(now).map((source) => ({ source, settles: true }));
    const due = [...silent, ...leftOver];
    for (let at = 0; at < due.length; at += AT_ONCE) {
      const some = due.slice(at, at + AT_ONCE);
      await Promise.all(some.map(({ source, settles }) => this.ask(source, { settles }, now)));
    }
  }

  private silent(now: number): string[] {
    const silent = this.byHearing().filter(({ at }) => at + SILENT_MS <= now);
    return silent.slice(0, A_ROUND).map(({ source }) => source);
  }

  /** Jobs that may be erased, and could not tell the monitor. */
  private leftOver(now: number): string[] {
    if (now < this.sweptAt + SWEEP_EVERY_MS) return [];
    this.sweptAt = now;
    return this.parts.ended(now - ENDED_SILENT_MS, A_SWEEP);
  }

  /** Live sources, the longest silent first. */
  private byHearing(): { source: string; at: number }[] {
    const last = new Map([...this.settling].map((source) => [source, 0]));
    for (const { source, heardAt } of this.parts.live()) last.set(source, heardAt);
    return [...last]
      .map(([source, heardAt]) => ({ source, at: this.heardAt.get(source) ?? heardAt }))
      .sort((a, b) => a.at - b.at);
  }

  private async ask(source: string, question: Question, now: number): Promise<void> {
    this.asking.set(source, question);
    this.heardAt.set(source, now);
    const answer = this.parts.ask(source).then((report) => this.take(source, question, report));
    const isAnswered = await within(ANSWER_MS, answer).catch(() => undefined);
    const isOpen = this.asking.get(source) === question;
    if (isAnswered === undefined && isOpen) this.parts.onNoAnswer(source);
  }

  /** However late, unless something newer was heard, or is asked. */
  private take(source: string, question: Question, report: Report | null): true {
    if (this.asking.get(source) !== question) return true;
    this.asking.delete(source);
    const isIdle = report !== null && !isLive(report);
    const isToRepeat = isIdle && !question.settles;
    if (isToRepeat) this.settling.add(source);
    else this.settling.delete(source);
    if (report === null || (isIdle && !isToRepeat)) this.heardAt.delete(source);
    this.parts.onAnswer(source, report);
    return true;
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
