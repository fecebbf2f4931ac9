import { RECENT_JOBS, type Report, type SourceKind } from "../protocol/monitor.ts";
import { migrateTo } from "./schema.ts";
import type { EndCounts } from "./space-store.ts";
import type { Sql } from "./sql.ts";

/** The schema of the monitor. Append-only: a migration that has run anywhere must not be changed. */
const MIGRATIONS: readonly (readonly string[])[] = [
  [
    `CREATE TABLE sources (
      source TEXT PRIMARY KEY,
      kind TEXT NOT NULL,
      connections INTEGER NOT NULL,
      jobs_with_connections INTEGER NOT NULL,
      active INTEGER NOT NULL,
      completed INTEGER NOT NULL,
      failed INTEGER NOT NULL,
      canceled INTEGER NOT NULL,
      recent TEXT NOT NULL,
      recent_at TEXT NOT NULL,
      heard_at INTEGER NOT NULL
    ) STRICT, WITHOUT ROWID`,
    "CREATE INDEX sources_live ON sources (source) WHERE connections > 0 OR active > 0",
    // How the jobs without a space ended that are erased by now.
    `CREATE TABLE past (
      only INTEGER PRIMARY KEY CHECK (only = 1),
      completed INTEGER NOT NULL,
      failed INTEGER NOT NULL,
      canceled INTEGER NOT NULL
    ) STRICT`,
    "INSERT INTO past VALUES (1, 0, 0, 0)",
  ],
  [
    // The index cost a second row written with each report; live sources are now found in memory.
    "DROP INDEX sources_live",
    "ALTER TABLE sources ADD COLUMN doubtful INTEGER NOT NULL DEFAULT 0",
  ],
];

type SourceRow = {
  kind: string;
  connections: number;
  jobs_with_connections: number;
  active: number;
  completed: number;
  failed: number;
  canceled: number;
  recent: string;
};

/** The last report of a source, and whether the source failed to answer since. */
export interface StoredReport {
  report: Report;
  /** The source did not answer: its sockets aren't counted, as they may no longer exist. */
  isDoubtful: boolean;
  /** When this row was written, milliseconds since 1970. */
  heardAt: number;
}

/** Stores the last report of each source, one row each (decision 0024). */
export class SourceStore {
  private readonly sql: Sql;

  constructor(sql: Sql) {
    this.sql = sql;
  }

  migrate(): void {
    migrateTo(this.sql, MIGRATIONS);
  }

  get(source: string): StoredReport | null {
    const query = "SELECT * FROM sources WHERE source = ?";
    const [row] = this.sql.all<SourceRow & { heard_at: number; doubtful: number }>(query, source);
    if (!row) return null;
    const report = { ...countsOf(row), recent: JSON.parse(row.recent) };
    return { report, isDoubtful: row.doubtful === 1, heardAt: row.heard_at };
  }

  put(source: string, report: Report, now: number): void {
    const { kind, connections, jobs_with_connections, jobs, recent } = report;
    this.sql.run(
      "INSERT OR REPLACE INTO sources VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, 0)",
      source,
      kind,
      connections,
      jobs_with_connections,
      jobs.active,
      jobs.completed,
      jobs.failed,
      jobs.canceled,
      JSON.stringify(recent),
      recent.reduce((last, { updated_at }) => (updated_at > last ? updated_at : last), ""),
      now,
    );
  }

  remove(source: string): void {
    this.sql.run("DELETE FROM sources WHERE source = ?", source);
  }

  /** Notes that the source did not answer. */
  markDoubtful(source: string, now: number): void {
    const statement = "UPDATE sources SET doubtful = 1, heard_at = ? WHERE source = ?";
    this.sql.run(statement, now, source);
  }

  /** The sums of all reports of each kind of source, and the number of those sources. */
  sums(): { count: number; stats: Omit<Report, "recent"> }[] {
    const rows = this.sql.all<Omit<SourceRow, "recent"> & { count: number }>(
      `SELECT kind, COUNT(*) AS count,
         SUM(iif(doubtful, 0, connections)) AS connections,
         SUM(iif(doubtful, 0, jobs_with_connections)) AS jobs_with_connections,
         SUM(active) AS active, SUM(completed) AS completed,
         SUM(failed) AS failed, SUM(canceled) AS canceled
       FROM sources GROUP BY kind`,
    );
    return rows.map((row) => ({ count: row.count, stats: countsOf(row) }));
  }

  /** The sources with the latest jobs, and those jobs. */
  withRecent(): { source: string; recent: Report["recent"] }[] {
    const rows = this.sql.all<{ source: string; recent: string }>(
      "SELECT source, recent FROM sources WHERE recent_at > '' ORDER BY recent_at DESC LIMIT ?",
      RECENT_JOBS,
    );
    return rows.map(({ source, recent }) => ({ source, recent: JSON.parse(recent) }));
  }

  /** The sources with open sockets or active jobs, including doubtful ones, and when their rows were written. */
  live(): { source: string; heardAt: number }[] {
    return this.sql.all<{ source: string; heardAt: number }>(
      `SELECT source, heard_at AS heardAt FROM sources
       WHERE connections > 0 OR active > 0`,
    );
  }

  /** Ended jobs without a space whose rows were written at `writtenBy` or earlier, the oldest row first. */
  ended(writtenBy: number, limit: number): string[] {
    const rows = this.sql.all<{ source: string }>(
      `SELECT source FROM sources
       WHERE kind = 'job' AND connections = 0 AND active = 0 AND heard_at <= ?
       ORDER BY heard_at LIMIT ?`,
      writtenBy,
      limit,
    );
    return rows.map(({ source }) => source);
  }

  /** The next ids of jobs without a space, in order. */
  jobIds(after: string, limit: number): string[] {
    const rows = this.sql.all<{ source: string }>(
      "SELECT source FROM sources WHERE source > ? AND source < 'job;' ORDER BY source LIMIT ?",
      `job:${after}`,
      limit,
    );
    return rows.map(({ source }) => source.slice("job:".length));
  }

  /** How the jobs ended that were erased. */
  past(): EndCounts {
    const query = "SELECT completed, failed, canceled FROM past";
    return this.sql.all<EndCounts>(query)[0] ?? { completed: 0, failed: 0, canceled: 0 };
  }

  addPast({ completed, failed, canceled }: EndCounts): void {
    this.sql.run(
      "UPDATE past SET completed = completed + ?, failed = failed + ?, canceled = canceled + ?",
      completed,
      failed,
      canceled,
    );
  }
}

function countsOf(row: Omit<SourceRow, "recent">): Omit<Report, "recent"> {
  const { connections, jobs_with_connections, active, completed, failed, canceled } = row;
  return {
    kind: row.kind as SourceKind,
    connections,
    jobs_with_connections,
    jobs: { active, completed, failed, canceled },
  };
}
