import type { Log } from "./log.ts";

/** How often a waiting worker says that it still waits, milliseconds. */
const REPORT_MS = 60_000;

/** Says that the worker waits because others have every place: at first why, then from time to time how long. */
export class PlaceWait {
  readonly #log: Log;
  #startedAt: number | null = null;
  #reportedAt = 0;

  constructor(log: Log) {
    this.#log = log;
  }

  /** To be called each time the worker found no place; `ms` until it dials again. */
  report({ why, ms }: { why: string; ms: number }, now: number): void {
    const dialsIn = `dialing again in ${(ms / 1_000).toFixed(1)} s`;
    const reason = why.replace(/\.$/, "");
    if (this.#startedAt === null) {
      this.#startedAt = now;
      this.#reportedAt = now;
      this.#log.warn(`${reason}. Waiting until there is a place for this one; ${dialsIn}`);
      return;
    }
    const seconds = Math.round((now - this.#startedAt) / 1_000);
    const line = `${reason}. Waiting for a place, for ${seconds} s so far; ${dialsIn}`;
    if (now - this.#reportedAt < REPORT_MS) {
      this.#log.debug(line);
      return;
    }
    this.#reportedAt = now;
    this.#log.warn(line);
  }

  end(): void {
    this.#startedAt = null;
  }
}
