import { LIMITS } from "../protocol/limits.ts";
import type { JobStatus } from "../protocol/resources.ts";
import type { CompletedJob, Instant, Job, ProcessingJob, StoredFile } from "../queue/job.ts";
import { insertionOf } from "./job-insertion.ts";
import { JobLog } from "./job-log.ts";
import {
  changingColumns,
  classOf,
  type JobRow,
  jobOf,
  ROW_BYTES,
  requiresOf,
  rowOf,
} from "./job-row.ts";
import { QueueRanks } from "./queue-ranks.ts";
import type { Sql, SqlValue } from "./sql.ts";
import { memoized } from "./statements.ts";

/** A finished job that is to be erased. */
export type Expired = { ulid: string; files: StoredFile[]; bytes: number };

export type JobSummary = { ulid: string; status: JobStatus; progress: number; updatedAt: Instant };

/** A place in the queue. */
export type Waiting = { ulid: string; priority: number };

/** The jobs of one space: the only SQL that knows of them. */
export class JobStore {
  readonly log: JobLog;
  readonly ranks: QueueRanks;

  private readonly sql: Sql;

  constructor(sql: Sql) {
    this.sql = sql;
    this.log = new JobLog(sql);
    this.ranks = new QueueRanks(sql);
  }

  get(ulid: string): Job | null {
    const [row] = this.sql.all<JobRow>("SELECT * FROM jobs WHERE ulid = ?", ulid);
    return row ? this.job(row) : null;
  }

  add(job: Job): void {
    const { statement, bound } = insertionOf(rowOf(job));
    this.sql.run(statement, ...bound);
  }

  /**
   * Stores what has changed of a job that is there as `before`, unless the log beside the row tells it.
   */
  update(job: Job, before: Job): void {
    const stored: Record<string, SqlValue> = changingColumns(before);
    let isChanged = false;
    const columns = named(changingColumns(job)).filter(([name, value]) => {
      if (AHEAD.has(name)) return true;
      const differs = stored[name] !== value;
      isChanged ||= differs;
      return differs;
    });
    if (!isChanged) return;
    const names = columns.map(([name]) => name).join();
    this.sql.run(change(names), ...columns.map(boundOf), job.ulid);
  }

  /** Who is next of the jobs that ask for this: higher priority first, then the older. */
  head(requires: readonly string[], now: Instant, count: number): Waiting[] {
    return this.sql.all<Waiting>(
      `SELECT ulid, priority FROM jobs INDEXED BY jobs_queue
       WHERE status = 'queued' AND requires = ? AND available_at <= ?
       ORDER BY priority DESC, ulid LIMIT ?`,
      classOf(requires),
      now,
      count,
    );
  }

  processing(): ProcessingJob[] {
    const rows = this.sql.all<JobRow>(
      "SELECT * FROM jobs WHERE status = 'processing' ORDER BY ulid",
    );
    return rows.map((row) => this.job(row)).filter((job) => job.status === "processing");
  }

  /** How many wait, by what they ask for and by priority. */
  queueCounts(): { requires: string[]; priority: number; count: number }[] {
    const rows = this.sql.all<{ requires: string; priority: number; count: number }>(
      `SELECT requires, priority, COUNT(*) AS count FROM jobs INDEXED BY jobs_queue
       WHERE status = 'queued' GROUP BY requires, priority`,
    );
    return rows.map((row) => ({ ...row, requires: requiresOf(row.requires) }));
  }

  /** Jobs that have not ended and are to be canceled when their submitter leaves. */
  leavingWith(submitter: string): string[] {
    return this.leaving("submitter = ?", submitter).map(({ ulid }) => ulid);
  }

  /** The same of every submitter. */
  leavingWithAny(): { ulid: string; submitter: string | null }[] {
    return this.leaving("TRUE");
  }

  /** Waiting jobs that came over one of these connections. */
  queuedOf(submitters: ReadonlySet<string>): { ulid: string; submitter: string }[] {
    const rows = this.sql.all<{ ulid: string; submitter: string }>(
      `SELECT ulid, submitter FROM jobs INDEXED BY jobs_queue
       WHERE status = 'queued' AND submitter IS NOT NULL`,
    );
    return rows.filter(({ submitter }) => submitters.has(submitter));
  }

  /** When a job that was put off is next due; `null` where none is later than `now`. */
  earliestDelayed(now: Instant): Instant | null {
    const [row] = this.sql.all<{ due: number | null }>(
      `SELECT MIN(available_at) AS due FROM jobs
       WHERE status = 'queued' AND available_at > queued_at AND available_at > ?`,
      now,
    );
    return row?.due ?? null;
  }

  /** The job submitted under this key. */
  ulidOfKey(idempotencyKey: string): string | null {
    const query = "SELECT ulid FROM jobs WHERE idempotency_key = ?";
    return this.sql.all<{ ulid: string }>(query, idempotencyKey)[0]?.ulid ?? null;
  }

  /** The newest job with this input that a worker completed after `since`. */
  answerTo(cacheKey: string, since: Instant): CompletedJob | null {
    const rows = this.sql.all<JobRow>(
      `SELECT * FROM jobs WHERE cache_key = ? AND status = 'completed' AND cached = 0
       AND completed_at >= ? ORDER BY ulid DESC LIMIT 1`,
      cacheKey,
      since,
    );
    const job = rows[0] ? this.job(rows[0]) : null;
    return job?.status === "completed" ? job : null;
  }

  /** Jobs whose wait is over, the longest over first, and the bytes each takes in memory. */
  overdue(now: Instant, count: number): { ulid: string; bytes: number }[] {
    return this.sql.all<{ ulid: string; bytes: number }>(
      `SELECT ulid, LENGTH(input) AS bytes FROM jobs
       WHERE status = 'queued' AND queue_due_at IS NOT NULL AND queue_due_at <= ?
       ORDER BY queue_due_at LIMIT ?`,
      now,
      count,
    );
  }

  earliestQueueDue(): Instant | null {
    const [row] = this.sql.all<{ due: number | null }>(
      `SELECT MIN(queue_due_at) AS due FROM jobs
       WHERE status = 'queued' AND queue_due_at IS NOT NULL`,
    );
    return row?.due ?? null;
  }

  /** Newest first; `before` is the last ULID of the page before. */
  list(filter: { status?: JobStatus; before?: string; limit: number }): string[] {
    const rows = this.sql.all<{ ulid: string }>(
      `SELECT ulid FROM jobs WHERE (?1 IS NULL OR ulid < ?1) AND (?2 IS NULL OR status = ?2)
       ORDER BY ulid DESC LIMIT ?3`,
      filter.before ?? null,
      filter.status ?? null,
      filter.limit,
    );
    return rows.map(({ ulid }) => ulid);
  }

  /** Jobs that ended by `instant`, the first submitted first, and what they have in the bucket. */
  endedBy(instant: Instant, count: number): Expired[] {
    const rows = this.sql.all<{ ulid: string; files: string; bytes: number }>(
      `SELECT ulid, files, ${BYTES} AS bytes FROM jobs WHERE completed_at <= ? ORDER BY ulid LIMIT ?`,
      instant,
      count,
    );
    return rows.map(({ files, ...row }) => ({ ...row, files: JSON.parse(files) }));
  }

  /**
   * When the first of the jobs that have ended did, as far as the `count` oldest of them tell: an index
   * over all ends would be one more row written for each job.
   */
  earliestEnd(count: number): Instant | null {
    const [row] = this.sql.all<{ first: number | null }>(
      `SELECT MIN(completed_at) AS first FROM (
         SELECT completed_at FROM jobs WHERE completed_at IS NOT NULL ORDER BY ulid LIMIT ?
       )`,
      count,
    );
    return row?.first ?? null;
  }

  /** How the jobs stand that were submitted last. */
  newest(count: number): JobSummary[] {
    return this.sql.all<JobSummary>(
      `SELECT ulid, status, progress, updated_at AS updatedAt FROM jobs ORDER BY ulid DESC LIMIT ?`,
      count,
    );
  }

  newestUlid(): string | null {
    const [row] = this.sql.all<{ ulid: string }>(
      "SELECT ulid FROM jobs ORDER BY ulid DESC LIMIT 1",
    );
    return row?.ulid ?? null;
  }

  /** Durations of the newest runs, seconds, oldest first. */
  recentRunsS(count: number): number[] {
    const rows = this.sql.all<{ run: number }>(
      `SELECT (completed_at - dispatched_at) / 1000.0 AS run FROM jobs
       WHERE status = 'completed' AND dispatched_at IS NOT NULL ORDER BY ulid DESC LIMIT ?`,
      count,
    );
    return rows.map(({ run }) => run).reverse();
  }

  remove(ulid: string): void {
    this.sql.run("DELETE FROM jobs WHERE ulid = ?", ulid);
    this.sql.run("DELETE FROM webhook_deliveries WHERE ulid = ?", ulid);
    this.log.remove(ulid);
  }

  private leaving(where: string, ...bindings: SqlValue[]) {
    return this.sql.all<{ ulid: string; submitter: string | null }>(
      `SELECT ulid, submitter FROM jobs INDEXED BY jobs_leaving
       WHERE cancel_on_disconnect = 1 AND completed_at IS NULL AND ${where}`,
      ...bindings,
    );
  }

  private job(row: JobRow): Job {
    const job = jobOf(row, (ulid, attempt) => this.log.live(ulid, attempt));
    if (row.completed_at !== null) return job;
    // While a job waits or runs its log may be ahead of its row.
    return { ...job, offset: Math.max(job.offset, this.log.lastOffset(row.ulid)) };
  }
}

/** What the log tells too, and may have moved on since the row was written. */
const AHEAD: ReadonlySet<string> = new Set(["updated_at", "log_offset", "progress"]);

/** About what a finished job takes of the storage, as `rowBytesOf` counts it, and its log. */
const BYTES = `(${ROW_BYTES} + ${bytesOf("input")} + ${bytesOf("files")} + ${bytesOf("IFNULL(result, '')")}
  + MIN(${LIMITS.jobLogBytes}, IFNULL((SELECT MAX(bytes) FROM channel_log WHERE channel = jobs.ulid), 0)))`;

/** LENGTH counts the characters of a text and the bytes of a blob. */
function bytesOf(column: string): string {
  return `LENGTH(CAST(${column} AS BLOB))`;
}

/** Statements by the columns they name: of each kind of step there is one, which the runtime prepares once. */
const change = memoized((columns) => {
  const assigned = columns.replaceAll(/\w+/g, "$& = ?");
  return `UPDATE jobs SET ${assigned} WHERE ulid = ?`;
});

type Column = [name: string, value: SqlValue];

function named(columns: Record<string, SqlValue>): Column[] {
  return Object.entries(columns);
}

function boundOf([, value]: Column): SqlValue {
  return value;
}
