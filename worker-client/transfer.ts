import { setTimeout as pause } from "node:timers/promises";
import { shortenName } from "../src/protocol/file-name.ts";
import { type Backoff, backoffMs } from "./backoff.ts";
import { JobFailure } from "./failure.ts";
import type { Log } from "./log.ts";

/** How a file is fetched or sent. */
export interface TransferOptions {
  /** The edge's address; a file's own address may be relative to it. */
  edgeUrl: string;
  /** The file's address as it is now: a worker that is resumed may get another one (W26c). */
  url: () => string;
  /** When the attempt is taken back, milliseconds since 1970; `null` while the edge can't be reached (W26b). */
  deadlineAt: () => number | null;
  /** Aborted once the attempt is no longer wanted. */
  signal: AbortSignal;
  log: Log;
  /** A connection on which nothing moves for this long is given up, milliseconds. */
  stallMs?: number;
  backoff?: Backoff;
}

const STALL_MS = 20_000;
/**
 * A try that would begin less than this before the deadline isn't made, milliseconds: so whoever submitted learns
 * what was wrong with the file, and not only that the time was over.
 */
const LAST_WORDS_MS = 3_000;
const RETRY: Backoff = { firstMs: 500, capMs: 10_000 };
/** A 403 is asked again for so long: a worker that reconnects gets a new address within this time, milliseconds. */
const RENEWAL_MS = 15_000;
/** Another answer than the edge's own is asked again for so long: a proxy says 404 while the edge restarts. */
const PROXY_MS = 2_000;
/** Statuses below 500 after which another try may succeed. */
const TEMPORARY = new Set([408, 425, 429]);

/** A try failed, but another one may succeed. */
export class Interrupted extends Error {}

/** Decides after each failed try to move a file whether there is another one, and waits before it. */
export class Tries {
  /** The file, for messages. */
  readonly name: string;
  private readonly moved: "fetched" | "sent";
  private readonly options: TransferOptions;
  /** Since when the file has been refused without progress in between, milliseconds; `null` if it is not. */
  private refusedSince: number | null = null;

  constructor(fileName: string, moved: "fetched" | "sent", options: TransferOptions) {
    this.name = `the file ${quoted(fileName)}`;
    this.moved = moved;
    this.options = options;
  }

  failure(why: string, isRetryable = true): JobFailure {
    const text = `${this.name[0]?.toUpperCase()}${this.name.slice(1)} could not be ${this.moved}: ${why}.`;
    return new JobFailure("worker_error", text, isRetryable);
  }

  onProgress(): void {
    this.refusedSince = null;
  }

  /** Waits before the next try, unless there can't be one: then throws why. @param state how far the transfer is */
  async waitAfter(error: unknown, failures: number, state: string): Promise<void> {
    const { signal, log, deadlineAt, backoff = RETRY } = this.options;
    if (!signal.aborted) {
      if (error instanceof JobFailure) throw error;
      log.warn(`${this.name}: ${describe(error)}; ${state}, going on`);
      const delayMs = backoffMs(failures - 1, 0.5 + Math.random() / 2, backoff);
      const leftMs = (deadlineAt() ?? Number.POSITIVE_INFINITY) - Date.now() - LAST_WORDS_MS;
      if (delayMs > leftMs) throw this.failure(`${describe(error)}; ${state} before the deadline`);
      await pause(delayMs, null, { signal }).catch(() => undefined);
    }
    if (signal.aborted) log.warn(`${this.name}: ${state} before the attempt was given up`);
    signal.throwIfAborted();
  }

  /**
   * The error for an answer that refuses the file.
   *
   * @param isRetryable whether another attempt may succeed if the edge itself refuses it
   */
  async refusalOf(answer: Response, isRetryable: boolean): Promise<Error> {
    const { status } = answer;
    const text = (await answer.text()).slice(0, 10_000);
    const isProblem = answer.headers.get("content-type")?.startsWith("application/problem+json");
    const detail = isProblem ? `: ${detailOf(text)}` : "";
    const why = `the edge answered with status ${status}${detail}`.replace(/\.+$/, "");
    if (status >= 500 || TEMPORARY.has(status)) return new Interrupted(why);
    const patience = isProblem ? (status === 403 ? RENEWAL_MS : 0) : PROXY_MS;
    this.refusedSince ??= performance.now();
    const isOver = performance.now() - this.refusedSince >= patience;
    return isOver ? this.failure(why, isRetryable) : new Interrupted(why);
  }
}

/** Aborts its signal when it has not been restarted for some time. */
export class StallTimer {
  readonly ms: number;
  private readonly controller = new AbortController();
  private timer: NodeJS.Timeout;

  constructor(ms: number = STALL_MS) {
    this.ms = ms;
    this.timer = this.start(ms);
  }

  get signal(): AbortSignal {
    return this.controller.signal;
  }

  /** @param ms how long it may take from now on until something happens, if that is not the usual time */
  restart(ms?: number): void {
    if (ms === undefined) this.timer.refresh();
    else {
      this.stop();
      this.timer = this.start(ms);
    }
  }

  stop(): void {
    clearTimeout(this.timer);
  }

  private start(ms: number): NodeJS.Timeout {
    return setTimeout(() => this.controller.abort(), ms);
  }
}

/** A file's name for a message. */
export function quoted(fileName: string): string {
  return JSON.stringify(shortenName(fileName, 200));
}

function detailOf(problem: string): string {
  try {
    const { detail } = JSON.parse(problem);
    return String(detail).slice(0, 300);
  } catch {
    return "no reason given";
  }
}

/** `fetch` says only "fetch failed" or "terminated" by itself; what failed is the cause. */
function describe(error: unknown): string {
  if (!(error instanceof Error)) return String(error);
  return error.cause instanceof Error ? `${error.message}: ${error.cause.message}` : error.message;
}
