/** How long a batch may be held, and how quick a space's jobs must be on the average; milliseconds. */
export const HOLD_MS = 10;

/**
 * The time a batch stays in memory, neither stored nor told: where a job's result comes before it is
 * over, submit and result are one write and one wait for the disk.
 */
export class Hold {
  private readonly over: () => void;
  /** When what is held has been so for long enough; `null` where nothing is. */
  private endsAt: number | null = null;
  /** Left running when a hold ends: the next may need it, and to set one for each costs more. */
  private timer: ReturnType<typeof setTimeout> | null = null;

  /** @param over stores what is held */
  constructor(over: () => void) {
    this.over = over;
  }

  /** Once more while it lasts does not make it longer. */
  begin(): void {
    if (this.endsAt !== null) return;
    this.endsAt = Date.now() + HOLD_MS;
    this.timer ??= setTimeout(() => this.ring(), HOLD_MS);
  }

  end(): void {
    this.endsAt = null;
  }

  private ring(): void {
    this.timer = null;
    if (this.endsAt === null) return;
    const left = this.endsAt - Date.now();
    if (left > 0) this.timer = setTimeout(() => this.ring(), left);
    else this.over();
  }
}
