import { DatabaseSync, type StatementSync } from "node:sqlite";
import type { Sql, SqlRow, SqlValue } from "../../src/storage/sql.ts";

/**
 * A SQLite database in this process's memory, behind the interface of the stores.
 *
 * @param schema the statements that make its tables
 */
export function nodeSql(schema = ""): Sql {
  const database = new DatabaseSync(":memory:");
  database.exec(schema);
  const statements = new Map<string, StatementSync>();
  const prepared = (query: string): StatementSync => {
    const statement = statements.get(query) ?? database.prepare(query);
    statements.set(query, statement);
    return statement;
  };
  return {
    all: <R extends SqlRow>(query: string, ...bindings: SqlValue[]) =>
      prepared(query).all(...bindings) as R[],
    run: (query, ...bindings) => {
      prepared(query).run(...bindings);
    },
    transaction: (work) => {
      // As in the runtime, transactions may be nested.
      database.exec("SAVEPOINT work");
      try {
        const result = work();
        database.exec("RELEASE work");
        return result;
      } catch (error) {
        database.exec("ROLLBACK TO work; RELEASE work");
        throw error;
      }
    },
  };
}
