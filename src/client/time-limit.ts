/** The longest delay that `setTimeout` supports; with a longer one it would fire at once. */
const LONGEST_MS = 2 ** 31 - 1;

export interface WorkLimits {
  /** `Infinity`: no limit. */
  ms: number;
  /** Makes the error with which the work fails when its time is over. */
  late: () => unknown;
  signals: readonly (AbortSignal | undefined)[];
}

/**
 * Does the work until it ends, its time is over, or one of the signals aborts. It doesn't rely on the work to
 * heed its signal: a `fetch` or a token function that the user gave may hang for ever. The work may call
 * `onProgress`: its time then begins anew.
 */
export function withinLimits<T>(
  work: (signal: AbortSignal, onProgress: () => void) => Promise<T>,
  { ms, late, signals }: WorkLimits,
): Promise<T> {
  const aborted = signals.find((signal) => signal?.aborted);
  if (aborted !== undefined) return Promise.reject(aborted.reason);
  return new Promise<T>((resolve, reject) => {
    const controller = new AbortController();
    const stop = (reason: unknown) => {
      reject(reason);
      controller.abort(reason);
    };
    let timer: ReturnType<typeof setTimeout> | undefined;
    const restart = () => {
      clearTimeout(timer);
      if (ms < LONGEST_MS) timer = setTimeout(() => stop(late()), Math.max(ms, 0));
    };
    restart();
    const listeners = signals.flatMap((signal) => {
      if (signal === undefined) return [];
      const onAbort = () => stop(signal.reason);
      signal.addEventListener("abort", onAbort, { once: true });
      return [() => signal.removeEventListener("abort", onAbort)];
    });
    let isOver = false;
    const release = () => {
      isOver = true;
      clearTimeout(timer);
      for (const remove of listeners) remove();
    };
    // In an async function, because the work may also throw before it returns a promise.
    const done = (async () => work(controller.signal, () => !isOver && restart()))();
    done.then(resolve, reject).finally(release);
    controller.signal.addEventListener("abort", release, { once: true });
  });
}

/** Waits, but not longer than until the machine is online again. Rejects when the signal aborts. */
export function sleep(ms: number, signal: AbortSignal): Promise<void> {
  return new Promise((resolve, reject) => {
    const release = () => {
      clearTimeout(timer);
      signal.removeEventListener("abort", onAbort);
      globalThis.removeEventListener?.("online", onOver);
    };
    const onOver = () => {
      release();
      resolve();
    };
    const onAbort = () => {
      release();
      reject(signal.reason);
    };
    const timer = setTimeout(onOver, Math.min(ms, LONGEST_MS));
    globalThis.addEventListener?.("online", onOver);
    if (signal.aborted) onAbort();
    else signal.addEventListener("abort", onAbort, { once: true });
  });
}
