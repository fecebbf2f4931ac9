import type { Log } from "./log.ts";

interface DrainTimerDeps {
  log: Log;
  /** How many jobs are finished, but not acknowledged yet. */
  unacknowledged: () => number;
  stop: () => void;
}

/** Stops a worker whose drain takes too long. */
export class DrainTimer {
  readonly #deps: DrainTimerDeps;
  #timer: ReturnType<typeof setTimeout> | undefined;
  #endsAt = Number.POSITIVE_INFINITY;

  constructor(deps: DrainTimerDeps) {
    this.#deps = deps;
  }

  /**
   * What is finished gets the time twice: it would be lost for nothing if the connection is dead just now. A second
   * start counts only if it leaves less time.
   */
  start(ms: number): void {
    const endsAt = performance.now() + ms;
    if (endsAt >= this.#endsAt) return;
    this.#endsAt = endsAt;
    clearTimeout(this.#timer);
    this.#timer = setTimeout(() => {
      const unacknowledged = this.#deps.unacknowledged();
      if (unacknowledged === 0) {
        this.#stop(ms);
        return;
      }
      const finished = `jobs that are finished but not acknowledged: ${unacknowledged}`;
      this.#deps.log.warn(`the drain took longer than ${ms / 1_000} s; ${finished}`);
      this.#timer = setTimeout(() => this.#stop(2 * ms), ms);
    }, ms);
  }

  clear(): void {
    clearTimeout(this.#timer);
  }

  #stop(ms: number): void {
    this.#deps.log.error(`the drain took longer than ${ms / 1_000} s: stopping`);
    this.#deps.stop();
  }
}
