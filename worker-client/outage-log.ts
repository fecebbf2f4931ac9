import type { Log } from "./log.ts";

/** How long an outage has lasted when it is reported again, minutes; after the last one, every hour. */
const REPORTED_AFTER_MIN = [1, 5, 30, 60];
/** A connection that broke sooner than this belongs to the same outage, milliseconds. */
const STEADY_MS = 60_000;
/** How many different problems, and how many connections, are reported in one outage. */
const MOST_LINES = 5;

/**
 * Reports that the edge can't be reached without filling the log: an outage may last for days, with a dial every
 * few seconds. A problem is reported when it is new, then after 1, 5, 30 and 60 minutes and every hour.
 */
export class OutageLog {
  readonly #log: Log;
  /** Returns milliseconds of a clock that is never set. */
  readonly #now: () => number;
  #outage: Outage | null = null;
  #connectedAt: number | null = null;

  constructor(log: Log, now: () => number = () => performance.now()) {
    this.#log = log;
    this.#now = now;
  }

  /** A connection or a dial has failed, or is about to be given up. */
  onProblem(why: string, next = ""): void {
    const now = this.#now();
    const outage = this.#continued(now);
    const line = `${why}${next}`;
    const isNew = this.#isNew(outage, why);
    const lastedMs = now - outage.since;
    const isDue = lastedMs >= outage.reportAtMs;
    if (isDue) outage.reportAtMs = nextReportMs(lastedMs);
    if (isDue) this.#log.warn(`no steady connection for ${lasted(lastedMs)}: ${line}`);
    else if (isNew) this.#log.warn(line);
    else this.#log.debug(line);
  }

  /** The edge complained in words over the connection; the connection goes on, or a problem follows. */
  onComplaint(line: string): void {
    const steadyFrom = this.#connectedAt === null ? null : this.#connectedAt + STEADY_MS;
    const outage = steadyFrom !== null && this.#now() >= steadyFrom ? null : this.#outage;
    if (outage === null || this.#isNew(outage, line)) this.#log.warn(line);
    else this.#log.debug(line);
  }

  /** @param line what to report about the new connection */
  onConnected(line: string): void {
    const now = this.#now();
    const outage = this.#outage;
    this.#connectedAt = now;
    if (outage === null) {
      this.#log.info(line);
      return;
    }
    outage.connections += 1;
    const ms = now - outage.since;
    const after = ms < MINUTE_MS ? "" : `, after ${lasted(ms)} without a steady connection`;
    if (outage.connections <= MOST_LINES) this.#log.info(line + after);
    else this.#log.debug(line + after);
  }

  #isNew({ reasons }: Outage, reason: string): boolean {
    if (reasons.has(reason) || reasons.size >= MOST_LINES) return false;
    reasons.add(reason);
    return true;
  }

  /** The outage that a problem belongs to. A connection that lasted has ended the one before. */
  #continued(now: number): Outage {
    const connectedAt = this.#connectedAt;
    this.#connectedAt = null;
    const isOver = connectedAt !== null && now - connectedAt >= STEADY_MS;
    if (this.#outage === null || isOver) {
      const reportAtMs = nextReportMs(0);
      this.#outage = { since: now, reasons: new Set(), connections: 0, reportAtMs };
    }
    return this.#outage;
  }
}

interface Outage {
  since: number;
  /** The problems that were reported. */
  reasons: Set<string>;
  connections: number;
  /** How long it must have lasted for the next report. */
  reportAtMs: number;
}

const MINUTE_MS = 60_000;
const HOUR_MS = 60 * MINUTE_MS;

function nextReportMs(lastedMs: number): number {
  const next = REPORTED_AFTER_MIN.find((minutes) => minutes * MINUTE_MS > lastedMs);
  return next === undefined ? (Math.floor(lastedMs / HOUR_MS) + 1) * HOUR_MS : next * MINUTE_MS;
}

/** Words for a time of a minute or more. */
function lasted(ms: number): string {
  const minutes = Math.floor(ms / MINUTE_MS);
  if (minutes < 120) return minutes === 1 ? "1 minute" : `${minutes} minutes`;
  const hours = Math.floor(ms / HOUR_MS);
  return hours < 48 ? `${hours} hours` : `${Math.floor(hours / 24)} days`;
}
