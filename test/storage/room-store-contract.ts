import { describe, expect, it } from "vitest";
import { type RoomStore, RoomStores, type StoredRoomEvent } from "../../src/storage/room-store.ts";
import { migrateTo } from "../../src/storage/schema.ts";
import { CHANNEL_LOG_TABLE } from "../../src/storage/segment-log.ts";
import type { WithSql } from "./with-sql.ts";

const AT = 1_800_000_000_000;

function eventOf(offset: number): StoredRoomEvent {
  return { offset, at: AT + offset, id: `e${offset}`, type: "step.done", data: { n: offset } };
}

function append(store: RoomStore, ...offsets: number[]): void {
  const events = offsets.map(eventOf);
  store.append(events, new Set(events.map(({ id }) => id)));
}

/** The first version of the schema, for one room. */
const FIRST = [
  CHANNEL_LOG_TABLE,
  `CREATE TABLE event_ids (
    id TEXT PRIMARY KEY,
    offset INTEGER NOT NULL,
    at INTEGER NOT NULL
  ) STRICT, WITHOUT ROWID`,
  "CREATE INDEX event_ids_offset ON event_ids (offset)",
];

export function roomStoreContract(withSql: WithSql): void {
  describe("the events of a room", () => {
    it("have no store before anything was stored", () =>
      withSql((sql) => expect(new RoomStores(sql).find(null)).toBe(null)));

    it("are found again, also by the ids with which they were published", () =>
      withSql((sql) => {
        append(new RoomStores(sql).make(null), 1, 2);
        const store = new RoomStores(sql).find(null);
        expect(store?.held).toEqual({ first: 1, last: 2 });
        expect(store?.after(0)).toEqual([eventOf(1), eventOf(2)]);
        expect(store?.known("e2")).toEqual({ offset: 2, at: AT + 2 });
        expect(store?.known("e3")).toBe(null);
      }));

    it("that the first version of the schema stored are all still there", () =>
      withSql((sql) => {
        migrateTo(sql, [FIRST]);
        const row = JSON.stringify([eventOf(1)]);
        sql.run(
          "INSERT INTO channel_log VALUES ('events', 1, 1, ?, ?, ?)",
          row.length,
          AT + 1,
          row,
        );
        sql.run("INSERT INTO event_ids VALUES ('e1', 1, ?)", AT + 1);
        const store = new RoomStores(sql).make(null);
        expect(store.after(0)).toEqual([eventOf(1)]);
        expect(store.known("e1")).toEqual({ offset: 1, at: AT + 1 });
        append(store, 2);
        expect(store.held).toEqual({ first: 1, last: 2 });
      }));

    it("are separate for each room if several rooms share a database, and so are their ids", () =>
      withSql((sql) => {
        const stores = new RoomStores(sql);
        const [first, other] = [stores.make("user:ann"), stores.make("user:bo")];
        append(first, 1, 2, 3);
        append(other, 1);
        expect(first.known("e1")).toEqual({ offset: 1, at: AT + 1 });
        expect(other.known("e2")).toBe(null);
        first.erase();
        expect(first.held).toEqual({ first: 1, last: 0 });
        expect(first.known("e1")).toBe(null);
        expect(other.after(0)).toEqual([eventOf(1)]);
        expect(other.known("e1")).toEqual({ offset: 1, at: AT + 1 });
      }));

    it("are dropped with their ids once they are too old, and offsets go on from there", () =>
      withSql((sql) => {
        const store = new RoomStores(sql).make("user:ann");
        append(store, 1, 2);
        expect(store.expiresAt()).toBe(AT + 2 + 86_400_000);
        store.expire(AT + 2 + 86_400_000);
        expect(store.held).toEqual({ first: 3, last: 2 });
        expect(store.known("e1")).toBe(null);
        expect(store.expiresAt()).toBe(null);
      }));
  });
}
