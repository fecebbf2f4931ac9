import type { Adapter } from "./adapters/adapter.ts";
import type { Log } from "./log.ts";
import { whenNpxEnds } from "./npx.ts";
import { WorkerRefused } from "./refusal.ts";
import { RemoteWorker } from "./remote-worker.ts";
import { describeStatistics } from "./statistics.ts";
import type { RemoteWorkerOptions } from "./worker-options.ts";

/** Serves until a signal or a refusal; returns the exit code of the process. */
export async function serve(
  adapter: Adapter,
  options: Omit<RemoteWorkerOptions, "handler"> & { log: Log },
): Promise<number> {
  const { log } = options;
  const worker = new RemoteWorker({ ...options, handler: adapter.handle });
  let signals = 0;
  const onSignal = (signal: NodeJS.Signals) => {
    signals += 1;
    if (signals > 1) {
      log.warn(`${signal} again: leaving at once`);
      worker.stop();
    } else void worker.drain(signal).catch(() => {}); // run() reports the same error.
  };
  process.on("SIGINT", onSignal).on("SIGTERM", onSignal);
  // After a Ctrl-C in a terminal, which reaches both, npx ends while this worker drains.
  whenNpxEnds(() => {
    if (signals === 0) onSignal("SIGTERM");
  });
  let refused = false;
  try {
    await worker.run();
  } catch (error) {
    if (!(error instanceof WorkerRefused)) throw error;
    refused = true;
    log.error(`stopping: ${error.message}`);
  } finally {
    process.off("SIGINT", onSignal).off("SIGTERM", onSignal);
    await adapter.close();
  }
  const statistics = worker.statistics();
  for (const line of describeStatistics(statistics)) log.info(line);
  return refused || statistics.jobs.held > 0 ? 1 : 0;
}
