import type { Usage } from "../usage.ts";

/**
 * Counts the rows, requests, messages and waking time of an object. One meter serves the whole
 * program, in which the benchmark uses a single space.
 */
class UsageMeter {
  private readonly usage: Usage = {
    rowsRead: 0,
    rowsWritten: 0,
    requests: 0,
    messages: 0,
    awakeMs: 0,
  };
  private cursor: { rowsRead: number; rowsWritten: number } | null = null;
  private busy = 0;
  private busySince = 0;

  read(): Usage {
    this.countRows();
    const awakeMs = this.usage.awakeMs + (this.busy > 0 ? Date.now() - this.busySince : 0);
    return { ...this.usage, awakeMs };
  }

  /**
   * A cursor's counts grow while its rows are read, so they are added when the next cursor is
   * created or the meter is read.
   */
  onCursor(cursor: { rowsRead: number; rowsWritten: number }): void {
    this.countRows();
    this.cursor = cursor;
  }

  countRowWritten(): void {
    this.usage.rowsWritten += 1;
  }

  async countEvent<T>(event: "requests" | "messages", handle: () => Promise<T>): Promise<T> {
    this.usage[event] += 1;
    this.beginBusy();
    try {
      return await handle();
    } finally {
      this.endBusy();
    }
  }

  beginBusy(): void {
    if (this.busy === 0) this.busySince = Date.now();
    this.busy += 1;
  }

  endBusy(): void {
    this.busy -= 1;
    if (this.busy === 0) this.usage.awakeMs += Date.now() - this.busySince;
  }

  private countRows(): void {
    this.usage.rowsRead += this.cursor?.rowsRead ?? 0;
    this.usage.rowsWritten += this.cursor?.rowsWritten ?? 0;
    this.cursor = null;
  }
}

export const meter = new UsageMeter();

/** Makes the meter count every statement and every `setAlarm` of the storage. */
export function meterStorage(storage: DurableObjectStorage): void {
  const sql = Object.getPrototypeOf(storage.sql) as SqlStorage & { metered?: true };
  if (sql.metered) return;
  const { exec } = sql;
  sql.metered = true;
  sql.exec = function metered(this: SqlStorage, ...statement: Parameters<typeof exec>) {
    const cursor = exec.apply(this, statement);
    meter.onCursor(cursor);
    return cursor;
  } as typeof exec;
  const prototype = Object.getPrototypeOf(storage) as DurableObjectStorage;
  const { setAlarm } = prototype;
  prototype.setAlarm = function metered(this: DurableObjectStorage, ...when) {
    meter.countRowWritten();
    return setAlarm.apply(this, when);
  };
}

/** Counts time with a pending timer as busy: a timer keeps an object from being hibernated. */
export function meterTimers(): void {
  const { setTimeout: set, clearTimeout: clear } = globalThis;
  const pending = new Set<unknown>();
  const endTimer = (timer: unknown) => {
    if (pending.delete(timer)) meter.endBusy();
  };
  globalThis.setTimeout = ((callback: () => void, ms?: number) => {
    meter.beginBusy();
    const timer = set(() => {
      endTimer(timer);
      callback();
    }, ms);
    pending.add(timer);
    return timer;
  }) as typeof setTimeout;
  globalThis.clearTimeout = ((timer: Parameters<typeof clear>[0]) => {
    endTimer(timer);
    clear(timer);
  }) as typeof clearTimeout;
}
