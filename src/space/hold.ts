/** How long a batch may be held, and how quick a space's jobs must be on the average; milliseconds. */
export const HOLD_MS = 10;

/**
 * The time a batch stays in memory, neither stored nor told: where a job's result comes before it is
 * over, submit and result are one write and one wait for the disk.
 */
export class Hold {
  private readonly over: () => void;
  private timer: ReturnType<typeof setTimeout> | null = null;

  /** @param over stores what is held */
  constructor(over: () => void) {
    this.over = over;
  }

  /** Once more while it lasts does not make it longer. */
  begin(): void {
    this.timer ??= setTimeout(() => {
      this.timer = null;
      this.over();
    }, HOLD_MS);
  }

  end(): void {
    if (this.timer === null) return;
    clearTimeout(this.timer);
    this.timer = null;
  }
}
