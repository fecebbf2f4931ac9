/** Remembers which migrations the local database has: wrangler takes seconds to say that it has all of them. */
import { existsSync, readdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { ROOT, STATE_FOLDER } from "./local.ts";

/** Beside the database, so that whoever deletes or copies that takes the note along. */
const NOTE = join(STATE_FOLDER, "v3/d1/applied-migrations");

export function areMigrationsApplied(): boolean {
  return existsSync(NOTE) && readFileSync(NOTE, "utf8") === names();
}

export function noteAppliedMigrations(): void {
  writeFileSync(NOTE, names());
}

function names(): string {
  return readdirSync(join(ROOT, "migrations")).toSorted().join("\n");
}
