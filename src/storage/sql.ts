/** A value SQLite stores for us. */
export type SqlValue = string | number | null;
export type SqlRow = Record<string, SqlValue>;

/** All that the stores need of a database, so that they run on workerd and on node:sqlite alike. */
export interface Sql {
  all<R extends SqlRow>(query: string, ...bindings: SqlValue[]): R[];
  run(query: string, ...bindings: SqlValue[]): void;
  /** Runs `work` in one transaction: all of it is stored, or nothing. */
  transaction<T>(work: () => T): T;
}
