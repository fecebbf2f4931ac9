import type { Sql } from "./sql.ts";

/** The stored schema was written by a newer version of this program, so this version must not touch it. */
export class NewerSchema extends Error {
  constructor(found: number, known: number) {
    super(`The stored schema is version ${found}; this program knows ${known}.`);
    this.name = "NewerSchema";
  }
}

/** Whether anything was ever stored here. It makes no tables, so a request for a name that doesn't exist is cheap. */
export function isMigrated(sql: Sql): boolean {
  return sql.all("SELECT name FROM sqlite_master WHERE name = 'schema_version'").length > 0;
}

/**
 * Brings the schema to the newest version, in one transaction; throws `NewerSchema` if it is ahead.
 *
 * @param migrations the statements of each version, starting with version 1
 */
export function migrateTo(sql: Sql, migrations: readonly (readonly string[])[]): void {
  sql.transaction(() => {
    sql.run("CREATE TABLE IF NOT EXISTS schema_version (version INTEGER NOT NULL) STRICT");
    const rows = sql.all<{ version: number }>("SELECT version FROM schema_version");
    const from = rows[0]?.version ?? 0;
    if (from > migrations.length) throw new NewerSchema(from, migrations.length);
    if (from === migrations.length) return;
    for (const statement of migrations.slice(from).flat()) sql.run(statement);
    sql.run("DELETE FROM schema_version");
    sql.run("INSERT INTO schema_version (version) VALUES (?)", migrations.length);
  });
}
