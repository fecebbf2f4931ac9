import { migrateTo } from "./schema.ts";
import type { Sql } from "./sql.ts";

/** Append-only: a migration that has run anywhere must not be changed. */
const MIGRATIONS = [
  ["CREATE TABLE jobs (id TEXT PRIMARY KEY) STRICT, WITHOUT ROWID"],
  [
    "ALTER TABLE jobs ADD COLUMN user TEXT",
    "CREATE INDEX jobs_user ON jobs (user, id) WHERE user IS NOT NULL",
  ],
];

/** Stores the ids of the jobs without a space that exist, and whose they are, one row each (decision 0043). */
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

  /** @param user whose job it is; `null`: nobody's */
  add(id: string, user: string | null): void {
    if (!this.hasTables) migrateTo(this.sql, MIGRATIONS);
    this.hasTables = true;
    this.sql.run("INSERT OR IGNORE INTO jobs (id, user) VALUES (?, ?)", id, user);
  }

  /** The ids of a user's jobs, in order; `after` is the last of the previous page. */
  ofUser(user: string, after: string, limit: number): string[] {
    if (!this.hasTables) return [];
    const query = "SELECT id FROM jobs WHERE user = ? AND id > ? ORDER BY id LIMIT ?";
    return this.sql.all<{ id: string }>(query, user, after, limit).map(({ id }) => id);
  }

  remove(id: string): void {
    if (this.hasTables) this.sql.run("DELETE FROM jobs WHERE id = ?", id);
  }
}
