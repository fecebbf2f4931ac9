import { isMigrated, migrateTo } from "./schema.ts";
import type { Sql } from "./sql.ts";

/** Append-only: a migration that has run anywhere must not be changed. */
const MIGRATIONS = [
  [
    `CREATE TABLE places (
       kind TEXT NOT NULL,
       name TEXT NOT NULL,
       credential TEXT NOT NULL,
       since INTEGER NOT NULL,
       due_at INTEGER NOT NULL,
       registrations INTEGER NOT NULL,
       PRIMARY KEY (kind, name, credential)
     ) STRICT, WITHOUT ROWID`,
  ],
];

/** An object that has, or lately had, sockets that were opened with a credential. */
export type HolderRow = {
  /** The kind of the object. */
  kind: string;
  /** The name of the object. */
  name: string;
  credential: string;
  /** When it was first registered, milliseconds since 1970. */
  since: number;
  /** When to ask the object whether it still has such sockets. */
  due_at: number;
  /** How often it was registered. If that changes while the object is asked, its answer is outdated. */
  registrations: number;
};

/** Stores which objects have sockets of one holder, one row for each object and credential. */
export class HolderStore {
  private readonly sql: Sql;
  private hasTables: boolean;

  constructor(sql: Sql) {
    this.sql = sql;
    this.hasTables = isMigrated(sql);
    if (this.hasTables) migrateTo(sql, MIGRATIONS);
  }

  add(place: Pick<HolderRow, "kind" | "name" | "credential">, since: number, dueAt: number): void {
    if (!this.hasTables) migrateTo(this.sql, MIGRATIONS);
    this.hasTables = true;
    this.sql.run(
      `INSERT INTO places (kind, name, credential, since, due_at, registrations) VALUES (?, ?, ?, ?, ?, 1)
       ON CONFLICT DO UPDATE SET registrations = registrations + 1`,
      place.kind,
      place.name,
      place.credential,
      since,
      dueAt,
    );
  }

  all(): HolderRow[] {
    return this.hasTables ? this.sql.all<HolderRow>("SELECT * FROM places ORDER BY due_at") : [];
  }

  count(): number {
    if (!this.hasTables) return 0;
    return this.sql.all<{ count: number }>("SELECT COUNT(*) AS count FROM places")[0]?.count ?? 0;
  }

  nextDueAt(): number | null {
    if (!this.hasTables) return null;
    const [row] = this.sql.all<{ at: number | null }>("SELECT MIN(due_at) AS at FROM places");
    return row?.at ?? null;
  }

  postpone({ kind, name, credential }: HolderRow, dueAt: number): void {
    this.sql.run(
      "UPDATE places SET due_at = ? WHERE kind = ? AND name = ? AND credential = ?",
      dueAt,
      kind,
      name,
      credential,
    );
  }

  /** Removes a row, unless it was registered again since it was read. */
  remove({ kind, name, credential, registrations }: HolderRow): void {
    this.sql.run(
      "DELETE FROM places WHERE kind = ? AND name = ? AND credential = ? AND registrations = ?",
      kind,
      name,
      credential,
      registrations,
    );
  }

  /** Call this when the storage was erased. */
  forget(): void {
    this.hasTables = false;
  }
}
