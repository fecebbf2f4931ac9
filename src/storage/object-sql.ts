import type { Sql, SqlRow, SqlValue } from "./sql.ts";

/** Adapts the SQLite of a Durable Object to the interface that the stores use. */
export function objectSql(storage: DurableObjectStorage): Sql {
  return {
    all: <R extends SqlRow>(query: string, ...bindings: SqlValue[]) =>
      storage.sql.exec<R>(query, ...bindings).toArray(),
    run: (query, ...bindings) => {
      storage.sql.exec(query, ...bindings);
    },
    transaction: (work) => storage.transactionSync(work),
  };
}
