import { migrateTo } from "./schema.ts";
import type { Sql } from "./sql.ts";

/** The schema of a space. Append-only: a migration that has run anywhere must not be changed. */
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
  [
    "ALTER TABLE jobs ADD COLUMN requires TEXT NOT NULL DEFAULT ''",
    "ALTER TABLE jobs ADD COLUMN available_at INTEGER NOT NULL DEFAULT 0",
    "ALTER TABLE jobs ADD COLUMN resumed_at INTEGER",
    "ALTER TABLE jobs ADD COLUMN idempotency_key TEXT",
    "ALTER TABLE jobs ADD COLUMN fingerprint TEXT",
    "ALTER TABLE jobs ADD COLUMN cache_key TEXT",
    "ALTER TABLE jobs ADD COLUMN webhook TEXT",
    "ALTER TABLE jobs ADD COLUMN cached INTEGER NOT NULL DEFAULT 0",
    "ALTER TABLE space ADD COLUMN webhook_secret TEXT",
    "ALTER TABLE space ADD COLUMN kept_bytes INTEGER NOT NULL DEFAULT 0",
    // Files in older rows have no hash; they don't need one, as those jobs have no idempotency or cache key.
    "DROP INDEX jobs_queue",
    // Has every column that queries about many waiting jobs need, so that they don't read the rows.
    `CREATE INDEX jobs_queue ON jobs (requires, priority DESC, ulid, available_at, submitter)
      WHERE status = 'queued'`,
    `CREATE INDEX jobs_delayed ON jobs (available_at)
      WHERE status = 'queued' AND available_at > queued_at`,
    `CREATE INDEX jobs_leaving ON jobs (submitter)
      WHERE cancel_on_disconnect = 1 AND completed_at IS NULL`,
    `CREATE UNIQUE INDEX jobs_idempotency ON jobs (idempotency_key)
      WHERE idempotency_key IS NOT NULL`,
    "CREATE INDEX jobs_cache ON jobs (cache_key, ulid) WHERE cache_key IS NOT NULL",
    `CREATE TABLE webhook_deliveries (
      id TEXT PRIMARY KEY,
      ulid TEXT NOT NULL,
      event TEXT NOT NULL,
      url TEXT NOT NULL,
      due_at INTEGER,
      attempts INTEGER NOT NULL,
      status INTEGER,
      error TEXT,
      created_at INTEGER NOT NULL,
      updated_at INTEGER NOT NULL
    ) STRICT, WITHOUT ROWID`,
    "CREATE INDEX webhook_deliveries_due ON webhook_deliveries (due_at) WHERE due_at IS NOT NULL",
    "CREATE INDEX webhook_deliveries_job ON webhook_deliveries (ulid)",
  ],
  [
    "ALTER TABLE job_log RENAME TO channel_log",
    "ALTER TABLE channel_log RENAME COLUMN ulid TO channel",
    "ALTER TABLE channel_log ADD COLUMN at INTEGER NOT NULL DEFAULT 0",
    // How many jobs ended in which way, including those that were erased since.
    "ALTER TABLE space ADD COLUMN completed INTEGER NOT NULL DEFAULT 0",
    "ALTER TABLE space ADD COLUMN failed INTEGER NOT NULL DEFAULT 0",
    "ALTER TABLE space ADD COLUMN canceled INTEGER NOT NULL DEFAULT 0",
    `UPDATE space SET
      completed = (SELECT COUNT(*) FROM jobs WHERE status = 'completed'),
      failed = (SELECT COUNT(*) FROM jobs WHERE status = 'failed'),
      canceled = (SELECT COUNT(*) FROM jobs WHERE status = 'canceled')`,
  ],
  [
    // Time in which the edge was away, milliseconds: of all of the space's life, and of an attempt.
    "ALTER TABLE space ADD COLUMN away_ms INTEGER NOT NULL DEFAULT 0",
    "ALTER TABLE jobs ADD COLUMN away_ms INTEGER",
    // Messages of before have no receiver: they take turns as if they had one of their own.
    "ALTER TABLE webhook_deliveries ADD COLUMN receiver TEXT NOT NULL DEFAULT ''",
    "DROP INDEX webhook_deliveries_due",
    `CREATE INDEX webhook_deliveries_due ON webhook_deliveries (receiver, due_at)
      WHERE due_at IS NOT NULL`,
  ],
  [
    // By its first file, to find out whether files in the bucket have a job. Jobs without files have no entry.
    `CREATE INDEX jobs_files ON jobs (json_extract(files, '$[0].key')) WHERE files <> '[]'`,
  ],
  [
    // Jobs that wait already are of one round, and so keep their order (decision 0049).
    "ALTER TABLE jobs ADD COLUMN party TEXT",
    "ALTER TABLE jobs ADD COLUMN round INTEGER NOT NULL DEFAULT 1",
    "DROP INDEX jobs_queue",
    // Has every column that queries about many waiting jobs need, so that they don't read the rows.
    `CREATE INDEX jobs_queue
      ON jobs (requires, priority DESC, round, ulid, available_at, party, submitter)
      WHERE status = 'queued'`,
  ],
  [
    "ALTER TABLE space ADD COLUMN owner TEXT",
    // 0: the space is older than owners, and whose it is stands in the catalogue.
    "ALTER TABLE space ADD COLUMN is_owner_known INTEGER NOT NULL DEFAULT 0",
    `CREATE TABLE members (
      user_id TEXT PRIMARY KEY,
      access TEXT NOT NULL
    ) STRICT, WITHOUT ROWID`,
    // The hash of the token in the link by which a job is shared.
    `CREATE TABLE job_shares (
      ulid TEXT PRIMARY KEY,
      hash TEXT NOT NULL
    ) STRICT, WITHOUT ROWID`,
    // Each user has idempotency keys of their own. Jobs of nobody share theirs.
    "DROP INDEX jobs_idempotency",
    `CREATE UNIQUE INDEX jobs_idempotency ON jobs (idempotency_key, IFNULL(user, ''))
      WHERE idempotency_key IS NOT NULL`,
    "CREATE INDEX jobs_user ON jobs (user, ulid) WHERE user IS NOT NULL",
  ],
  [
    // The output files of an ended job. Their folder tells which job has a file in the bucket.
    "ALTER TABLE jobs ADD COLUMN outputs TEXT",
    `CREATE INDEX jobs_outputs ON jobs (json_extract(outputs, '$[0].folder'))
      WHERE outputs IS NOT NULL`,
    // Those of running attempts, and those that are to be removed from the bucket: their attempt doesn't run.
    `CREATE TABLE output_files (
      folder TEXT NOT NULL,
      id TEXT NOT NULL,
      ulid TEXT NOT NULL,
      attempt INTEGER NOT NULL,
      name TEXT NOT NULL,
      content_type TEXT NOT NULL,
      size INTEGER NOT NULL,
      sha256 TEXT NOT NULL,
      at INTEGER NOT NULL,
      PRIMARY KEY (folder, id)
    ) STRICT, WITHOUT ROWID`,
  ],
];

/** Brings the schema of a space to the newest version; throws `NewerSchema` if it is ahead. */
export function migrate(sql: Sql): void {
  migrateTo(sql, MIGRATIONS);
}
