import type { Sql } from "./sql.ts";

/** A part of an upload that the bucket has. */
export type UploadPart = { number: number; etag: string };

/** A file that comes in pieces, before and after a job has it (decision 0064). */
export type Upload = {
  /** What follows the space's name in its id: whoever knows it may go on with the upload. */
  secret: string;
  /** Where its file and its tail are in the bucket. */
  folder: string;
  /** As whom its maker is counted. */
  owner: string;
  /** The account that made it; `null`: nobody that is known. */
  user: string | null;
  name: string;
  contentType: string;
  /** How many bytes it will have. */
  length: number;
  /** How many bytes of it are stored. */
  received: number;
  /** How many of those, at the end, fill no part and are an object of their own. */
  tail: number;
  /** R2's name for the upload in parts; `null` before the first part. */
  multipart: string | null;
  /** Counts those who wrote it: an older one may change nothing any more. */
  fence: number;
  /** Hexadecimal digits; `null` until the whole file is stored. */
  sha256: string | null;
  /** The ULID of the job that has it; `null`: none. */
  ulid: string | null;
  /** When it is removed if no job has it, milliseconds since 1970. */
  expiresAt: number;
};

/** The columns of a row, by the names that an upload has for them. */
const COLUMNS = `id AS secret, folder, owner, user, name, content_type AS contentType, length, received, tail,
  multipart, fence, sha256, ulid, expires_at AS expiresAt`;

/** Stores the uploads of one space. */
export class UploadStore {
  private readonly sql: Sql;

  constructor(sql: Sql) {
    this.sql = sql;
  }

  get(secret: string): Upload | null {
    const query = `SELECT ${COLUMNS} FROM uploads WHERE id = ?`;
    return this.sql.all<Upload>(query, secret)[0] ?? null;
  }

  add(upload: Upload): void {
    this.sql.run(
      `INSERT INTO uploads (id, folder, owner, user, name, content_type, length, received, tail,
         multipart, fence, sha256, ulid, expires_at)
       VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)`,
      upload.secret,
      upload.folder,
      upload.owner,
      upload.user,
      upload.name,
      upload.contentType,
      upload.length,
      upload.received,
      upload.tail,
      upload.multipart,
      upload.fence,
      upload.sha256,
      upload.ulid,
      upload.expiresAt,
    );
  }

  /** Stores how far an upload has come; `ulid` is stored by `use` alone. */
  update(upload: Upload): void {
    const { received, tail, multipart, fence, sha256, expiresAt, secret } = upload;
    this.sql.run(
      `UPDATE uploads SET received = ?, tail = ?, multipart = ?, fence = ?, sha256 = ?, expires_at = ?
       WHERE id = ?`,
      received,
      tail,
      multipart,
      fence,
      sha256,
      expiresAt,
      secret,
    );
  }

  /** Makes it the file of a job. Its parts need not be known any more. */
  use(secret: string, ulid: string): void {
    this.sql.run("UPDATE uploads SET ulid = ? WHERE id = ?", ulid, secret);
    this.sql.run("DELETE FROM upload_parts WHERE id = ?", secret);
  }

  addPart(secret: string, { number, etag }: UploadPart): void {
    this.sql.run(
      "INSERT OR REPLACE INTO upload_parts (id, number, etag) VALUES (?, ?, ?)",
      secret,
      number,
      etag,
    );
  }

  parts(secret: string): UploadPart[] {
    return this.sql.all<UploadPart>(
      "SELECT number, etag FROM upload_parts WHERE id = ? ORDER BY number",
      secret,
    );
  }

  /** What somebody has that no job has: how many uploads, and how many bytes they will have. */
  openOf(owner: string): { count: number; bytes: number } {
    const [row] = this.sql.all<{ count: number; bytes: number | null }>(
      `SELECT COUNT(*) AS count, SUM(length) AS bytes FROM uploads INDEXED BY uploads_owner
       WHERE owner = ? AND ulid IS NULL`,
      owner,
    );
    return { count: row?.count ?? 0, bytes: row?.bytes ?? 0 };
  }

  /** When the next one is to be removed, milliseconds since 1970; `null` if none is. */
  dueAt(): number | null {
    const [row] = this.sql.all<{ due: number | null }>(
      "SELECT MIN(expires_at) AS due FROM uploads INDEXED BY uploads_due WHERE ulid IS NULL",
    );
    return row?.due ?? null;
  }

  /** Uploads that are to be removed by now, at most `count`. */
  dueBy(now: number, count: number): Upload[] {
    return this.sql.all<Upload>(
      `SELECT ${COLUMNS} FROM uploads INDEXED BY uploads_due
       WHERE ulid IS NULL AND expires_at <= ? ORDER BY expires_at LIMIT ?`,
      now,
      count,
    );
  }

  /** Those that no job has, at most `count`. */
  open(count: number): Upload[] {
    return this.dueBy(Number.MAX_SAFE_INTEGER, count);
  }

  /** Which of these folders are those of an upload. */
  knownFolders(folders: readonly string[]): Set<string> {
    const known = folders.filter((folder) => {
      return this.sql.all("SELECT id FROM uploads WHERE folder = ?", folder).length > 0;
    });
    return new Set(known);
  }

  remove(secret: string): void {
    this.sql.run("DELETE FROM uploads WHERE id = ?", secret);
    this.sql.run("DELETE FROM upload_parts WHERE id = ?", secret);
  }

  /** Removes those of a job that is erased. */
  removeOf(ulid: string): void {
    this.sql.run("DELETE FROM uploads WHERE ulid = ?", ulid);
  }
}
