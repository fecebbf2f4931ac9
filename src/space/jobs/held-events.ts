/** What running attempts report is stored after this time at the latest, milliseconds (decision 0070). */
const HELD_MS = 1_000;

/** Has what running attempts have reported stored soon after it was told. */
export class HeldEvents {
  private readonly store: () => void;
  private timer: ReturnType<typeof setTimeout> | null = null;

  /** @param store stores everything that is held */
  constructor(store: () => void) {
    this.store = store;
  }

  /** Call this after each batch. @param holds whether something is held */
  update(holds: boolean): void {
    if (!holds || this.timer !== null) return;
    // As long as it runs, the object keeps its memory.
    this.timer = setTimeout(() => {
      this.timer = null;
      this.store();
    }, HELD_MS);
  }

  stop(): void {
    if (this.timer !== null) clearTimeout(this.timer);
    this.timer = null;
  }
}
