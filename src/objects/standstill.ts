/** How often an object looks at the clock while something waits or runs, milliseconds. */
const LOOK_EVERY_MS = 1_000;
/** A look that is later than this, milliseconds, was late because the edge stood still: a busy one is faster. */
export const LATE_MS = 3_000;

interface StandstillDeps {
  /** Whether time counts for or against anybody now, so that it is worth looking at the clock. */
  isNeeded: () => boolean;
  /** Starts a timer; returns a function that cancels it. */
  startTimer: (ms: number, onTimer: (now: number) => void) => () => void;
  /** A look came late: the next `look` says by how much. */
  onLate: () => void;
}

/**
 * Notices that the edge stood still with its memory kept: its machine slept, or its processes were stopped. Then the
 * clock has jumped between two looks at it (decision 0050).
 */
export class StandstillWatch {
  private readonly deps: StandstillDeps;
  private lookedAt = 0;
  private cancelTimer: (() => void) | null = null;

  constructor(deps: StandstillDeps) {
    this.deps = deps;
  }

  /**
   * Call this before anything is decided by the clock. Returns for how long the edge stood still at most,
   * milliseconds; 0 if it did not.
   */
  look(now: number): number {
    if (this.cancelTimer === null) return 0;
    const passed = now - this.lookedAt;
    this.lookedAt = now;
    return passed > LOOK_EVERY_MS + LATE_MS ? passed : 0;
  }

  /** Call this when what `isNeeded` depends on may have changed. */
  update(now: number): void {
    if (this.cancelTimer !== null || !this.deps.isNeeded()) return;
    this.lookedAt = now;
    this.start();
  }

  stop(): void {
    this.cancelTimer?.();
    this.cancelTimer = null;
  }

  private start(): void {
    this.cancelTimer = this.deps.startTimer(LOOK_EVERY_MS, (now) => this.onTimer(now));
  }

  private onTimer(now: number): void {
    if (!this.deps.isNeeded()) {
      this.cancelTimer = null;
      return;
    }
    this.start();
    if (now - this.lookedAt > LOOK_EVERY_MS + LATE_MS) this.deps.onLate();
    else this.lookedAt = now;
  }
}
