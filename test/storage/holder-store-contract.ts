import { describe, expect, it } from "vitest";
import { HolderStore } from "../../src/storage/holder-store.ts";
import type { WithSql } from "./with-sql.ts";

const ROOM = { kind: "room", name: "user:ann", credential: "session:s1:member" };

/** What `HolderStore` does on each kind of SQLite. */
export function holderStoreContract(withSql: WithSql): void {
  describe("the store of a holder", () => {
    it("makes no tables before there is a row", () =>
      withSql((sql) => {
        const store = new HolderStore(sql);
        expect([store.all(), store.count(), store.nextDueAt()]).toEqual([[], 0, null]);
        expect(sql.all("SELECT name FROM sqlite_master")).toEqual([]);
      }));

    it("has one row for each object and credential, the one that is due first before the others", () =>
      withSql((sql) => {
        const store = new HolderStore(sql);
        store.add(ROOM, 1, 30);
        store.add({ ...ROOM, credential: "key:k1:admin" }, 2, 20);
        store.add(ROOM, 3, 10);
        expect(new HolderStore(sql).all()).toEqual([
          { ...ROOM, credential: "key:k1:admin", since: 2, due_at: 20, registrations: 1 },
          { ...ROOM, since: 1, due_at: 30, registrations: 2 },
        ]);
        expect([store.count(), store.nextDueAt()]).toEqual([2, 20]);
      }));

    it("keeps a row that was registered again since it was read", () =>
      withSql((sql) => {
        const store = new HolderStore(sql);
        store.add(ROOM, 1, 30);
        const [before] = store.all();
        store.add(ROOM, 1, 30);
        if (before) store.remove(before);
        expect(store.count()).toBe(1);
        const [now] = store.all();
        if (now) store.postpone(now, 90);
        expect(store.nextDueAt()).toBe(90);
        if (now) store.remove(now);
        expect(store.count()).toBe(0);
      }));
  });
}
