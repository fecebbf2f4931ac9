import { byteLength } from "../protocol/codec.ts";
import type { Sql } from "./sql.ts";

/** What has a place in a channel. */
export interface LoggedEvent {
  /** Gapless within the channel, from 1. */
  offset: number;
  /** When it happened, milliseconds since 1970. */
  at: number;
}

/** What a log may hold; whatever is beyond goes, the oldest first. */
export interface LogLimits {
  bytes: number;
  events?: number;
  ageMs?: number;
}

/** Which offsets a log still holds: `first` is `last + 1` where it holds none. */
export interface OffsetRange {
  first: number;
  last: number;
}

/** Events stored together. `bytes` counts what was ever stored in the channel, to the end of this. */
type Segment = { first_offset: number; last_offset: number; bytes: number; events: string };

/** What is kept of events that were dropped, made of what was kept before and the newly dropped. */
export type Remember<E, M> = (kept: M | null, dropped: readonly E[]) => M | null;

/**
 * Event logs of channels, a row for all events of one channel that were stored together. What was
 * dropped to keep a log small leaves a marker of offset 0: where the rest begins, and what is
 * remembered of the dropped.
 */
export class SegmentLog<E extends LoggedEvent, M = never> {
  private readonly sql: Sql;
  private readonly limits: LogLimits;
  private readonly remember: Remember<E, M>;

  constructor(sql: Sql, limits: LogLimits, remember: Remember<E, M> = () => null) {
    this.sql = sql;
    this.limits = limits;
    this.remember = remember;
  }

  /** Stores new events, in order, and drops the channel's oldest ones beyond the limits. */
  append(channel: string, events: readonly E[]): void {
    const newest = events.at(-1);
    if (!newest) return;
    let bytes = this.newest(channel)?.bytes ?? 0;
    let first = 0;
    for (const segment of inSegments(events)) {
      bytes += segment.bytes;
      first = segment.first;
      const text = `[${segment.texts.join()}]`;
      this.insert(channel, segment.first, segment.last, bytes, segment.at, text);
    }
    const marker = this.marker(channel);
    const dropped = Math.max(
      this.oversize(channel, first, bytes - this.limits.bytes, marker),
      this.surplus(channel, newest.offset),
      this.outdated(channel, newest.at),
    );
    this.drop(channel, Math.min(dropped, first - 1), marker);
  }

  /** Drops what is too old by now, the newest too. */
  expire(channel: string, now: number): void {
    this.drop(channel, this.outdated(channel, now), this.marker(channel));
  }

  /** When the oldest event becomes too old; `null` where none ever does. */
  expiresAt(channel: string): number | null {
    if (this.limits.ageMs === undefined) return null;
    const [oldest] = this.sql.all<{ at: number }>(
      "SELECT at FROM channel_log WHERE channel = ? AND first_offset > 0 ORDER BY first_offset LIMIT 1",
      channel,
    );
    return oldest ? oldest.at + this.limits.ageMs : null;
  }

  /** Events after `offset`, in order, `count` of them at most. */
  after(channel: string, offset: number, count = Number.POSITIVE_INFINITY): E[] {
    // Every segment has one event at least.
    const segments = this.sql.all<Segment>(
      `SELECT first_offset, last_offset, bytes, events FROM channel_log
       WHERE channel = ? AND first_offset > 0 AND last_offset > ? ORDER BY first_offset LIMIT ?`,
      channel,
      offset,
      Number.isFinite(count) ? count : -1,
    );
    const events = segments.flatMap((segment) => this.eventsOf(segment));
    return events.filter((event) => event.offset > offset).slice(0, count);
  }

  storedRange(channel: string): OffsetRange {
    return { first: this.trimmedTo(channel) + 1, last: this.lastOffset(channel) };
  }

  /** The last offset that was dropped to keep the log small; 0 where all is there. */
  trimmedTo(channel: string): number {
    return this.marker(channel)?.last_offset ?? 0;
  }

  /** The last offset stored here; 0 where there is none. */
  lastOffset(channel: string): number {
    return this.newest(channel)?.last_offset ?? 0;
  }

  /** Bytes the log takes, about. */
  bytesOf(channel: string): number {
    return Math.min(this.limits.bytes, this.newest(channel)?.bytes ?? 0);
  }

  /** What is remembered of the dropped; `null` where nothing is. */
  remembered(channel: string): M | null {
    return keptBy(this.marker(channel));
  }

  remove(channel: string): void {
    this.sql.run("DELETE FROM channel_log WHERE channel = ?", channel);
  }

  /** The last offset that must go where so many bytes are too many. */
  private oversize(channel: string, newest: number, surplus: number, marker?: Segment): number {
    if (surplus <= (marker?.bytes ?? 0)) return 0;
    const [cut] = this.sql.all<{ last_offset: number }>(
      `SELECT last_offset FROM channel_log WHERE channel = ? AND first_offset BETWEEN 1 AND ?
       AND bytes >= ? ORDER BY first_offset LIMIT 1`,
      channel,
      newest - 1,
      surplus,
    );
    return cut?.last_offset ?? newest - 1;
  }

  /** The last offset that must go where there are too many events: those stored together stay together. */
  private surplus(channel: string, last: number): number {
    const { events } = this.limits;
    if (events === undefined || last <= events) return 0;
    const [cut] = this.sql.all<{ last_offset: number }>(
      `SELECT last_offset FROM channel_log WHERE channel = ? AND first_offset BETWEEN 1 AND ?
       AND last_offset <= ? ORDER BY first_offset DESC LIMIT 1`,
      channel,
      last - events,
      last - events,
    );
    return cut?.last_offset ?? 0;
  }

  /** The last offset that is too old. */
  private outdated(channel: string, now: number): number {
    const { ageMs } = this.limits;
    if (ageMs === undefined) return 0;
    const [kept] = this.sql.all<{ first_offset: number }>(
      `SELECT first_offset FROM channel_log WHERE channel = ? AND first_offset > 0 AND at > ?
       ORDER BY first_offset LIMIT 1`,
      channel,
      now - ageMs,
    );
    return kept ? kept.first_offset - 1 : this.lastOffset(channel);
  }

  private drop(channel: string, to: number, marker: Segment | undefined): void {
    if (to < 1) return;
    const segments = this.sql.all<Segment>(
      `SELECT first_offset, last_offset, bytes, events FROM channel_log
       WHERE channel = ? AND first_offset BETWEEN 1 AND ? ORDER BY first_offset`,
      channel,
      to,
    );
    const cut = segments.at(-1);
    if (!cut) return;
    const dropped = segments.flatMap((segment) => this.eventsOf(segment));
    const kept = this.remember(keptBy(marker), dropped);
    const query = "DELETE FROM channel_log WHERE channel = ? AND first_offset <= ?";
    this.sql.run(query, channel, cut.last_offset);
    this.insert(channel, 0, cut.last_offset, cut.bytes, 0, JSON.stringify(kept));
  }

  private newest(channel: string): Pick<Segment, "last_offset" | "bytes"> | undefined {
    return this.sql.all<Pick<Segment, "last_offset" | "bytes">>(
      "SELECT last_offset, bytes FROM channel_log WHERE channel = ? ORDER BY first_offset DESC LIMIT 1",
      channel,
    )[0];
  }

  private marker(channel: string): Segment | undefined {
    return this.sql.all<Segment>(
      `SELECT first_offset, last_offset, bytes, events FROM channel_log
       WHERE channel = ? AND first_offset = 0`,
      channel,
    )[0];
  }

  private insert(
    channel: string,
    first: number,
    last: number,
    bytes: number,
    at: number,
    events: string,
  ): void {
    this.sql.run(
      `INSERT INTO channel_log (channel, first_offset, last_offset, bytes, at, events)
       VALUES (?, ?, ?, ?, ?, ?)`,
      channel,
      first,
      last,
      bytes,
      at,
      events,
    );
  }

  private eventsOf(segment: Segment): E[] {
    return JSON.parse(segment.events) as E[];
  }
}

function keptBy<M>(marker: Segment | undefined): M | null {
  return marker ? (JSON.parse(marker.events) as M | null) : null;
}

/** The table of every object that keeps logs. */
export const CHANNEL_LOG_TABLE = `CREATE TABLE channel_log (
  channel TEXT NOT NULL,
  first_offset INTEGER NOT NULL,
  last_offset INTEGER NOT NULL,
  bytes INTEGER NOT NULL,
  at INTEGER NOT NULL DEFAULT 0,
  events TEXT NOT NULL,
  PRIMARY KEY (channel, first_offset)
) STRICT, WITHOUT ROWID`;

/** Events stored together as one row fill this at most, bytes, unless one alone is larger. */
const SEGMENT_BYTES = 262_144;

/** A row holds 2 MB, and a batch may bring more than that for one channel. */
function inSegments(events: readonly LoggedEvent[]) {
  const segments: { first: number; last: number; bytes: number; at: number; texts: string[] }[] =
    [];
  for (const event of events) {
    const { offset, at } = event;
    const text = JSON.stringify(event);
    const bytes = byteLength(text) + 1;
    const open = segments.at(-1);
    if (open && open.bytes + bytes <= SEGMENT_BYTES) {
      open.texts.push(text);
      open.bytes += bytes;
      open.last = offset;
      open.at = at;
    } else segments.push({ first: offset, last: offset, bytes, at, texts: [text] });
  }
  return segments;
}
