import type { JsonObject } from "../protocol/codec.ts";
import { isMigrated, migrateTo } from "./schema.ts";
import { CHANNEL_LOG_TABLE, type LogLimits, SegmentLog } from "./segment-log.ts";
import type { Sql } from "./sql.ts";

/** A published event as it is stored. */
export interface StoredRoomEvent {
  offset: number;
  at: number;
  id: string;
  type: string;
  data: JsonObject;
}

/** How many events a room keeps; beyond these limits the oldest are dropped. */
const LIMITS: LogLimits = { events: 10_000, bytes: 4_194_304, ageMs: 86_400_000 };

/** The channel in the log of an object that has only one room. */
const ONLY = "events";

/** Append-only: a migration that has run anywhere must not be changed. */
const MIGRATIONS = [
  [
    CHANNEL_LOG_TABLE,
    `CREATE TABLE event_ids (
      id TEXT PRIMARY KEY,
      offset INTEGER NOT NULL,
      at INTEGER NOT NULL
    ) STRICT, WITHOUT ROWID`,
    "CREATE INDEX event_ids_offset ON event_ids (offset)",
  ],
  [
    `CREATE TABLE named_events (
      channel TEXT NOT NULL,
      id TEXT NOT NULL,
      offset INTEGER NOT NULL,
      at INTEGER NOT NULL,
      PRIMARY KEY (channel, id)
    ) STRICT, WITHOUT ROWID`,
    `INSERT INTO named_events SELECT '${ONLY}', id, offset, at FROM event_ids`,
    "CREATE INDEX named_events_offset ON named_events (channel, offset)",
    "DROP TABLE event_ids",
  ],
];

/** Stores the events of an object's rooms (decision 0028). A room that is the object's only one is named `null`. */
export class RoomStores {
  private readonly sql: Sql;
  private readonly log: SegmentLog<StoredRoomEvent>;
  private hasTables: boolean;

  constructor(sql: Sql) {
    this.sql = sql;
    this.log = new SegmentLog(sql, LIMITS);
    this.hasTables = isMigrated(sql);
    if (this.hasTables) migrateTo(sql, MIGRATIONS);
  }

  /** The store of a room; `null` if the object has no tables yet, as a room that is only followed needs none. */
  find(room: string | null): RoomStore | null {
    return this.hasTables ? this.open(room) : null;
  }

  /** The store of a room; makes the tables if there are none. */
  make(room: string | null): RoomStore {
    if (!this.hasTables) migrateTo(this.sql, MIGRATIONS);
    this.hasTables = true;
    return this.open(room);
  }

  /** Must be called when all storage of the object was erased, the tables included. */
  forget(): void {
    this.hasTables = false;
  }

  private open(room: string | null): RoomStore {
    return new RoomStore(this.sql, this.log, room ?? ONLY);
  }
}

/** Stores the events of one room. */
export class RoomStore {
  private readonly sql: Sql;
  private readonly channel: string;
  private readonly log: SegmentLog<StoredRoomEvent>;

  constructor(sql: Sql, log: SegmentLog<StoredRoomEvent>, channel: string) {
    this.sql = sql;
    this.channel = channel;
    this.log = log;
  }

  /** The offsets of the events that are stored. */
  get held() {
    return this.log.storedRange(this.channel);
  }

  after(offset: number, count?: number): StoredRoomEvent[] {
    return this.log.after(this.channel, offset, count);
  }

  /** About how many bytes the events after `offset` have. */
  bytesAfter(offset: number): number {
    return this.log.bytesAfter(this.channel, offset);
  }

  /** The first events after `offset`, at least one if there are any, until they have about so many bytes. */
  firstAfter(offset: number, bytes: number): StoredRoomEvent[] {
    return this.log.firstAfter(this.channel, offset, bytes);
  }

  /** The stored events from offset `first` to offset `last`, in order. */
  between(first: number, last: number): StoredRoomEvent[] {
    return this.log.between(this.channel, first, last);
  }

  /** Stores events in order. `named` are the ids that publishers chose; they are kept to recognize repeats. */
  append(events: readonly StoredRoomEvent[], named: ReadonlySet<string>): void {
    const { sql, channel } = this;
    for (const { id, offset, at } of events) {
      if (!named.has(id)) continue;
      const query = "INSERT INTO named_events (channel, id, offset, at) VALUES (?, ?, ?, ?)";
      sql.run(query, channel, id, offset, at);
    }
    this.log.append(channel, events);
    this.forgetIds();
  }

  /** The event that was published with this id; `null` if there is none or it was dropped. */
  known(id: string): { offset: number; at: number } | null {
    const query = "SELECT offset, at FROM named_events WHERE channel = ? AND id = ?";
    return this.sql.all<{ offset: number; at: number }>(query, this.channel, id)[0] ?? null;
  }

  /** Drops the events that are too old. */
  expire(now: number): void {
    this.log.expire(this.channel, now);
    this.forgetIds();
  }

  /** When the oldest event becomes too old; `null` if there are no events. */
  expiresAt(): number | null {
    return this.log.expiresAt(this.channel);
  }

  erase(): void {
    this.log.remove(this.channel);
    this.sql.run("DELETE FROM named_events WHERE channel = ?", this.channel);
  }

  private forgetIds(): void {
    const { sql, channel } = this;
    const trimmed = this.log.trimmedTo(channel);
    if (trimmed === 0) return;
    sql.run("DELETE FROM named_events WHERE channel = ? AND offset <= ?", channel, trimmed);
  }
}
