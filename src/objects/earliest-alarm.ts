/** The one alarm of an object, for all that is due in it: it may ring early, never late. */
export class EarliestAlarm {
  private readonly storage: DurableObjectStorage;
  private at: number | null = null;

  constructor(storage: DurableObjectStorage) {
    this.storage = storage;
  }

  /** Reads when it rings; to be waited for before anything is armed. */
  async load(): Promise<void> {
    this.at = await this.storage.getAlarm();
  }

  /** Rings at `at` at the latest; `null` asks for nothing, and an earlier alarm stays. */
  arm(at: number | null): void {
    if (at === null || (this.at !== null && this.at <= at)) return;
    this.at = at;
    this.storage.setAlarm(at);
  }

  /** It has rung, or was deleted with everything else. */
  forget(): void {
    this.at = null;
  }
}
