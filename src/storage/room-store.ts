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

/** Somebody is in the room over a gateway, with so many sockets. */
export interface Presence {
  userId: string;
  via: string;
  connections: number;
  since: number;
}

/** What a room keeps of its events, the oldest dropped first. */
const LIMITS: LogLimits = { events: 10_000, bytes: 4_194_304, ageMs: 86_400_000 };

/** The room's only log, in the table of logs. */
const CHANNEL = "events";

/** Append-only: a migration that has run anywhere is never changed. */
const MIGRATIONS = [
  [
    `CREATE TABLE room (
      only INTEGER PRIMARY KEY CHECK (only = 1),
      epoch TEXT NOT NULL,
      created_at INTEGER NOT NULL
    ) STRICT`,
    CHANNEL_LOG_TABLE,
    `CREATE TABLE event_ids (
      id TEXT PRIMARY KEY,
      offset INTEGER NOT NULL,
      at INTEGER NOT NULL
    ) STRICT, WITHOUT ROWID`,
    "CREATE INDEX event_ids_offset ON event_ids (offset)",
    "CREATE TABLE gateways (name TEXT PRIMARY KEY) STRICT, WITHOUT ROWID",
    `CREATE TABLE presence (
      user_id TEXT NOT NULL,
      via TEXT NOT NULL,
      connections INTEGER NOT NULL,
      since INTEGER NOT NULL,
      PRIMARY KEY (user_id, via)
    ) STRICT, WITHOUT ROWID`,
  ],
];

/** One room: its events, the gateways with its subscribers, and who is there. */
export class RoomStore {
  readonly epoch: string;
  private readonly sql: Sql;
  private readonly log: SegmentLog<RoomEvent>;

  private constructor(sql: Sql, epoch: string) {
    this.sql = sql;
    this.epoch = epoch;
    this.log = new SegmentLog(sql, LIMITS);
  }

  /** The room that was made here; `null` where none was. */
  static find(sql: Sql): RoomStore | null {
    if (!isMigrated(sql)) return null;
    migrateTo(sql, MIGRATIONS);
    const [row] = sql.all<{ epoch: string }>("SELECT epoch FROM room");
    return row ? new RoomStore(sql, row.epoch) : null;
  }

  /** Makes the room; `epoch` tells it from others of its name, before and after. */
  static make(sql: Sql, epoch: string, now: number): RoomStore {
    migrateTo(sql, MIGRATIONS);
    sql.run("INSERT INTO room (only, epoch, created_at) VALUES (1, ?, ?)", epoch, now);
    return new RoomStore(sql, epoch);
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

  gateways(): string[] {
    return this.sql.all<{ name: string }>("SELECT name FROM gateways").map(({ name }) => name);
  }

  addGateway(name: string): void {
    this.sql.run("INSERT OR IGNORE INTO gateways (name) VALUES (?)", name);
  }

  dropGateway(name: string): void {
    this.sql.run("DELETE FROM gateways WHERE name = ?", name);
    this.sql.run("DELETE FROM presence WHERE via = ?", name);
  }

  presence(): Presence[] {
    return this.sql
      .all<{ user_id: string; via: string; connections: number; since: number }>(
        "SELECT user_id, via, connections, since FROM presence ORDER BY since, user_id",
      )
      .map(({ user_id: userId, ...row }) => ({ userId, ...row }));
  }

  presenceOf(userId: string): number {
    const query = "SELECT SUM(connections) AS count FROM presence WHERE user_id = ?";
    return this.sql.all<{ count: number | null }>(query, userId)[0]?.count ?? 0;
  }

  presentVia(via: string): string[] {
    const query = "SELECT user_id AS userId FROM presence WHERE via = ?";
    return this.sql.all<{ userId: string }>(query, via).map(({ userId }) => userId);
  }

  setPresence({ userId, via, connections, since }: Presence): void {
    if (connections === 0) {
      this.sql.run("DELETE FROM presence WHERE user_id = ? AND via = ?", userId, via);
      return;
    }
    this.sql.run(
      `INSERT INTO presence (user_id, via, connections, since) VALUES (?, ?, ?, ?)
       ON CONFLICT (user_id, via) DO UPDATE SET connections = excluded.connections`,
      userId,
      via,
      connections,
      since,
    );
  }

  private forgetIds(): void {
    const trimmed = this.log.trimmedTo(CHANNEL);
    if (trimmed > 0) this.sql.run("DELETE FROM event_ids WHERE offset <= ?", trimmed);
  }
}
