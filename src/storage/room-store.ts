import type { JsonObject } from "../protocol/codec.ts";
import { isMigrated, migrateTo } from "./schema.ts";
import { CHANNEL_LOG_TABLE, type LogLimits, SegmentLog } from "./segment-log.ts";
import type { Sql } from "./sql.ts";

/** A published event in its place. */
export interface RoomEvent {
  offset: number;
  at: number;
  id: string;
  type: string;
  data: JsonObject;
}

/** What a room keeps of its events, the oldest dropped first. */
const LIMITS: LogLimits = { events: 10_000, bytes: 4_194_304, ageMs: 86_400_000 };

/** The room's only log, in the table of logs. */
const CHANNEL = "events";

/** Append-only: a migration that has run anywhere is never changed. */
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
];

/** The events of one room. */
export class RoomStore {
  private readonly sql: Sql;
  private readonly log: SegmentLog<RoomEvent>;

  private constructor(sql: Sql) {
    this.sql = sql;
    this.log = new SegmentLog(sql, LIMITS);
  }

  /** The log that was made here; `null` where none was: a room that is only followed has none. */
  static find(sql: Sql): RoomStore | null {
    return isMigrated(sql) ? RoomStore.make(sql) : null;
  }

  static make(sql: Sql): RoomStore {
    migrateTo(sql, MIGRATIONS);
    return new RoomStore(sql);
  }

  get held() {
    return this.log.held(CHANNEL);
  }

  after(offset: number, count?: number): RoomEvent[] {
    return this.log.after(CHANNEL, offset, count);
  }

  /** Stores events in order; `named` are the ids that publishers chose, and may use again by mistake. */
  append(events: readonly RoomEvent[], named: ReadonlySet<string>): void {
    for (const { id, offset, at } of events) {
      if (!named.has(id)) continue;
      this.sql.run("INSERT INTO event_ids (id, offset, at) VALUES (?, ?, ?)", id, offset, at);
    }
    this.log.append(CHANNEL, events);
    this.forgetIds();
  }

  /** The event that was published under this id, as long as the room remembers it. */
  known(id: string): { offset: number; at: number } | null {
    const query = "SELECT offset, at FROM event_ids WHERE id = ?";
    return this.sql.all<{ offset: number; at: number }>(query, id)[0] ?? null;
  }

  /** Drops what is too old. */
  expire(now: number): void {
    this.log.expire(CHANNEL, now);
    this.forgetIds();
  }

  expiresAt(): number | null {
    return this.log.expiresAt(CHANNEL);
  }

  private forgetIds(): void {
    const trimmed = this.log.trimmedTo(CHANNEL);
    if (trimmed > 0) this.sql.run("DELETE FROM event_ids WHERE offset <= ?", trimmed);
  }
}
