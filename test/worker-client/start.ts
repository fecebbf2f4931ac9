import { onTestFinished } from "vitest";
import { RemoteWorker, type RemoteWorkerOptions } from "../../worker-client/index.ts";
import { FakeEdge, SPACE, TOKEN } from "../support/fake-edge.ts";

export async function startEdge(): Promise<FakeEdge> {
  const edge = await FakeEdge.start();
  onTestFinished(() => edge.close());
  return edge;
}

export interface StartedWorker {
  worker: RemoteWorker;
  /** Resolves to what `run` threw, or to `null`. */
  ended: Promise<unknown>;
  logged: string[];
}

/** Starts a worker that dials again almost at once; it is stopped when the test ends. */
export function startWorker(
  edge: Pick<FakeEdge, "url">,
  options: Partial<RemoteWorkerOptions> & Pick<RemoteWorkerOptions, "handler">,
): StartedWorker {
  const logged: string[] = [];
  const note = (message: string) => void logged.push(message);
  const worker = new RemoteWorker({
    url: edge.url,
    space: SPACE,
    token: TOKEN,
    backoff: { firstMs: 1, capMs: 20 },
    log: { debug: note, info: note, warn: note, error: note },
    ...options,
  });
  const ended = worker.run().then(
    () => null,
    (error: unknown) => error,
  );
  onTestFinished(() => worker.stop());
  return { worker, ended, logged };
}

/** A promise that a test resolves with `open`, so that a handler waits for the test. */
export function gate<T = void>(): { promise: Promise<T>; open: (value: T) => void } {
  let open: (value: T) => void = () => {};
  const promise = new Promise<T>((resolve) => {
    open = resolve;
  });
  return { promise, open };
}

/** Resolves with the signal's reason once it is aborted. */
export function aborted(signal: AbortSignal): Promise<unknown> {
  if (signal.aborted) return Promise.resolve(signal.reason);
  return new Promise((resolve) =>
    signal.addEventListener("abort", () => resolve(signal.reason), { once: true }),
  );
}
