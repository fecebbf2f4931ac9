import { describe, expect, it } from "vitest";
import { migrate } from "../../src/storage/migrations.ts";
import { isMigrated, NewerSchema } from "../../src/storage/schema.ts";
import type { Sql } from "../../src/storage/sql.ts";
import type { WithSql } from "./with-sql.ts";

/** Every table and index, with the SQL that made it. */
function schemaOf(sql: Sql): unknown[] {
  return sql.all(
    "SELECT name, sql FROM sqlite_master WHERE name NOT LIKE '\\_cf%' ESCAPE '\\' ORDER BY name",
  );
}

function versionsOf(sql: Sql): number[] {
  return sql
    .all<{ version: number }>("SELECT version FROM schema_version")
    .map(({ version }) => version);
}

export function schemaContract(withSql: WithSql): void {
  describe("the schema", () => {
    it("doesn't exist before anything is stored, and checking for it makes nothing", () =>
      withSql((sql) => {
        expect(isMigrated(sql)).toBe(false);
        expect(schemaOf(sql)).toEqual([]);
      }));

    it("is made once: making it again changes neither it nor what is stored", () =>
      withSql((sql) => {
        migrate(sql);
        expect(isMigrated(sql)).toBe(true);
        const [before, versions] = [schemaOf(sql), versionsOf(sql)];
        sql.run("INSERT INTO channel_log VALUES ('u', 1, 2, 3, '[]', 4)");
        migrate(sql);
        expect(schemaOf(sql)).toEqual(before);
        expect(versionsOf(sql)).toEqual(versions);
        expect(sql.all("SELECT channel FROM channel_log")).toEqual([{ channel: "u" }]);
      }));

    it("of a newer program is refused and left unchanged", () =>
      withSql((sql) => {
        migrate(sql);
        sql.run("UPDATE schema_version SET version = version + 1");
        const [before, versions] = [schemaOf(sql), versionsOf(sql)];
        expect(() => migrate(sql)).toThrow(NewerSchema);
        expect(schemaOf(sql)).toEqual(before);
        expect(versionsOf(sql)).toEqual(versions);
      }));

    it("leaves nothing behind if making it fails", () =>
      withSql((sql) => {
        sql.run("CREATE TABLE jobs (in_the_way TEXT)");
        const before = schemaOf(sql);
        expect(() => migrate(sql)).toThrow("jobs");
        expect(schemaOf(sql)).toEqual(before);
        expect(isMigrated(sql)).toBe(false);
      }));
  });

  describe("a transaction", () => {
    const count = (sql: Sql) => sql.all("SELECT word FROM words").length;

    it("stores everything that its work wrote, and returns what the work returned", () =>
      withSql((sql) => {
        sql.run("CREATE TABLE words (word TEXT)");
        const answer = sql.transaction(() => {
          sql.run("INSERT INTO words VALUES ('a'), ('b')");
          return count(sql);
        });
        expect([answer, count(sql)]).toEqual([2, 2]);
      }));

    it("stores nothing if its work throws, and throws the same error", () =>
      withSql((sql) => {
        sql.run("CREATE TABLE words (word TEXT)");
        sql.run("INSERT INTO words VALUES ('before')");
        const error = new Error("half way");
        const failing = () =>
          sql.transaction(() => {
            sql.run("INSERT INTO words VALUES ('a')");
            sql.run("DELETE FROM words WHERE word = 'before'");
            throw error;
          });
        expect(failing).toThrow(error);
        expect(sql.all("SELECT word FROM words")).toEqual([{ word: "before" }]);
        sql.transaction(() => sql.run("INSERT INTO words VALUES ('after')"));
        expect(count(sql)).toBe(2);
      }));
  });
}
