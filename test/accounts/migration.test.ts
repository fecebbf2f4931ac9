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

test("spaces that are older than owners become the first admin's (H1b)", () => {
  const database = new DatabaseSync(":memory:");
  const run = (file: string) => database.exec(readFileSync(join(MIGRATIONS, file), "utf8"));
  for (const file of ["0001_catalogue.sql", "0002_accounts.sql"]) run(file);
  const person = `INSERT INTO "user" (id, name, email, "emailVerified", "createdAt", "updatedAt", role)`;
  for (const [id, role, year] of [
    ["member", "member", "2023"],
    ["second", "admin", "2026"],
    ["first", "admin", "2025"],
  ] as const) {
    database.prepare(`${person} VALUES (?, '', ?, 1, ?, ?, ?)`).run(id, id, year, year, role);
  }
  database.exec("INSERT INTO spaces VALUES ('demo', '', 'public', '{}', 0)");
  run("0005_owners.sql");
  expect(database.prepare("SELECT name, owner FROM spaces").all()).toEqual([
    { name: "demo", owner: "first" },
  ]);
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
