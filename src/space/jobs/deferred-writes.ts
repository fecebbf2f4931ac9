/**
 * How long writing a new job may be deferred, and how short a space's jobs must be on average for that;
 * milliseconds.
 */
export const DEFER_MS = 10;

/**
 * Limits how long new jobs stay in memory, neither stored nor reported to anybody (decision 0030). If the result
 * comes within DEFER_MS, submit and result are one write and one wait for the disk; if it doesn't, a timer
 * stores the job. Without the timer, a job that hangs in its worker while nothing else arrives would never be
 * stored: its submitter would wait for `accepted` until the result, and a crash would lose the job.
 */
export class DeferredWrites {
  private readonly storeDeferred: () => void;
  /** When the oldest deferred job must be stored, milliseconds since 1970; `null` if none is deferred. */
  private endsAt: number | null = null;
  /** Keeps running when nothing is deferred any more: setting and clearing a timer for each job would cost more. */
  private timer: ReturnType<typeof setTimeout> | null = null;

  /** @param storeDeferred stores every deferred job */
  constructor(storeDeferred: () => void) {
    this.storeDeferred = storeDeferred;
  }

  /**
   * Call this after each batch. `since`: when the oldest deferred job went to its worker; `null` if none is
   * deferred.
   */
  update(since: number | null): void {
    this.endsAt = since === null ? null : since + DEFER_MS;
    if (this.timer === null) this.startTimer();
  }

  private startTimer(): void {
    if (this.endsAt === null) return;
    const ms = this.endsAt - Date.now();
    this.timer = setTimeout(() => this.onTimer(), Math.min(Math.max(0, ms), DEFER_MS));
  }

  private onTimer(): void {
    this.timer = null;
    const left = this.endsAt === null ? null : this.endsAt - Date.now();
    // If the clock was set back, more than DEFER_MS seems left: store now rather than wait for it.
    if (left !== null && (left <= 0 || left > DEFER_MS)) this.storeDeferred();
    else this.startTimer();
  }
}
