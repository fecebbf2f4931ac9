/** The values that the stores write to SQLite. */
export type SqlValue = string | number | null;
export type SqlRow = Record<string, SqlValue>;

/** The part of a database that the stores use, small enough to exist for workerd and for node:sqlite. */
export interface Sql {
  all<R extends SqlRow>(query: string, ...bindings: SqlValue[]): R[];
  run(query: string, ...bindings: SqlValue[]): void;
  /** Runs `work` in one transaction: either everything it writes is stored, or nothing. */
  transaction<T>(work: () => T): T;
}
