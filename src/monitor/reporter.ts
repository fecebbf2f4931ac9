import type { Report, SourceKind } from "../protocol/monitor.ts";
import { isLive } from "./totals.ts";

/** The one object that adds up what all others report. */
export const MONITOR_NAME = "monitor";

/** An object reports at most this often, milliseconds. */
const EVERY_MS = 1_000;
/** What changes soon after is told with it: a short job's beginning and end are one report. */
const GATHER_MS = 100;
/** A report that is not taken is sent so often; after that, with the next change. */
const TRIES = 5;

/** Where the monitor is reached. */
export interface MonitorBinding {
  MONITOR: {
    getByName(name: string): {
      report(source: string, report: Report): PromiseLike<void>;
      forget(source: string): PromiseLike<void>;
    };
  };
}

/** How the monitor names an object. */
export function sourceOf(kind: SourceKind, name: string): string {
  return `${kind}:${name}`;
}

/**
 * Tells the monitor how things stand with one object, after they changed; nobody waits for it. One
 * report is under way at a time, so that none is overtaken.
 */
export class Reporter {
  private readonly env: MonitorBinding;
  private readonly source: string;
  private readonly report: () => Report | null;
  private timer: ReturnType<typeof setTimeout> | null = null;
  private sending: Promise<void> | null = null;
  private isChanged = false;
  private lastText: string | null = null;
  private askedAt = Number.NEGATIVE_INFINITY;
  /** In a row since the last change. */
  private failures = 0;
  private isFailing = false;
  private isKnownLive: boolean;

  /**
   * @param report asked only when something is sent; `null` says that the object is no more
   * @param wasLive memory was lost, but not the sockets: the monitor had heard of them
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

  /** The monitor has heard this. */
  noteDelivered(report: Report | null): void {
    this.isKnownLive = goesOn(report);
  }

  /** The monitor knows that something goes on here: whoever looks there asks, where it hears nothing. */
  get isPolled(): boolean {
    return this.isKnownLive;
  }

  /** Something may have changed: cheap, and may be called after every batch. */
  markChanged(): void {
    this.isChanged = true;
    this.failures = 0;
    if (this.timer === null && this.sending === null) this.sendSoon();
  }

  /** Tells at once what there is to tell; resolves when that was tried. */
  async flush(): Promise<void> {
    await this.sending;
    this.stop();
    await this.send();
  }

  /** What is not sent yet is not sent any more, until the next change. */
  stop(): void {
    if (this.timer !== null) clearTimeout(this.timer);
    this.timer = null;
    this.isChanged = false;
  }

  private sendSoon(): void {
    const ms = Math.max(GATHER_MS, this.askedAt + EVERY_MS - Date.now());
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
    // Whoever says that something changed may not be through with it yet.
    await Promise.resolve();
    const wasTaken = await this.deliver();
    this.sending = null;
    this.isFailing = !wasTaken;
    if (!wasTaken) this.failures += 1;
    const isToRepeat = !wasTaken && this.failures < TRIES;
    if (this.isChanged || isToRepeat) this.sendSoon();
  }

  private async deliver(): Promise<boolean> {
    this.isChanged = false;
    this.askedAt = Date.now();
    try {
      const report = this.report();
      const text = JSON.stringify(report);
      if (text === this.lastText) return true;
      // It may hear of the end before this does of its having heard.
      if (!goesOn(report)) this.isKnownLive = false;
      // A stub stays broken once its object has crashed: each report gets its own.
      const monitor = this.env.MONITOR.getByName(MONITOR_NAME);
      if (report === null) await monitor.forget(this.source);
      else await monitor.report(this.source, report);
      this.lastText = text;
      this.noteDelivered(report);
      return true;
    } catch (error) {
      // It may have been taken all the same, or the monitor may ask meanwhile.
      this.lastText = null;
      this.isKnownLive = false;
      if (!this.isFailing) console.error("the monitor did not take a report", error);
      return false;
    }
  }
}

function goesOn(report: Report | null): boolean {
  return report !== null && isLive(report);
}
