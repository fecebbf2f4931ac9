import { LATE_MS } from "./standstill.ts";

/**
 * The one alarm of an object, shared by everything that is due in it. It goes off when the earliest is due, or
 * earlier if that was called off meanwhile, but never late.
 */
export class EarliestAlarm {
  /**
   * Since when the edge has run without standing still, as far as this alarm can tell (decision 0050); milliseconds
   * since 1970, 0 if it was never late.
   */
  resumedAt = 0;
  private readonly storage: DurableObjectStorage;
  private at: number | null = null;

  constructor(storage: DurableObjectStorage) {
    this.storage = storage;
  }

  /** Reads when the alarm is set for. Await this before the first `arm`. */
  async load(): Promise<void> {
    this.at = await this.storage.getAlarm();
  }

  /** When the alarm goes off, milliseconds since 1970; `null` if it is not set, or going off. */
  get dueAt(): number | null {
    return this.at;
  }

  /** Sets the alarm for `at` (milliseconds since 1970), unless it is set for earlier. `null` does nothing. */
  arm(at: number | null): void {
    if (at === null || (this.at !== null && this.at <= at)) return;
    this.at = at;
    this.storage.setAlarm(at);
  }

  /**
   * Call this when the alarm has gone off.
   *
   * @param due for when it was set, milliseconds since 1970; the runtime knows it also after the object hibernated
   * @returns for how long the edge has stood still at least, milliseconds; 0 if the alarm was not late
   */
  onAlarm(now: number, due: number | null = this.at): number {
    this.at = null;
    if (due === null || now - due <= LATE_MS) return 0;
    this.resumedAt = now;
    return now - due;
  }

  /** Call this when the alarm was deleted with the object's storage. */
  forget(): void {
    this.at = null;
  }
}
