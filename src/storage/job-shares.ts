import type { Sql } from "./sql.ts";

/** The links by which jobs of a space are shared, one for each job: the hash of the token in the link. */
export class JobShares {
  private readonly sql: Sql;

  constructor(sql: Sql) {
    this.sql = sql;
  }

  hashOf(ulid: string): string | null {
    const query = "SELECT hash FROM job_shares WHERE ulid = ?";
    return this.sql.all<{ hash: string }>(query, ulid)[0]?.hash ?? null;
  }

  put(ulid: string, hash: string): void {
    this.sql.run(
      "INSERT INTO job_shares (ulid, hash) VALUES (?, ?) ON CONFLICT DO UPDATE SET hash = excluded.hash",
      ulid,
      hash,
    );
  }

  remove(ulid: string): void {
    this.sql.run("DELETE FROM job_shares WHERE ulid = ?", ulid);
  }
}
