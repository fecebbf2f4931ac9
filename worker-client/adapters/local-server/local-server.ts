import { setTimeout as pause } from "node:timers/promises";
import type { DeclaredSchema } from "../../../src/protocol/declared-schema.ts";
import { orderedJson } from "../../../src/protocol/exact-json.ts";
import type { Log } from "../../log.ts";
import type { Model } from "../adapter.ts";

/** What a look at the server found. */
export type ServerCheck =
  | { type: "ready"; schema: DeclaredSchema | undefined }
  /** `why` continues "the server at … ". */
  | { type: "away"; why: string };

interface LocalServerOptions {
  /** How the operator knows the server, such as its address. */
  name: string;
  log: Log;
  /** @throws {ModelUnusable} if waiting would not help */
  check(signal: AbortSignal): Promise<ServerCheck>;
  /** How often a server that is away is asked again, milliseconds. */
  retryMs?: number;
  /** How often a server that is there is asked whether it still is, and offers the same, milliseconds. */
  refreshMs?: number;
}

const RETRY_MS = 2_000;
const REFRESH_MS = 30_000;
/** How often a wait is reported, milliseconds. */
const REPORT_MS = 60_000;

/**
 * A server on this machine that runs the jobs. The worker serves its space only while the server is there; a change
 * of what the server offers makes it register again, as soon as no job runs.
 */
export class LocalServer implements Model {
  readonly #options: LocalServerOptions;
  readonly #closing = new AbortController();
  #running = 0;
  #schema = "";
  /** Resolves `untilLost`. */
  #lose: (reason: string) => void = () => {};
  #onIdle: () => void = () => {};

  constructor(options: LocalServerOptions) {
    this.#options = options;
  }

  async untilReady(signal: AbortSignal): Promise<DeclaredSchema | undefined> {
    const { log, name, retryMs = RETRY_MS } = this.#options;
    const stopped = AbortSignal.any([signal, this.#closing.signal]);
    let reportedAt: number | null = null;
    for (;;) {
      const found = await this.#options.check(stopped);
      if (found.type === "ready") {
        if (reportedAt !== null) log.info(`the server at ${name} is there`);
        this.#schema = textOf(found.schema);
        return found.schema;
      }
      if (reportedAt === null || performance.now() - reportedAt >= REPORT_MS) {
        reportedAt = performance.now();
        log.warn(`the server at ${name} ${found.why}; waiting until it is there`);
      }
      await pause(retryMs, undefined, { signal: stopped });
    }
  }

  async untilLost(): Promise<string> {
    const lost = new Promise<string>((resolve) => {
      this.#lose = resolve;
    });
    const watching = new AbortController();
    const signal = AbortSignal.any([watching.signal, this.#closing.signal]);
    const changed = this.#watch(signal);
    try {
      return await Promise.race([lost, changed]);
    } finally {
      watching.abort();
    }
  }

  /** Counts a job while it runs. */
  async run<T>(job: () => Promise<T>): Promise<T> {
    this.#running += 1;
    try {
      return await job();
    } finally {
      this.#running -= 1;
      if (this.#running === 0) this.#onIdle();
    }
  }

  /** A job found that nothing listens at the server's address any more. */
  onAway(): void {
    this.#lose("the model's server can't be reached");
  }

  close(): void {
    this.#closing.abort();
  }

  /** Resolves with the reason once the server is away, or offers something else; never if `signal` is aborted. */
  async #watch(signal: AbortSignal): Promise<string> {
    const { check, log, refreshMs = REFRESH_MS } = this.#options;
    for (;;) {
      await pause(refreshMs, undefined, { signal }).catch(() => new Promise<never>(() => {}));
      const found = await check(signal).catch((error: unknown) => {
        if (!signal.aborted) log.warn(`the server was not asked: ${String(error)}`);
        return null;
      });
      // A server that computes may be slow to answer; its jobs notice themselves if it is gone.
      if (found === null || (found.type === "away" && this.#running > 0)) continue;
      if (found.type === "away") return "the model's server can't be reached";
      if (textOf(found.schema) === this.#schema) continue;
      await this.#untilIdle();
      return "what the model's server offers has changed";
    }
  }

  /** A drain would let running jobs finish too, but meanwhile nobody could submit. */
  #untilIdle(): Promise<void> {
    if (this.#running === 0) return Promise.resolve();
    return new Promise((resolve) => {
      this.#onIdle = resolve;
    });
  }
}

function textOf(schema: DeclaredSchema | undefined): string {
  const { input = null, output = null } = schema ?? {};
  return orderedJson({ input, output });
}
