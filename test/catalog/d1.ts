import { readdirSync, readFileSync } from "node:fs";
import path from "node:path";
import { DatabaseSync } from "node:sqlite";
import type { SqlValue } from "../../src/storage/sql.ts";

const MIGRATIONS = path.join(import.meta.dirname, "../../migrations");

/** The part of D1 that the catalogue uses, over a database in memory with the edge's own migrations. */
export function fakeD1(): D1Database {
  const database = new DatabaseSync(":memory:");
  for (const file of readdirSync(MIGRATIONS).sort()) {
    database.exec(readFileSync(path.join(MIGRATIONS, file), "utf8"));
  }
  const prepare = (query: string, bound: SqlValue[] = []) => ({
    bind: (...values: SqlValue[]) => prepare(query, values),
    all: async () => ({ results: database.prepare(query).all(...bound) }),
    first: async () => database.prepare(query).get(...bound) ?? null,
    run: async () => ({ meta: { changes: Number(database.prepare(query).run(...bound).changes) } }),
  });
  const batch = (statements: { run: () => Promise<unknown> }[]) =>
    Promise.all(statements.map((statement) => statement.run()));
  return { prepare, batch } as unknown as D1Database;
}
