import { describe, expect, it } from "vitest";
import { DEFAULT_SETTINGS } from "../../src/protocol/resources.ts";
import { migrate } from "../../src/storage/migrations.ts";
import { type SpaceRecord, SpaceStore } from "../../src/storage/space-store.ts";
import type { Sql } from "../../src/storage/sql.ts";
import type { WithSql } from "./with-sql.ts";

const SPACE: SpaceRecord = {
  name: "demo",
  settings: { ...DEFAULT_SETTINGS, title: "Größe \u{1f41d}", queue_timeout_s: 0.5 },
  createdAt: 1_000,
  updatedAt: 1_000,
  owner: null,
  members: new Map(),
};

export function spaceStoreContract(withSql: WithSql): void {
  const withSpaces = (work: (spaces: SpaceStore, sql: Sql) => void) =>
    withSql((sql) => {
      migrate(sql);
      work(new SpaceStore(sql), sql);
    });

  describe("the store of a space", () => {
    it("is empty before the space is made", () =>
      withSpaces((spaces) => {
        expect(spaces.read()).toBeNull();
        expect(() => spaces.nextGeneration()).toThrow("never made");
      }));

    it("returns what was written", () =>
      withSpaces((spaces) => {
        spaces.write(SPACE);
        expect(spaces.read()).toEqual(SPACE);
      }));

    it("changes settings, and keeps the name, the time of creation and the generation", () =>
      withSpaces((spaces) => {
        spaces.write(SPACE);
        spaces.nextGeneration();
        const settings = { ...SPACE.settings, max_workers: 2 };
        const times = { createdAt: 2_000, updatedAt: 2_000 };
        spaces.write({ ...SPACE, name: "other", settings, ...times, owner: "ann" });
        expect(spaces.read()).toEqual({ ...SPACE, settings, updatedAt: 2_000, owner: "ann" });
        expect(spaces.nextGeneration()).toBe(2);
      }));

    it("has members, whose access changes, and knows its owner", () =>
      withSpaces((spaces) => {
        spaces.write({ ...SPACE, owner: "ann" });
        expect(spaces.isOwnerKnown()).toBe(true);
        spaces.putMember("ben", "use");
        spaces.putMember("cleo", "use");
        spaces.putMember("ben", "manage");
        spaces.removeMember("cleo");
        spaces.removeMember("nobody");
        expect(spaces.read()?.members).toEqual(new Map([["ben", "manage"]]));
        spaces.adopt("dora");
        expect(spaces.read()?.owner).toBe("dora");
      }));

    it("counts generations from 1, never the same twice", () =>
      withSpaces((spaces, sql) => {
        spaces.write(SPACE);
        expect([spaces.nextGeneration(), spaces.nextGeneration()]).toEqual([1, 2]);
        expect(new SpaceStore(sql).nextGeneration()).toBe(3);
      }));

    it("adds to the counts of how jobs ended", () =>
      withSpaces((spaces, sql) => {
        spaces.write(SPACE);
        expect(spaces.ends()).toEqual({ completed: 0, failed: 0, canceled: 0 });
        spaces.countEnds({ completed: 2, failed: 0, canceled: 1 });
        spaces.countEnds({ completed: 1, failed: 4, canceled: 0 });
        spaces.write({ ...SPACE, updatedAt: 2_000 });
        expect(new SpaceStore(sql).ends()).toEqual({ completed: 3, failed: 4, canceled: 1 });
      }));

    it("keeps its secret, the bytes of its jobs and the time that the edge was away, whatever else changes", () =>
      withSpaces((spaces, sql) => {
        const kept = () => {
          const store = new SpaceStore(sql);
          return [store.webhookSecret(), store.keptBytes(), store.awayMs()];
        };
        spaces.write(SPACE);
        expect(kept()).toEqual([null, 0, 0]);
        spaces.keepWebhookSecret("whsec_1");
        spaces.keepBytes(7_000);
        spaces.keepBytes(5_000);
        spaces.addAway(60);
        spaces.addAway(40);
        spaces.write({ ...SPACE, updatedAt: 2_000 });
        spaces.nextGeneration();
        expect(kept()).toEqual(["whsec_1", 5_000, 100]);
      }));

    it("has neither secret nor counts before the space is made", () =>
      withSpaces((spaces) => {
        expect([spaces.webhookSecret(), spaces.keptBytes(), spaces.awayMs()]).toEqual([null, 0, 0]);
        expect(spaces.ends()).toEqual({ completed: 0, failed: 0, canceled: 0 });
      }));

    it("fills in defaults for settings that didn't exist when the row was written", () =>
      withSpaces((spaces, sql) => {
        spaces.write(SPACE);
        sql.run("UPDATE space SET settings = ?", JSON.stringify({ title: "Old" }));
        expect(spaces.read()?.settings).toEqual({ ...DEFAULT_SETTINGS, title: "Old" });
      }));
  });
}
