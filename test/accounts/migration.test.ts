import { readFileSync } from "node:fs";
import { join } from "node:path";
import { DatabaseSync } from "node:sqlite";
import { getMigrations } from "better-auth/db/migration";
import { expect, test } from "vitest";
import { TABLE_OPTIONS } from "../../src/accounts/tables.ts";

const MIGRATIONS = join(import.meta.dirname, "../../migrations");

/** What Better Auth would still have to change in a database. */
async function lackingIn(database: DatabaseSync) {
  return getMigrations({ ...TABLE_OPTIONS, secret: "for tests ".repeat(4), database } as never);
}

test("the migrations make the tables that Better Auth needs", async () => {
  const database = new DatabaseSync(":memory:");
  for (const file of ["0001_catalogue.sql", "0002_accounts.sql"]) {
    database.exec(readFileSync(join(MIGRATIONS, file), "utf8"));
  }
  const { toBeAdded, toBeCreated } = await lackingIn(database);
  expect({ toBeAdded, toBeCreated }).toEqual({ toBeAdded: [], toBeCreated: [] });
});

test("a table that is missing would be noticed", async () => {
  const { toBeCreated } = await lackingIn(new DatabaseSync(":memory:"));
  expect(toBeCreated.map(({ table }) => table).sort()).toEqual([
    "account",
    "session",
    "user",
    "verification",
  ]);
});
