import type { Json } from "../src/protocol/codec.ts";
import type { HandlerOutcome } from "./completion.ts";
import { type AbortCause, JobAborted } from "./failure.ts";
import { BusyClock } from "./statistics.ts";

/** One run of a handler. */
export interface HandlerRun {
  key: string;
  /** When to abort, milliseconds on this machine's clock; `null` for never. */
  deadlineAt: number | null;
  perform(signal: AbortSignal): Promise<Json | undefined>;
  /** Called once; `cause` is why the handler was aborted, `null` if it was not. */
  onEnd(outcome: HandlerOutcome, cause: AbortCause | null): void;
}

interface RunEntry {
  run: HandlerRun;
  deadlineAt: number | null;
  controller: AbortController;
  timer: ReturnType<typeof setTimeout> | null;
  started: boolean;
}

const MAX_TIMER_MS = 2 ** 31 - 1;

/** How long the edge, once it is heard from, has to say that a deadline has moved: it looks at its clock each second. */
const LAST_WORDS_MS = 2_000;

/**
 * Runs a limited number of handlers at once. An aborted handler keeps its slot until it has ended,
 * so that a new job never competes with the remains of an old one for the same GPU.
 */
export class Runner {
  readonly #entries = new Map<string, RunEntry>();
  readonly #waiting: RunEntry[] = [];
  readonly #slots: number;
  readonly #hearEdge: () => Promise<void>;
  readonly #clock = new BusyClock();
  #running = 0;
  #isPaused = false;

  /** @param hearEdge asks the edge for a sign of life, and resolves when one comes */
  constructor(slots: number, hearEdge: () => Promise<void>) {
    this.#slots = slots;
    this.#hearEdge = hearEdge;
  }

  /** Starts the handler, or queues it if an aborted handler still occupies the slot. */
  start(run: HandlerRun): "started" | "waiting" {
    const { key, deadlineAt } = run;
    // Jobs come only while the edge can be reached.
    this.#isPaused = false;
    const controller = new AbortController();
    const entry: RunEntry = { run, deadlineAt, controller, timer: null, started: false };
    this.#entries.set(key, entry);
    this.#watchDeadline(entry);
    if (this.#running >= this.#slots) {
      this.#waiting.push(entry);
      return "waiting";
    }
    void this.#run(entry);
    return "started";
  }

  abort(key: string, cause: AbortCause): void {
    const entry = this.#entries.get(key);
    if (entry !== undefined) this.#abort(entry, cause);
  }

  abortAll(cause: AbortCause): void {
    for (const entry of [...this.#entries.values()]) this.#abort(entry, cause);
  }

  /** Aborts no handler at its deadline from now on, until its deadline is set again. */
  pauseDeadlines(): void {
    this.#isPaused = true;
    for (const entry of this.#entries.values()) {
      if (entry.timer !== null) clearTimeout(entry.timer);
      entry.timer = null;
    }
  }

  /** @param deadlineAt `undefined`: the deadline that the handler had before the pause */
  setDeadline(key: string, deadlineAt: number | null | undefined): void {
    this.#isPaused = false;
    const entry = this.#entries.get(key);
    if (entry === undefined) return;
    if (deadlineAt !== undefined) entry.deadlineAt = deadlineAt;
    this.#watchDeadline(entry);
  }

  /** When the handler is aborted, milliseconds on this machine's clock; `null` for never, or while that is paused. */
  deadlineOf(key: string): number | null {
    return this.#isPaused ? null : (this.#entries.get(key)?.deadlineAt ?? null);
  }

  /** Whether the handler was aborted and has not ended yet. */
  isAborted(key: string): boolean {
    return this.#entries.get(key)?.controller.signal.aborted ?? false;
  }

  busySeconds(): number {
    return this.#clock.seconds(performance.now());
  }

  #watchDeadline(entry: RunEntry): void {
    if (entry.timer !== null) clearTimeout(entry.timer);
    if (entry.deadlineAt === null) return;
    const ms = Math.min(Math.max(0, entry.deadlineAt - Date.now()), MAX_TIMER_MS);
    const timer = setTimeout(() => void this.#onDeadline(entry, timer), ms);
    entry.timer = timer;
  }

  /**
   * An edge that stands still does not count that time, and says so when it goes on (W15a). So a handler is aborted
   * only when the edge is heard from after the deadline, and has had time to say that it moved.
   */
  async #onDeadline(entry: RunEntry, timer: NodeJS.Timeout): Promise<void> {
    await this.#hearEdge();
    // It has ended meanwhile, or has another deadline, or none.
    if (entry.timer !== timer) return;
    entry.timer = setTimeout(() => this.#abort(entry, "deadline"), LAST_WORDS_MS);
  }

  #abort(entry: RunEntry, cause: AbortCause): void {
    if (entry.controller.signal.aborted) return;
    const reason = new JobAborted(cause);
    entry.controller.abort(reason);
    if (entry.started) return;
    this.#waiting.splice(this.#waiting.indexOf(entry), 1);
    this.#finish(entry, { type: "threw", error: reason });
  }

  async #run(entry: RunEntry): Promise<void> {
    entry.started = true;
    this.#running += 1;
    this.#clock.enter(performance.now());
    const outcome = await perform(entry);
    this.#clock.leave(performance.now());
    this.#running -= 1;
    this.#finish(entry, outcome);
    const next = this.#running < this.#slots ? this.#waiting.shift() : undefined;
    if (next !== undefined) void this.#run(next);
  }

  #finish(entry: RunEntry, outcome: HandlerOutcome): void {
    if (entry.timer !== null) clearTimeout(entry.timer);
    entry.timer = null;
    if (this.#entries.get(entry.run.key) === entry) this.#entries.delete(entry.run.key);
    const { signal } = entry.controller;
    entry.run.onEnd(outcome, signal.reason instanceof JobAborted ? signal.reason.why : null);
  }
}

async function perform({ run, controller }: RunEntry): Promise<HandlerOutcome> {
  try {
    return { type: "returned", value: await run.perform(controller.signal) };
  } catch (error) {
    return { type: "threw", error };
  }
}
