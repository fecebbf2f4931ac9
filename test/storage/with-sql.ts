import { JobStore } from "../../src/storage/job-store.ts";
import { migrate } from "../../src/storage/migrations.ts";
import type { Sql } from "../../src/storage/sql.ts";

/** Runs `work` with a database in which nothing was ever stored. */
export type WithSql = (work: (sql: Sql) => void) => Promise<void>;

/** Runs `work` with an empty store of jobs. */
export function withStore(
  withSql: WithSql,
  work: (store: JobStore, sql: Sql) => void,
): Promise<void> {
  return withSql((sql) => {
    migrate(sql);
    work(new JobStore(sql), sql);
  });
}
