import type { Usage } from "../usage.ts";

/**
 * Counts what passes between an object and the runtime. There is one for the whole program: the
 * benchmark has one object in it.
 */
class Meter {
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

  /** A cursor counts on while it is read: it is looked at when the next one is made. */
  made(cursor: { rowsRead: number; rowsWritten: number }): void {
    this.countRows();
    this.cursor = cursor;
  }

  wroteRow(): void {
    this.usage.rowsWritten += 1;
  }

  async during<T>(event: "requests" | "messages", handle: () => Promise<T>): Promise<T> {
    this.usage[event] += 1;
    this.begin();
    try {
      return await handle();
    } finally {
      this.end();
    }
  }

  begin(): void {
    if (this.busy === 0) this.busySince = Date.now();
    this.busy += 1;
  }

  end(): void {
    this.busy -= 1;
    if (this.busy === 0) this.usage.awakeMs += Date.now() - this.busySince;
  }

  private countRows(): void {
    this.usage.rowsRead += this.cursor?.rowsRead ?? 0;
    this.usage.rowsWritten += this.cursor?.rowsWritten ?? 0;
    this.cursor = null;
  }
}

export const meter = new Meter();

/** Every statement and alarm of the storage passes the meter from now on. */
export function meterStorage(storage: DurableObjectStorage): void {
  const sql = Object.getPrototypeOf(storage.sql) as SqlStorage & { metered?: true };
  if (sql.metered) return;
  const { exec } = sql;
  sql.metered = true;
  sql.exec = function metered(this: SqlStorage, ...statement: Parameters<typeof exec>) {
    const cursor = exec.apply(this, statement);
    meter.made(cursor);
    return cursor;
  } as typeof exec;
  const kept = Object.getPrototypeOf(storage) as DurableObjectStorage;
  const { setAlarm } = kept;
  kept.setAlarm = function metered(this: DurableObjectStorage, ...when) {
    meter.wroteRow();
    return setAlarm.apply(this, when);
  };
}

/** A pending timer keeps an object from being hibernated. */
export function meterTimers(): void {
  const { setTimeout: set, clearTimeout: clear } = globalThis;
  const pending = new Set<unknown>();
  const over = (timer: unknown) => {
    if (pending.delete(timer)) meter.end();
  };
  globalThis.setTimeout = ((ring: () => void, ms?: number) => {
    meter.begin();
    const timer = set(() => {
      over(timer);
      ring();
    }, ms);
    pending.add(timer);
    return timer;
  }) as typeof setTimeout;
  globalThis.clearTimeout = ((timer: Parameters<typeof clear>[0]) => {
    over(timer);
    clear(timer);
  }) as typeof clearTimeout;
}
