/** How long a batch may be held, and how quick a space's jobs must be on the average; milliseconds. */
export const DEFER_MS = 10;

/**
 * The time a job stays in memory, neither stored nor told: where its result comes before it is over,
 * submit and result are one write and one wait for the disk.
 */
export class DeferredWrites {
  private readonly over: () => void;
  /** When the first of what is held has been so for long enough; `null` where nothing is. */
  private endsAt: number | null = null;
  /** Left running when nothing is held any more: the next job may need it, and to set one for each costs more. */
  private timer: ReturnType<typeof setTimeout> | null = null;

  /** @param over stores what has been held for long enough */
  constructor(over: () => void) {
    this.over = over;
  }

  /** Since when the first of what is held is; `null` where nothing is. */
  since(since: number | null): void {
    this.endsAt = since === null ? null : since + DEFER_MS;
    if (this.timer === null) this.ringInTime();
  }

  private ringInTime(): void {
    if (this.endsAt === null) return;
    const ms = this.endsAt - Date.now();
    this.timer = setTimeout(() => this.ring(), Math.min(Math.max(0, ms), DEFER_MS));
  }

  private ring(): void {
    this.timer = null;
    const left = this.endsAt === null ? null : this.endsAt - Date.now();
    // A clock that was set back is not waited for.
    if (left !== null && (left <= 0 || left > DEFER_MS)) this.over();
    else this.ringInTime();
  }
}
