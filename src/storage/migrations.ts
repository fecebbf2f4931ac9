import type { Sql } from "./sql.ts";

/** Append-only: a migration that has run anywhere is never changed. Its number is its place, from 1. */
const MIGRATIONS: readonly (readonly string[])[] = [
  [
    `CREATE TABLE space (
      only INTEGER PRIMARY KEY CHECK (only = 1),
      name TEXT NOT NULL,
      settings TEXT NOT NULL,
      generation INTEGER NOT NULL,
      created_at INTEGER NOT NULL,
      updated_at INTEGER NOT NULL
    ) STRICT`,
    `CREATE TABLE jobs (
      ulid TEXT PRIMARY KEY,
      status TEXT NOT NULL,
      priority INTEGER NOT NULL,
      input TEXT NOT NULL,
      files TEXT NOT NULL,
      user TEXT,
      limits TEXT NOT NULL,
      cancel_on_disconnect INTEGER NOT NULL,
      submitter TEXT,
      created_at INTEGER NOT NULL,
      updated_at INTEGER NOT NULL,
      attempts INTEGER NOT NULL,
      started_at INTEGER,
      log_offset INTEGER NOT NULL,
      history TEXT NOT NULL,
      queued_at INTEGER,
      queue_due_at INTEGER,
      worker_id TEXT,
      worker_name TEXT,
      generation INTEGER,
      dispatched_at INTEGER,
      detached_at INTEGER,
      cancel_requested_at INTEGER,
      reason TEXT,
      completed_at INTEGER,
      result TEXT,
      metrics TEXT,
      error_code TEXT,
      progress REAL NOT NULL
    ) STRICT, WITHOUT ROWID`,
    "CREATE INDEX jobs_queue ON jobs (priority DESC, ulid) WHERE status = 'queued'",
    `CREATE INDEX jobs_queue_due ON jobs (queue_due_at)
      WHERE status = 'queued' AND queue_due_at IS NOT NULL`,
    "CREATE INDEX jobs_processing ON jobs (ulid) WHERE status = 'processing'",
    `CREATE TABLE job_log (
      ulid TEXT NOT NULL,
      first_offset INTEGER NOT NULL,
      last_offset INTEGER NOT NULL,
      bytes INTEGER NOT NULL,
      events TEXT NOT NULL,
      PRIMARY KEY (ulid, first_offset)
    ) STRICT, WITHOUT ROWID`,
  ],
];

export class NewerSchema extends Error {
  constructor(found: number) {
    super(`The stored schema is version ${found}; this program knows ${MIGRATIONS.length}.`);
    this.name = "NewerSchema";
  }
}

/** Whether anything was ever stored here: reading makes no table, so that a wrong name costs nothing. */
export function isMigrated(sql: Sql): boolean {
  return sql.all("SELECT name FROM sqlite_master WHERE name = 'schema_version'").length > 0;
}

/** Brings the schema to the newest version, in one transaction; throws `NewerSchema` if it is ahead. */
export function migrate(sql: Sql): void {
  sql.transaction(() => {
    sql.run("CREATE TABLE IF NOT EXISTS schema_version (version INTEGER NOT NULL) STRICT");
    const rows = sql.all<{ version: number }>("SELECT version FROM schema_version");
    const from = rows[0]?.version ?? 0;
    if (from > MIGRATIONS.length) throw new NewerSchema(from);
    if (from === MIGRATIONS.length) return;
    for (const statement of MIGRATIONS.slice(from).flat()) sql.run(statement);
    sql.run("DELETE FROM schema_version");
    sql.run("INSERT INTO schema_version (version) VALUES (?)", MIGRATIONS.length);
  });
}
