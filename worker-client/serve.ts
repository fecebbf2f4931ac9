import type { DeclaredSchema } from "../src/protocol/declared-schema.ts";
import { type Adapter, type Model, ModelUnusable } from "./adapters/adapter.ts";
import type { Log } from "./log.ts";
import { whenNpxEnds } from "./npx.ts";
import { WorkerRefused } from "./refusal.ts";
import { RemoteWorker } from "./remote-worker.ts";
import { describeStatistics, type Statistics, sumStatistics } from "./statistics.ts";
import { checkOptions, defaultWorkerId, type RemoteWorkerOptions } from "./worker-options.ts";

type ServeOptions = Omit<RemoteWorkerOptions, "handler"> & { log: Log };

/**
 * Serves until a signal or a refusal; returns the exit code of the process.
 *
 * @param signals emits SIGINT and SIGTERM
 */
export async function serve(
  adapter: Adapter,
  options: ServeOptions,
  signals: NodeJS.EventEmitter = process,
): Promise<number> {
  const { log } = options;
  checkOptions({ ...options, handler: adapter.handle });
  const serving = new Serving(adapter, options);
  const onSignal = (signal: NodeJS.Signals) => serving.onSignal(signal);
  signals.on("SIGINT", onSignal).on("SIGTERM", onSignal);
  // After a Ctrl-C in a terminal, which reaches both, npx ends while this worker drains.
  whenNpxEnds(() => serving.onNpxEnd());
  let refused = false;
  try {
    await serving.run();
  } catch (error) {
    if (!(error instanceof WorkerRefused || error instanceof ModelUnusable)) throw error;
    refused = true;
    log.error(`stopping: ${error.message}`);
  } finally {
    signals.off("SIGINT", onSignal).off("SIGTERM", onSignal);
    await adapter.close();
  }
  const { statistics } = serving;
  for (const line of describeStatistics(statistics)) log.info(line);
  return refused || statistics.jobs.held > 0 ? 1 : 0;
}

/** While the model is away the worker leaves its place, and finishes first; a drain for a signal has less time. */
const LEAVING_MS = 24 * 3_600_000;

/** One worker after the other, with the same id: a worker serves only while its model can run jobs. */
class Serving {
  readonly #adapter: Adapter;
  readonly #options: ServeOptions & { workerId: string };
  readonly #stopping = new AbortController();
  readonly #startedAt = performance.now();
  readonly #ended: Statistics[] = [];
  #worker: RemoteWorker | null = null;
  #signals = 0;

  constructor(adapter: Adapter, options: ServeOptions) {
    this.#adapter = adapter;
    this.#options = { ...options, workerId: options.workerId ?? defaultWorkerId() };
  }

  get statistics(): Statistics {
    const uptimeS = (performance.now() - this.#startedAt) / 1_000;
    return { ...sumStatistics(this.#ended), uptimeS };
  }

  async run(): Promise<void> {
    const { model } = this.#adapter;
    if (model === undefined) {
      await this.#serve(this.#options.schema);
      return;
    }
    while (!this.#stopping.signal.aborted) {
      const ready = await this.#untilReady(model);
      if (ready === null) return;
      await this.#serve(ready.schema ?? this.#options.schema, model);
    }
  }

  onSignal(signal: NodeJS.Signals): void {
    this.#signals += 1;
    this.#stopping.abort();
    if (this.#signals > 1) {
      this.#options.log.warn(`${signal} again: leaving at once`);
      this.#worker?.stop();
    } else void this.#worker?.drain(signal).catch(() => {}); // run() reports the same error.
  }

  onNpxEnd(): void {
    if (this.#signals === 0) this.onSignal("SIGTERM");
  }

  /** Returns `null` if the worker was stopped meanwhile. */
  async #untilReady(model: Model): Promise<{ schema: DeclaredSchema | undefined } | null> {
    const { signal } = this.#stopping;
    const stopped = new Promise<null>((resolve) => {
      signal.addEventListener("abort", () => resolve(null), { once: true });
    });
    const ready = model.untilReady(signal).then((schema) => ({ schema }));
    return Promise.race([stopped, ready]).catch((error: unknown) => {
      if (signal.aborted) return null;
      throw error;
    });
  }

  async #serve(schema: DeclaredSchema | undefined, model?: Model): Promise<void> {
    const { handle } = this.#adapter;
    const worker = new RemoteWorker({ ...this.#options, schema, handler: handle });
    this.#worker = worker;
    void model?.untilLost().then((reason) => {
      if (!this.#stopping.signal.aborted) void worker.drain(reason, LEAVING_MS).catch(() => {});
    });
    try {
      await worker.run();
    } finally {
      this.#ended.push(worker.statistics());
    }
  }
}
