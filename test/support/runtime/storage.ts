import { DatabaseSync, type StatementSync } from "node:sqlite";
import type { SqlRow, SqlValue } from "../../../src/storage/sql.ts";

/** The storage of one object: it outlives the object's memory. */
export class FakeStorage {
  /** When the alarm goes off, milliseconds since 1970. */
  alarmAt: number | null = null;
  private database = new DatabaseSync(":memory:");
  private statements = new Map<string, StatementSync>();
  private readonly onAlarmSet: () => void;

  constructor(onAlarmSet: () => void) {
    this.onAlarmSet = onAlarmSet;
  }

  readonly sql = {
    exec: (query: string, ...bindings: SqlValue[]) => {
      const rows = this.prepared(query).all(...bindings) as SqlRow[];
      return { toArray: () => rows };
    },
  };

  transactionSync<T>(work: () => T): T {
    this.database.exec("BEGIN");
    try {
      const result = work();
      this.database.exec("COMMIT");
      return result;
    } catch (error) {
      this.database.exec("ROLLBACK");
      throw error;
    }
  }

  async getAlarm(): Promise<number | null> {
    return this.alarmAt;
  }

  async setAlarm(at: number): Promise<void> {
    if (!Number.isFinite(at)) throw new TypeError("setAlarm() needs a time.");
    this.alarmAt = at;
    this.onAlarmSet();
  }

  /** Also deletes the alarm, as the runtime does. */
  async deleteAll(): Promise<void> {
    this.database = new DatabaseSync(":memory:");
    this.statements = new Map();
    this.alarmAt = null;
    this.onAlarmSet();
  }

  private prepared(query: string): StatementSync {
    const statement = this.statements.get(query) ?? this.database.prepare(query);
    this.statements.set(query, statement);
    return statement;
  }
}
