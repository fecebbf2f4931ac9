import type { JobStatus } from "../protocol/resources.ts";
import type { Instant, Job, ProcessingJob, QueuedJob } from "../queue/job.ts";
import { JobLog } from "./job-log.ts";
import { type JobRow, jobOf, rowOf } from "./job-row.ts";
import type { Sql } from "./sql.ts";

/** The jobs of one space: the only SQL that knows of them. */
export class JobStore {
  readonly log: JobLog;

  private readonly sql: Sql;

  constructor(sql: Sql) {
    this.sql = sql;
    this.log = new JobLog(sql);
  }

  get(ulid: string): Job | null {
    const [row] = this.sql.all<JobRow>("SELECT * FROM jobs WHERE ulid = ?", ulid);
    return row ? this.job(row) : null;
  }

  save(job: Job): void {
    this.sql.run(SAVE, ...Object.values(rowOf(job)));
  }

  /** The head of the queue: higher priority first, then the older. */
  head(count: number): QueuedJob[] {
    const order = "ORDER BY priority DESC, ulid LIMIT ?";
    const rows = this.sql.all<JobRow>(
      `SELECT * FROM jobs INDEXED BY jobs_queue WHERE status = 'queued' ${order}`,
      count,
    );
    return rows.map((row) => this.job(row)).filter((job) => job.status === "queued");
  }

  processing(): ProcessingJob[] {
    const rows = this.sql.all<JobRow>(
      "SELECT * FROM jobs WHERE status = 'processing' ORDER BY ulid",
    );
    return rows.map((row) => this.job(row)).filter((job) => job.status === "processing");
  }

  /** How many wait, by priority. */
  queuedByPriority(): Map<number, number> {
    const rows = this.sql.all<{ priority: number; count: number }>(
      "SELECT priority, COUNT(*) AS count FROM jobs WHERE status = 'queued' GROUP BY priority",
    );
    return new Map(rows.map(({ priority, count }) => [priority, count]));
  }

  /** How many of the same priority wait before this one. */
  queuedBefore(job: QueuedJob): number {
    const [row] = this.sql.all<{ count: number }>(
      "SELECT COUNT(*) AS count FROM jobs WHERE status = 'queued' AND priority = ? AND ulid < ?",
      job.priority,
      job.ulid,
    );
    return row?.count ?? 0;
  }

  /** Waiting jobs whose submitter's connection is one of these. */
  queuedOf(submitters: ReadonlySet<string>): { ulid: string; submitter: string }[] {
    const rows = this.sql.all<{ ulid: string; submitter: string }>(
      "SELECT ulid, submitter FROM jobs WHERE status = 'queued' AND submitter IS NOT NULL",
    );
    return rows.filter(({ submitter }) => submitters.has(submitter));
  }

  overdue(now: Instant, count: number): QueuedJob[] {
    const rows = this.sql.all<JobRow>(
      `SELECT * FROM jobs WHERE status = 'queued' AND queue_due_at IS NOT NULL AND queue_due_at <= ?
       ORDER BY queue_due_at LIMIT ?`,
      now,
      count,
    );
    return rows.map((row) => this.job(row)).filter((job) => job.status === "queued");
  }

  earliestQueueDue(): Instant | null {
    const [row] = this.sql.all<{ due: number | null }>(
      `SELECT MIN(queue_due_at) AS due FROM jobs
       WHERE status = 'queued' AND queue_due_at IS NOT NULL`,
    );
    return row?.due ?? null;
  }

  /** Newest first; `before` is the last ULID of the page before. */
  list(filter: { status?: JobStatus; before?: string; limit: number }): Job[] {
    const rows = this.sql.all<JobRow>(
      `SELECT * FROM jobs WHERE (?1 IS NULL OR ulid < ?1) AND (?2 IS NULL OR status = ?2)
       ORDER BY ulid DESC LIMIT ?3`,
      filter.before ?? null,
      filter.status ?? null,
      filter.limit,
    );
    return rows.map((row) => this.job(row));
  }

  /** The oldest jobs that have ended. */
  oldestEnded(count: number): { ulid: string; completedAt: Instant; files: string }[] {
    return this.sql.all<{ ulid: string; completedAt: number; files: string }>(
      `SELECT ulid, completed_at AS completedAt, files FROM jobs WHERE completed_at IS NOT NULL
       ORDER BY ulid LIMIT ?`,
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
      `SELECT (completed_at - started_at) / 1000.0 AS run FROM jobs
       WHERE status = 'completed' ORDER BY ulid DESC LIMIT ?`,
      count,
    );
    return rows.map(({ run }) => run).reverse();
  }

  remove(ulid: string): void {
    this.sql.run("DELETE FROM jobs WHERE ulid = ?", ulid);
    this.log.remove(ulid);
  }

  private job(row: JobRow): Job {
    const job = jobOf(row, (ulid, attempt) => this.log.live(ulid, attempt));
    if (row.completed_at !== null) return job;
    // While a job waits or runs its log may be ahead of its row.
    return { ...job, offset: Math.max(job.offset, this.log.lastOffset(row.ulid)) };
  }
}

const COLUMNS = [
  "ulid, status, priority, input, files, user, limits, cancel_on_disconnect, submitter, created_at",
  "updated_at, attempts, started_at, log_offset, history, queued_at, queue_due_at, worker_id",
  "worker_name, generation, dispatched_at, detached_at, cancel_requested_at, reason, completed_at",
  "result, metrics, error_code, progress",
].join(", ");

/** The order of columns is that of `rowOf`; the contract tests hold the two together. */
const SAVE = `INSERT OR REPLACE INTO jobs (${COLUMNS}) VALUES (${COLUMNS.replaceAll(/\w+/g, "?")})`;
