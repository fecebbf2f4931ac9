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

/** Where an object keeps one room: the log of that has no name of its own. */
const ONLY = "events";

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

/** The events of an object's rooms, each of which has its name there, or `null` where it is the only one. */
export class RoomStores {
  private readonly sql: Sql;
  private readonly log: SegmentLog<RoomEvent>;
  private hasTables: boolean;

  constructor(sql: Sql) {
    this.sql = sql;
    this.log = new SegmentLog(sql, LIMITS);
    this.hasTables = isMigrated(sql);
    if (this.hasTables) migrateTo(sql, MIGRATIONS);
  }

  /** What was stored of a room; `null` where there are no tables: rooms that are only followed need none. */
  find(room: string | null): RoomStore | null {
    return this.hasTables ? this.open(room) : null;
  }

  make(room: string | null): RoomStore {
    if (!this.hasTables) migrateTo(this.sql, MIGRATIONS);
    this.hasTables = true;
    return this.open(room);
  }

  /** Everything in the object was erased. */
  forget(): void {
    this.hasTables = false;
  }

  private open(room: string | null): RoomStore {
    return new RoomStore(this.sql, this.log, room ?? ONLY);
  }
}

/** The events of one room. */
export class RoomStore {
  private readonly sql: Sql;
  private readonly channel: string;
  private readonly log: SegmentLog<RoomEvent>;

  constructor(sql: Sql, log: SegmentLog<RoomEvent>, channel: string) {
    this.sql = sql;
    this.channel = channel;
    this.log = log;
  }

  get held() {
    return this.log.storedRange(this.channel);
  }

  after(offset: number, count?: number): RoomEvent[] {
    return this.log.after(this.channel, offset, count);
  }

  /** Stores events in order; `named` are the ids that publishers chose, and may use again by mistake. */
  append(events: readonly RoomEvent[], named: ReadonlySet<string>): void {
    const { sql, channel } = this;
    for (const { id, offset, at } of events) {
      if (!named.has(id)) continue;
      const query = "INSERT INTO named_events (channel, id, offset, at) VALUES (?, ?, ?, ?)";
      sql.run(query, channel, id, offset, at);
    }
    this.log.append(channel, events);
    this.forgetIds();
  }

  /** The event that was published under this id, as long as the room remembers it. */
  known(id: string): { offset: number; at: number } | null {
    const query = "SELECT offset, at FROM named_events WHERE channel = ? AND id = ?";
    return this.sql.all<{ offset: number; at: number }>(query, this.channel, id)[0] ?? null;
  }

  /** Drops what is too old. */
  expire(now: number): void {
    this.log.expire(this.channel, now);
    this.forgetIds();
  }

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
