import { migrateTo } from "./schema.ts";
import type { Sql } from "./sql.ts";

/** Append-only: a migration that has run anywhere must not be changed. */
const MIGRATIONS = [["CREATE TABLE jobs (id TEXT PRIMARY KEY) STRICT, WITHOUT ROWID"]];

/** Stores the ids of the jobs without a space that exist, one row each (decision 0043). */
export class JobIndexStore {
  private readonly sql: Sql;
  private hasTables: boolean;

  /** @param hasTables whether anything was stored before */
  constructor(sql: Sql, hasTables: boolean) {
    this.sql = sql;
    this.hasTables = hasTables;
    if (hasTables) migrateTo(sql, MIGRATIONS);
  }

  has(id: string): boolean {
    return this.hasTables && this.sql.all("SELECT 1 FROM jobs WHERE id = ?", id).length > 0;
  }

  add(id: string): void {
    if (!this.hasTables) migrateTo(this.sql, MIGRATIONS);
    this.hasTables = true;
    this.sql.run("INSERT OR IGNORE INTO jobs (id) VALUES (?)", id);
  }

  remove(id: string): void {
    if (this.hasTables) this.sql.run("DELETE FROM jobs WHERE id = ?", id);
  }
}
