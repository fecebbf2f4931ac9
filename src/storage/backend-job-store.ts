import {
  type BackendJob,
  type BackendJobEvent,
  isOver,
  type RecentOutput,
} from "../backend-job-model/backend-job.ts";
import type { JsonObject } from "../protocol/codec.ts";
import { parseExact } from "../protocol/exact-json.ts";
import { LIMITS } from "../protocol/limits.ts";
import { migrateTo } from "./schema.ts";
import { CHANNEL_LOG_TABLE, SegmentLog } from "./segment-log.ts";
import type { Sql, SqlValue } from "./sql.ts";

/** The schema of a job without a space. Append-only: a migration that has run anywhere must not be changed. */
const MIGRATIONS: readonly (readonly string[])[] = [
  [
    // Fields that never change have their own row, so that a report doesn't write a long input again.
    `CREATE TABLE job (
      only INTEGER PRIMARY KEY CHECK (only = 1),
      id TEXT NOT NULL,
      epoch TEXT NOT NULL,
      user TEXT,
      input TEXT NOT NULL,
      visibility TEXT NOT NULL,
      result_ttl_s REAL NOT NULL,
      fingerprint TEXT NOT NULL,
      created_at INTEGER NOT NULL
    ) STRICT`,
    `CREATE TABLE job_state (
      only INTEGER PRIMARY KEY CHECK (only = 1),
      status TEXT NOT NULL,
      updated_at INTEGER NOT NULL,
      started_at INTEGER,
      attempts INTEGER NOT NULL,
      log_offset INTEGER NOT NULL,
      progress REAL NOT NULL,
      message TEXT,
      estimated_remaining REAL,
      output_path TEXT,
      completed_at INTEGER,
      result TEXT,
      metrics TEXT,
      error_code TEXT
    ) STRICT`,
    CHANNEL_LOG_TABLE,
  ],
  ["ALTER TABLE job_state ADD COLUMN recent_outputs TEXT NOT NULL DEFAULT '[]'"],
];

type FixedRow = {
  id: string;
  epoch: string;
  user: string | null;
  input: string;
  visibility: string;
  result_ttl_s: number;
  fingerprint: string;
  created_at: number;
};

type StateRow = {
  status: string;
  updated_at: number;
  started_at: number | null;
  attempts: number;
  log_offset: number;
  progress: number;
  message: string | null;
  estimated_remaining: number | null;
  output_path: string | null;
  completed_at: number | null;
  result: string | null;
  metrics: string | null;
  error_code: string | null;
  recent_outputs: string;
};

/** The attempt to which the latest dropped output belonged. */
type Dropped = { attempt: number };

/** Stores the one job of an object, and its event log. */
export class BackendJobStore {
  readonly log: SegmentLog<BackendJobEvent, Dropped>;
  private readonly sql: Sql;

  constructor(sql: Sql) {
    this.sql = sql;
    this.log = new SegmentLog(sql, { bytes: LIMITS.jobLogBytes }, lastDropped);
  }

  migrate(): void {
    migrateTo(this.sql, MIGRATIONS);
  }

  /** `null` if no job was made yet. */
  read(): BackendJob | null {
    const [row] = this.sql.all<FixedRow & StateRow>(
      "SELECT * FROM job JOIN job_state ON job.only = job_state.only",
    );
    return row ? jobOf(row) : null;
  }

  add(job: BackendJob, events: readonly BackendJobEvent[]): void {
    const { id, epoch, user, input, visibility, resultTtlS, fingerprint, createdAt } = job;
    this.insert("job", {
      id,
      epoch,
      user,
      input: JSON.stringify(input),
      visibility,
      result_ttl_s: resultTtlS,
      fingerprint,
      created_at: createdAt,
    } satisfies FixedRow);
    this.update(job, events);
  }

  update(job: BackendJob, events: readonly BackendJobEvent[]): void {
    this.insert("job_state", stateOf(job));
    this.log.append(job.id, events);
  }

  /** Whether output of the latest attempt was dropped to keep the log small. */
  lacksOutput(job: BackendJob): boolean {
    return this.log.remembered(job.id)?.attempt === job.attempts;
  }

  private insert(table: "job" | "job_state", row: Record<string, SqlValue>): void {
    const names = Object.keys(row);
    this.sql.run(
      `INSERT OR REPLACE INTO ${table} (only, ${names.join()}) VALUES (1${", ?".repeat(names.length)})`,
      ...Object.values(row),
    );
  }
}

function lastDropped(before: Dropped | null, events: readonly BackendJobEvent[]): Dropped | null {
  const output = events.findLast((event) => event.kind === "output");
  return output ? { attempt: output.attempt } : before;
}

function stateOf(job: BackendJob): StateRow {
  const base = {
    status: job.status,
    updated_at: job.updatedAt,
    started_at: job.startedAt,
    attempts: job.attempts,
    log_offset: job.offset,
    progress: job.progress,
    output_path: job.outputPath,
    recent_outputs: JSON.stringify(job.recentOutputs ?? []),
  };
  const { message, estimatedRemaining: estimated_remaining } = isOver(job) ? NOTHING_OPEN : job;
  const none = { completed_at: null, result: null, metrics: null, error_code: null };
  const row = { ...base, ...none, message, estimated_remaining };
  if (!isOver(job)) return row;
  const over = { ...row, completed_at: job.completedAt };
  switch (job.status) {
    case "completed": {
      const metrics = job.metrics === null ? null : JSON.stringify(job.metrics);
      return { ...over, result: JSON.stringify(job.result), metrics };
    }
    case "failed":
      return { ...over, error_code: job.error.code, message: job.error.message };
    case "canceled":
      return { ...over, message: job.reason };
  }
}

const NOTHING_OPEN = { message: null, estimatedRemaining: null };

function recentOutputsOf({ recent_outputs }: StateRow): Pick<BackendJob, "recentOutputs"> {
  const recentOutputs = JSON.parse(recent_outputs) as RecentOutput[];
  return recentOutputs.length === 0 ? {} : { recentOutputs };
}

function jobOf(row: FixedRow & StateRow): BackendJob {
  const base = {
    id: row.id,
    epoch: row.epoch,
    user: row.user,
    input: parseExact(row.input) as JsonObject,
    visibility: row.visibility === "private" ? ("private" as const) : ("public" as const),
    resultTtlS: row.result_ttl_s,
    fingerprint: row.fingerprint,
    createdAt: row.created_at,
    updatedAt: row.updated_at,
    startedAt: row.started_at,
    attempts: row.attempts,
    offset: row.log_offset,
    progress: row.progress,
    outputPath: row.output_path,
    ...recentOutputsOf(row),
  };
  const { message, estimated_remaining: estimatedRemaining } = row;
  const over = { ...base, completedAt: row.completed_at ?? row.updated_at };
  switch (row.status) {
    case "queued":
    case "processing":
      return { ...base, status: row.status, message, estimatedRemaining };
    case "completed": {
      const metrics = row.metrics === null ? null : (parseExact(row.metrics) as JsonObject);
      return { ...over, status: "completed", result: parseExact(row.result ?? "null"), metrics };
    }
    case "failed":
      return {
        ...over,
        status: "failed",
        error: { code: row.error_code ?? "", message: message ?? "" },
      };
    case "canceled":
      return { ...over, status: "canceled", reason: message ?? "" };
    default:
      throw new Error(`a stored job has the status ${row.status}`);
  }
}
