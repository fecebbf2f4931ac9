import { LIMITS } from "../protocol/limits.ts";
import type { JobStatus } from "../protocol/resources.ts";
import type { Instant, Job, ProcessingJob, StoredFile } from "../queue/job.ts";
import type { OutputFile } from "../queue/output-files.ts";
import type { Line } from "../queue/rounds.ts";
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
import { JobShares } from "./job-shares.ts";
import { OutputFileStore } from "./output-file-store.ts";
import { QueueRanks, type Ranked } from "./queue-ranks.ts";
import type { Sql, SqlValue } from "./sql.ts";
import { memoized } from "./statements.ts";

/** A finished job that is to be erased; `bytes` is an estimate of the storage it takes. */
export type Expired = {
  ulid: string;
  files: StoredFile[];
  outputs: OutputFile[];
  bytes: number;
};

/** The part of a job that the monitor shows. */
export type JobSummary = { ulid: string; status: JobStatus; progress: number; updatedAt: Instant };

/** A stored job, and about how many bytes it takes. */
export type Sized = { ulid: string; bytes: number };

/** Where a stored job stands, and about how many bytes it takes. Until it has ended, its log may be ahead of `offset`. */
export type Outline = { status: JobStatus; offset: number; bytes: number };

/** The job of an idempotency key, and the fingerprint of what was submitted with it. */
export type Keyed = { ulid: string; fingerprint: string };

/** Which jobs a list has; `before` is the last ULID of the page before, `user` whose they are. */
export interface JobFilter {
  status?: JobStatus | undefined;
  user?: string | undefined;
  before?: string | undefined;
  limit: number;
}

/** The part of a queued job that decides its place in the queue. */
export type Waiting = { ulid: string; priority: number; round: number; party: string | null };

/** A waiting job, and when it may be dispatched. */
export type Standing = Waiting & { availableAt: Instant };

/** How many jobs of a class, priority and party wait, and their rounds. */
export interface WaitingCount {
  requires: string[];
  priority: number;
  party: string | null;
  count: number;
  first: number;
  last: number;
}

/** Stores the jobs of one space (decision 0007). */
export class JobStore {
  readonly log: JobLog;
  readonly ranks: QueueRanks;
  readonly shares: JobShares;
  readonly outputFiles: OutputFileStore;
  /** Jobs whose files are being removed, before their rows are. */
  readonly erasing = new Set<string>();

  private readonly sql: Sql;
  /**
   * For how long the edge was away so far, milliseconds. `queue_due_at` is a time of a clock that stands still
   * while the edge is away: so an outage costs one row and not a row for every waiting job (decision 0040).
   */
  private awayMs: number;

  constructor(sql: Sql, awayMs = 0) {
    this.sql = sql;
    this.awayMs = awayMs;
    this.log = new JobLog(sql);
    this.ranks = new QueueRanks(sql);
    this.shares = new JobShares(sql);
    this.outputFiles = new OutputFileStore(sql);
  }

  get(ulid: string): Job | null {
    const [row] = this.sql.all<JobRow>("SELECT * FROM jobs WHERE ulid = ?", ulid);
    const job = row ? this.job(row) : null;
    return job?.status === "processing" ? (this.outputFiles.withFiles([job])[0] ?? null) : job;
  }

  add(job: Job): void {
    const { statement, bound } = insertionOf(rowOf(job, this.awayMs));
    this.sql.run(statement, ...bound);
  }

  /**
   * Stores the changes of a job whose row has the state `before`. Nothing is written if all that changed can
   * be read back from the event log.
   */
  update(job: Job, before: Job): void {
    const stored: Record<string, SqlValue> = changingColumns(before, this.awayMs);
    let isChanged = false;
    const columns = named(changingColumns(job, this.awayMs)).filter(([name, value]) => {
      if (AHEAD.has(name)) return true;
      const differs = stored[name] !== value;
      isChanged ||= differs;
      return differs;
    });
    if (!isChanged) return;
    const names = columns.map(([name]) => name).join();
    this.sql.run(change(names), ...columns.map(boundOf), job.ulid);
  }

  /** The next jobs of those that require exactly this: higher priority first, then earlier rounds, then older first. */
  head(requires: readonly string[], now: Instant, count: number): Standing[] {
    return this.sql.all<Standing>(
      `SELECT ulid, priority, round, party, available_at AS availableAt
       FROM jobs INDEXED BY jobs_queue
       WHERE status = 'queued' AND requires = ? AND available_at <= ?
       ORDER BY priority DESC, round, ulid LIMIT ?`,
      classOf(requires),
      now,
      count,
    );
  }

  processing(): ProcessingJob[] {
    const rows = this.sql.all<JobRow>(
      "SELECT * FROM jobs WHERE status = 'processing' ORDER BY ulid",
    );
    const jobs = rows.map((row) => this.job(row)).filter((job) => job.status === "processing");
    return this.outputFiles.withFiles(jobs);
  }

  /** The waiting jobs of a line from one place to another, in their order; those of one party if it is given. */
  inLine(
    { requires, priority }: Line,
    { from, to, party }: { from: Ranked; to: Ranked; party?: string | null },
    count: number,
  ): Standing[] {
    const ofParty = party === undefined ? "" : "AND party IS ?";
    return this.sql.all<Standing>(
      `SELECT ulid, priority, round, party, available_at AS availableAt
       FROM jobs INDEXED BY jobs_queue
       WHERE status = 'queued' AND requires = ? AND priority = ?
       AND (round, ulid) >= (?, ?) AND (round, ulid) < (?, ?) ${ofParty}
       ORDER BY round, ulid LIMIT ?`,
      ...[requires, priority, from.round, from.ulid, to.round, to.ulid],
      ...(party === undefined ? [] : [party]),
      count,
    );
  }

  /** How many jobs wait, for each class, priority and party. */
  queueCounts(): WaitingCount[] {
    // The rows are in the order of classes and priorities, not of parties, so it is cheaper if there is only one.
    const byLine = this.countWaiting("requires, priority");
    const ofOne = byLine.every(({ parties, named, count }) => {
      return named === 0 || (parties === 1 && named === count);
    });
    const rows = ofOne ? byLine : this.countWaiting("requires, priority, party");
    return rows.map(({ parties: _p, named: _n, ...row }) => {
      return { ...row, requires: requiresOf(row.requires) };
    });
  }

  private countWaiting(columns: string) {
    return this.sql.all<{
      requires: string;
      priority: number;
      party: string | null;
      count: number;
      first: number;
      last: number;
      parties: number;
      named: number;
    }>(
      `SELECT requires, priority, MIN(party) AS party, COUNT(*) AS count,
         MIN(round) AS first, MAX(round) AS last,
         (MIN(party) = MAX(party)) AS parties, COUNT(party) AS named
       FROM jobs INDEXED BY jobs_queue WHERE status = 'queued' GROUP BY ${columns}`,
    );
  }

  /** Jobs that must be canceled when this submitter leaves, and have not ended. */
  canceledWithSocketOf(submitter: string): string[] {
    return this.leaving("submitter = ?", submitter).map(({ ulid }) => ulid);
  }

  /** Jobs that must be canceled when their submitter leaves, and have not ended, of all submitters. */
  canceledWithAnySocket(): { ulid: string; submitter: string | null }[] {
    return this.leaving("TRUE");
  }

  /** Waiting jobs that were submitted over one of these connections. */
  queuedOf(submitters: ReadonlySet<string>): { ulid: string; submitter: string }[] {
    const rows = this.sql.all<{ ulid: string; submitter: string }>(
      `SELECT ulid, submitter FROM jobs INDEXED BY jobs_queue
       WHERE status = 'queued' AND submitter IS NOT NULL`,
    );
    return rows.filter(({ submitter }) => submitters.has(submitter));
  }

  /** The next time after `now` at which a delayed job may be dispatched; `null` if there is none (decision 0014). */
  earliestDelayed(now: Instant): Instant | null {
    const [row] = this.sql.all<{ due: number | null }>(
      `SELECT MIN(available_at) AS due FROM jobs
       WHERE status = 'queued' AND available_at > queued_at AND available_at > ?`,
      now,
    );
    return row?.due ?? null;
  }

  /** Which of these keys are the first file of a job. */
  firstFiles(keys: readonly string[]): Set<string> {
    const found = new Set<string>();
    for (const key of keys) {
      const rows = this.sql.all<{ ulid: string }>(
        `SELECT ulid FROM jobs INDEXED BY jobs_files
         WHERE files <> '[]' AND json_extract(files, '$[0].key') = ? LIMIT 1`,
        key,
      );
      if (rows.length > 0) found.add(key);
    }
    return found;
  }

  /** The user's job that was submitted with this idempotency key; `null` if there is none. */
  keyed(idempotencyKey: string, user: string | null): Keyed | null {
    const [row] = this.sql.all<{ ulid: string; fingerprint: string | null }>(
      "SELECT ulid, fingerprint FROM jobs WHERE idempotency_key = ? AND IFNULL(user, '') = ?",
      idempotencyKey,
      user ?? "",
    );
    return row ? { ulid: row.ulid, fingerprint: row.fingerprint ?? "" } : null;
  }

  /** The newest job with this cache key that a worker completed at `since` or later (decision 0018). */
  findCachedAnswer(cacheKey: string, since: Instant): Sized | null {
    const [found] = this.sql.all<Sized>(
      `SELECT ulid, ${BYTES} AS bytes FROM jobs WHERE cache_key = ? AND status = 'completed' AND cached = 0
       AND completed_at >= ? ORDER BY ulid DESC LIMIT 1`,
      cacheKey,
      since,
    );
    return found ?? null;
  }

  /** The status in a job's row; `null` if there is no such job. */
  statusOf(ulid: string): JobStatus | null {
    const query = "SELECT status FROM jobs WHERE ulid = ?";
    return this.sql.all<{ status: JobStatus }>(query, ulid)[0]?.status ?? null;
  }

  /** Whose a job is: a user, or nobody (`null`); `undefined` if there is no such job. */
  userOf(ulid: string): string | null | undefined {
    return this.sql.all<{ user: string | null }>("SELECT user FROM jobs WHERE ulid = ?", ulid)[0]
      ?.user;
  }

  /** What a stored job takes, and where it stands, without reading it; `null` if there is no such job. */
  outlineOf(ulid: string): Outline | null {
    const [found] = this.sql.all<Outline>(
      `SELECT status, log_offset AS offset, ${BYTES} AS bytes FROM jobs WHERE ulid = ?`,
      ulid,
    );
    return found ?? null;
  }

  /** Jobs whose `queue_timeout_s` has run out, the longest overdue first; `bytes` is about the size of the input. */
  overdue(now: Instant, count: number): { ulid: string; bytes: number }[] {
    return this.sql.all<{ ulid: string; bytes: number }>(
      `SELECT ulid, LENGTH(input) AS bytes FROM jobs
       WHERE status = 'queued' AND queue_due_at IS NOT NULL AND queue_due_at <= ?
       ORDER BY queue_due_at LIMIT ?`,
      now - this.awayMs,
      count,
    );
  }

  earliestQueueDue(): Instant | null {
    const [row] = this.sql.all<{ due: number | null }>(
      `SELECT MIN(queue_due_at) AS due FROM jobs
       WHERE status = 'queued' AND queue_due_at IS NOT NULL`,
    );
    return row?.due == null ? null : row.due + this.awayMs;
  }

  /** Gives waiting jobs more time, because the edge was away. The caller stores the sum of these times. */
  extendQueueTimeouts(awayMs: number): void {
    this.awayMs += awayMs;
  }

  /** Newest first. */
  list(filter: JobFilter): string[] {
    const ofUser = filter.user === undefined ? "" : "INDEXED BY jobs_user WHERE user = ?4 AND";
    const rows = this.sql.all<{ ulid: string }>(
      `SELECT ulid FROM jobs ${ofUser || "WHERE"} (?1 IS NULL OR ulid < ?1) AND (?2 IS NULL OR status = ?2)
       ORDER BY ulid DESC LIMIT ?3`,
      filter.before ?? null,
      filter.status ?? null,
      filter.limit,
      ...(filter.user === undefined ? [] : [filter.user]),
    );
    return rows.map(({ ulid }) => ulid);
  }

  /** Jobs that ended at `instant` or earlier, the oldest submit first, with their files. */
  endedBy(instant: Instant, count: number): Expired[] {
    const rows = this.sql.all<ExpiredRow>(
      `SELECT ulid, files, outputs, ${BYTES} AS bytes FROM jobs WHERE completed_at <= ? ORDER BY ulid LIMIT ?`,
      instant,
      count,
    );
    return rows.map(expiredOf);
  }

  /** One job that has ended, with its files; `null` if there is no such job. */
  expiredOf(ulid: string): Expired | null {
    const [row] = this.sql.all<ExpiredRow>(
      `SELECT ulid, files, outputs, ${BYTES} AS bytes FROM jobs WHERE ulid = ? AND completed_at IS NOT NULL`,
      ulid,
    );
    return row ? expiredOf(row) : null;
  }

  /**
   * The earliest end among the `count` oldest ended jobs. A younger job may have ended earlier, but to know
   * that, an index of all ends would be needed, which means one more row written for each job.
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

  /** The jobs that were submitted last, the newest first. */
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

  /** How long the newest completed jobs ran, seconds, the oldest first. */
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
    this.shares.remove(ulid);
    this.log.remove(ulid);
    this.erasing.delete(ulid);
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
    // Until a job has ended, its log may be newer than its row.
    return { ...job, offset: Math.max(job.offset, this.log.lastOffset(row.ulid)) };
  }
}

type ExpiredRow = { ulid: string; files: string; outputs: string | null; bytes: number };

function expiredOf({ files, outputs, ...row }: ExpiredRow): Expired {
  return { ...row, files: JSON.parse(files), outputs: JSON.parse(outputs ?? "[]") };
}

/** Columns whose newest values are in the event log: a change of only these isn't worth writing the row. */
const AHEAD: ReadonlySet<string> = new Set(["updated_at", "log_offset", "progress"]);

/** An estimate of the storage that a finished job takes: its row, counted as in `rowBytesOf`, and its log. */
const BYTES = `(${ROW_BYTES} + ${bytesOf("input")} + ${bytesOf("files")} + ${bytesOf("IFNULL(result, '')")}
  + ${bytesOf("IFNULL(outputs, '')")}
  + MIN(${LIMITS.jobLogBytes}, IFNULL((SELECT bytes FROM channel_log WHERE channel = jobs.ulid
    ORDER BY first_offset DESC LIMIT 1), 0)))`;

/** The cast is needed because LENGTH counts the characters of a text, but the bytes of a blob. */
function bytesOf(column: string): string {
  return `LENGTH(CAST(${column} AS BLOB))`;
}

/** The statement that updates these columns. Few sets of columns occur, and the runtime prepares each once. */
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
