import type { Job, ProcessingJob } from "../queue/job.ts";
import { type FileChanges, NO_FILES, type OutputFile } from "../queue/output-files.ts";
import type { Sql } from "./sql.ts";

/** `at`: when the attempt last showed that it is at work by then, milliseconds since 1970. */
type OutputFileRow = {
  folder: string;
  id: string;
  ulid: string;
  attempt: number;
  name: string;
  content_type: string;
  size: number;
  sha256: string;
  at: number;
};

/** Where a file is in the bucket. */
export type FilePlace = Pick<OutputFile, "folder" | "id">;

/** No attempt has this number: files that a running attempt no longer needs get it. */
const NO_ATTEMPT = 0;

/**
 * Stores the output files of running attempts; those of ended jobs are in the jobs' own rows. A row whose attempt
 * doesn't run any more is a file that is to be removed from the bucket (decision 0063).
 */
export class OutputFileStore {
  private readonly sql: Sql;

  constructor(sql: Sql) {
    this.sql = sql;
  }

  /** Stores what a batch changed of a job's files. */
  apply(job: Job, { added, kept, released }: FileChanges): void {
    const { ulid, attempts: attempt, status, updatedAt } = job;
    const at = status === "processing" ? (job.live.lastFrameAt ?? updatedAt) : updatedAt;
    for (const { folder, id, name, content_type, size, sha256 } of added) {
      this.sql.run(
        `INSERT INTO output_files (folder, id, ulid, attempt, name, content_type, size, sha256, at)
         VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)`,
        ...[folder, id, ulid, attempt, name, content_type, size, sha256, at],
      );
    }
    this.remove(kept);
    // The rows of an attempt that has ended are known as such.
    if (status !== "processing") return;
    for (const { folder, id } of released) {
      const query = "UPDATE output_files SET attempt = ? WHERE folder = ? AND id = ?";
      this.sql.run(query, NO_ATTEMPT, folder, id);
    }
  }

  remove(files: readonly FilePlace[]): void {
    for (const { folder, id } of files) {
      this.sql.run("DELETE FROM output_files WHERE folder = ? AND id = ?", folder, id);
    }
  }

  /** The jobs with the files of their attempts, for those that have some. */
  withFiles(jobs: readonly ProcessingJob[]): ProcessingJob[] {
    const rows = jobs.length === 0 ? [] : this.all();
    if (rows.length === 0) return [...jobs];
    const byAttempt = Map.groupBy(rows, ({ ulid, attempt }) => keyOf(ulid, attempt));
    return jobs.map((job) => withRows(job, byAttempt.get(keyOf(job.ulid, job.attempts)) ?? []));
  }

  /** Those that belong to none of the running jobs any more. */
  released(running: readonly ProcessingJob[]): OutputFile[] {
    const attempts = new Set(running.map(({ ulid, attempts: attempt }) => keyOf(ulid, attempt)));
    const rows = this.all().filter(({ ulid, attempt }) => !attempts.has(keyOf(ulid, attempt)));
    return rows.map(fileOf);
  }

  /** Which of these files have a row here, or are those of an ended job. */
  known(places: readonly FilePlace[]): FilePlace[] {
    const folders = new Map<string, Set<string>>();
    return places.filter(({ folder, id }) => {
      const ids = folders.get(folder) ?? this.idsIn(folder);
      folders.set(folder, ids);
      return ids.has(id);
    });
  }

  /** Which ended jobs have outputs in this folder: a job that was answered from the cache shares those of another. */
  holders(folder: string): string[] {
    return this.inFolder(folder).map(({ ulid }) => ulid);
  }

  private idsIn(folder: string): Set<string> {
    const query = "SELECT id FROM output_files WHERE folder = ?";
    const running = this.sql.all<{ id: string }>(query, folder);
    const ended = this.inFolder(folder).flatMap(({ outputs }): OutputFile[] => JSON.parse(outputs));
    return new Set([...running, ...ended].map(({ id }) => id));
  }

  private inFolder(folder: string) {
    return this.sql.all<{ ulid: string; outputs: string }>(
      `SELECT ulid, outputs FROM jobs INDEXED BY jobs_outputs
       WHERE outputs IS NOT NULL AND json_extract(outputs, '$[0].folder') = ?`,
      folder,
    );
  }

  private all(): OutputFileRow[] {
    return this.sql.all<OutputFileRow>(
      `SELECT folder, id, ulid, attempt, name, content_type, size, sha256, at FROM output_files
       ORDER BY at, id`,
    );
  }
}

function withRows(job: ProcessingJob, rows: readonly OutputFileRow[]): ProcessingJob {
  if (rows.length === 0) return job;
  const lastAt = Math.max(...rows.map(({ at }) => at), job.live.lastFrameAt ?? 0);
  const files = { ...(job.live.files ?? NO_FILES), stored: rows.map(fileOf) };
  const live = { ...job.live, files, lastFrameAt: lastAt };
  return { ...job, updatedAt: Math.max(job.updatedAt, lastAt), live };
}

function fileOf({ folder, id, name, content_type, size, sha256 }: OutputFileRow): OutputFile {
  return { folder, id, name, content_type, size, sha256 };
}

function keyOf(ulid: string, attempt: number): string {
  return `${ulid}#${attempt}`;
}
