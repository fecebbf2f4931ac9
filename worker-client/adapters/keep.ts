import { setTimeout as pause } from "node:timers/promises";
import type { Json } from "../../src/protocol/codec.ts";
import type { DeclaredSchema } from "../../src/protocol/declared-schema.ts";
import { JobFailure } from "../failure.ts";
import type { Job } from "../job.ts";
import { type Adapter, type Model, ModelUnusable } from "./adapter.ts";
import { withJobFolder } from "./job-folder.ts";
import { KeptProgram, type KeptProgramOptions } from "./kept-program.ts";

export interface KeepOptions extends KeptProgramOptions {
  /** How long the program may load before it is killed and started again, milliseconds. */
  readyTimeoutMs: number;
}

/** A program that has never been ready is given up after so many starts: it seems to be the wrong one. */
const MOST_FIRST_STARTS = 5;
/** A program that ran for so long has not failed at once, milliseconds. */
const STEADY_MS = 60_000;
const MOST_PAUSE_MS = 30_000;
/** After this time a loading program is reported, milliseconds; then every minute. */
const REPORT_AFTER_MS = 10_000;
const REPORT_EVERY_MS = 60_000;

/** Runs all jobs in one process that keeps its model loaded. docs/workers.md describes its lines. */
export function keepAdapter(options: KeepOptions): Adapter & { model: Model } {
  const keeper = new ProgramKeeper(options);
  return {
    handle: (job) => keeper.run(job),
    close: () => keeper.close(),
    model: keeper,
  };
}

/** Starts the program, and starts it again whenever it has ended. */
class ProgramKeeper implements Model {
  readonly #options: KeepOptions;
  readonly #closing = new AbortController();
  /** The process that runs, or loads. */
  #program: KeptProgram | null = null;
  #isReady = false;
  /** Settles when the program that starts now is ready. */
  #loading: Promise<DeclaredSchema | undefined> | null = null;
  /** Starts in a row that came to nothing. */
  #failures = 0;
  #wasReady = false;

  constructor(options: KeepOptions) {
    this.#options = options;
  }

  untilReady(): Promise<DeclaredSchema | undefined> {
    this.#loading ??= this.#load();
    return this.#loading;
  }

  async untilLost(): Promise<string> {
    const end = this.#isReady ? await this.#program?.ended : undefined;
    const how = end?.description.split("\n")[0]?.replace(/; its standard error ends:$/, "");
    return `${how ?? "the program has ended"}, and is started again`;
  }

  run(job: Job): Promise<Json | undefined> {
    return withJobFolder(job, async (folder) => {
      if (this.#program === null || !this.#isReady) {
        throw new JobFailure("worker_error", "The worker's program is starting again.", true);
      }
      return this.#program.run(job, folder);
    });
  }

  async close(): Promise<void> {
    this.#closing.abort();
    await this.#program?.close();
  }

  /** Starts the program until it is ready, with longer and longer pauses; the first restart comes at once. */
  async #load(): Promise<DeclaredSchema | undefined> {
    for (;;) {
      const pauseMs = pauseBeforeStart(this.#failures);
      await pause(pauseMs, undefined, { signal: this.#closing.signal });
      const startedAt = performance.now();
      const program = new KeptProgram(this.#options);
      this.#program = program;
      const outcome = await this.#watchLoading(program);
      if (outcome.type === "ready") {
        this.#onReady(program, startedAt);
        return outcome.schema;
      }
      this.#closing.signal.throwIfAborted();
      this.#onFailedStart(outcome.description);
    }
  }

  #onReady(program: KeptProgram, startedAt: number): void {
    const { log } = this.#options;
    log.info(
      `the program is ready after ${((performance.now() - startedAt) / 1_000).toFixed(1)} s`,
    );
    this.#wasReady = true;
    this.#isReady = true;
    const readyAt = performance.now();
    void program.ended.then(({ description }) => {
      this.#isReady = false;
      if (this.#closing.signal.aborted) return;
      this.#failures = performance.now() - readyAt >= STEADY_MS ? 0 : this.#failures + 1;
      log.error(`${description}${this.#whatNext()}`);
      this.#loading = this.#load();
      this.#loading.catch(() => {}); // Whoever waits for it gets the error.
    });
  }

  #onFailedStart(description: string): void {
    this.#failures += 1;
    if (!this.#wasReady && this.#failures >= MOST_FIRST_STARTS) {
      throw new ModelUnusable(
        `${description}\nIt was started ${this.#failures} times, and never wrote {"type":"ready"}.`,
      );
    }
    this.#options.log.error(`${description}${this.#whatNext()}`);
  }

  #whatNext(): string {
    const seconds = pauseBeforeStart(this.#failures) / 1_000;
    return `\nStarting it again ${seconds === 0 ? "now" : `in ${seconds} s`}`;
  }

  /** Waits until the program is ready or has ended; reports from time to time that it still loads. */
  async #watchLoading(
    program: KeptProgram,
  ): Promise<
    { type: "ready"; schema: DeclaredSchema | undefined } | { type: "ended"; description: string }
  > {
    const { log, readyTimeoutMs } = this.#options;
    const startedAt = performance.now();
    const report = () => {
      const seconds = Math.round((performance.now() - startedAt) / 1_000);
      log.info(`waiting for the program to write {"type":"ready"}, for ${seconds} s so far`);
    };
    let every: NodeJS.Timeout | undefined;
    const first = setTimeout(() => {
      report();
      every = setInterval(report, REPORT_EVERY_MS);
    }, REPORT_AFTER_MS);
    const late = `it has not written {"type":"ready"} to its standard output within ${readyTimeoutMs / 1_000} s (--ready-timeout)`;
    const timeout = setTimeout(() => program.kill(late), readyTimeoutMs);
    try {
      return await Promise.race([
        program.ready.then((schema) => ({ type: "ready" as const, schema })),
        program.ended.then(({ description }) => ({ type: "ended" as const, description })),
      ]);
    } finally {
      clearTimeout(first);
      clearTimeout(timeout);
      clearInterval(every);
    }
  }
}

/** @param failures starts in a row that came to nothing */
function pauseBeforeStart(failures: number): number {
  return failures <= 1 ? 0 : Math.min(MOST_PAUSE_MS, 1_000 * 2 ** (failures - 2));
}
