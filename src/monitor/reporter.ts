import type { Report, SourceKind } from "../protocol/monitor.ts";
import { isLive } from "./totals.ts";

/** The name of the one monitor object. */
export const MONITOR_NAME = "monitor";

/** Time between two reports of one object, milliseconds at least. */
const MIN_INTERVAL_MS = 1_000;
/** A report waits this long for further changes, milliseconds: the start and end of a short job are one report. */
const GATHER_MS = 100;
/** A report that fails is sent this many times in all; after that, not before the next change. */
const MAX_TRIES = 5;

/** The part of `Env` that reaches the monitor. */
export interface MonitorBinding {
  MONITOR: {
    getByName(name: string): {
      report(source: string, report: Report): PromiseLike<void>;
      forget(source: string): PromiseLike<void>;
    };
  };
}

/** The name under which the monitor knows an object. */
export function sourceOf(kind: SourceKind, name: string): string {
  return `${kind}:${name}`;
}

/**
 * Reports the numbers of one object to the monitor after they have changed; nobody waits for it. Only one
 * report is under way at a time, so that none overtakes an older one.
 */
export class Reporter {
  private readonly env: MonitorBinding;
  private readonly source: string;
  private readonly report: () => Report | null;
  private timer: ReturnType<typeof setTimeout> | null = null;
  private sending: Promise<void> | null = null;
  private isChanged = false;
  private lastText: string | null = null;
  private triedAt = Number.NEGATIVE_INFINITY;
  /** Failed reports in a row since the last change. */
  private failures = 0;
  private isFailing = false;
  private isKnownLive: boolean;

  /**
   * @param report makes the report; called only when one is sent. `null`: the object no longer exists
   * @param wasLive the object lost its memory but not its sockets, which had been reported
   */
  constructor(
    env: MonitorBinding,
    kind: SourceKind,
    name: string,
    report: () => Report | null,
    wasLive = false,
  ) {
    this.env = env;
    this.source = sourceOf(kind, name);
    this.report = report;
    this.isKnownLive = wasLive;
  }

  /** The monitor has received this report. */
  noteDelivered(report: Report | null): void {
    this.isKnownLive = isLiveReport(report);
  }

  /** Whether the monitor knows of open sockets or active jobs here, so that it asks if no report comes. */
  get isPolled(): boolean {
    return this.isKnownLive;
  }

  /** The numbers may have changed. Cheap enough to be called after every batch. */
  markChanged(): void {
    this.isChanged = true;
    this.failures = 0;
    if (this.timer === null && this.sending === null) this.sendSoon();
  }

  /** Reports at once if there is anything new; resolves when that has succeeded or failed. */
  async flush(): Promise<void> {
    await this.sending;
    this.stop();
    await this.send();
  }

  /** Drops a report that is not sent yet; the next change makes a new one. */
  stop(): void {
    if (this.timer !== null) clearTimeout(this.timer);
    this.timer = null;
    this.isChanged = false;
  }

  private sendSoon(): void {
    const ms = Math.max(GATHER_MS, this.triedAt + MIN_INTERVAL_MS - Date.now());
    this.timer = setTimeout(() => {
      this.timer = null;
      void this.send();
    }, ms);
  }

  private send(): Promise<void> {
    this.sending = this.sendNow();
    return this.sending;
  }

  private async sendNow(): Promise<void> {
    // The caller of `markChanged` may not have finished its change yet.
    await Promise.resolve();
    const wasTaken = await this.deliver();
    this.sending = null;
    this.isFailing = !wasTaken;
    if (!wasTaken) this.failures += 1;
    const isRetried = !wasTaken && this.failures < MAX_TRIES;
    if (this.isChanged || isRetried) this.sendSoon();
  }

  private async deliver(): Promise<boolean> {
    this.isChanged = false;
    this.triedAt = Date.now();
    try {
      const report = this.report();
      const text = JSON.stringify(report);
      if (text === this.lastText) return true;
      // The monitor may take this before the answer arrives here, so it may stop asking from now on.
      if (!isLiveReport(report)) this.isKnownLive = false;
      // A stub stays broken once its object has crashed: each report gets its own.
      const monitor = this.env.MONITOR.getByName(MONITOR_NAME);
      if (report === null) await monitor.forget(this.source);
      else await monitor.report(this.source, report);
      this.lastText = text;
      this.noteDelivered(report);
      return true;
    } catch (error) {
      // The monitor may have taken it all the same, so what it knows is uncertain until the next report.
      this.lastText = null;
      this.isKnownLive = false;
      if (!this.isFailing) console.error("the monitor did not take a report", error);
      return false;
    }
  }
}

function isLiveReport(report: Report | null): boolean {
  return report !== null && isLive(report);
}
