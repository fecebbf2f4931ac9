import { byteLength } from "../protocol/codec.ts";
import { parseExact } from "../protocol/exact-json.ts";
import type { Sql } from "./sql.ts";

/** An event of a channel. */
export interface LoggedEvent {
  /** Counts from 1 within the channel, without gaps. */
  offset: number;
  /** When it happened, milliseconds since 1970. */
  at: number;
}

/** How much a log keeps; beyond that the oldest events are dropped. */
export interface LogLimits {
  bytes: number;
  events?: number;
  ageMs?: number;
}

/** The offsets of the events that a log still has; `first` is `last + 1` if it has none. */
export interface OffsetRange {
  first: number;
  last: number;
}

/** Events that were stored together. `bytes` counts everything ever stored in the channel, including this. */
type Segment = { first_offset: number; last_offset: number; bytes: number; events: string };

/** Computes what to remember of dropped events: from what was remembered before, and the newly dropped events. */
export type Remember<E, M> = (kept: M | null, dropped: readonly E[]) => M | null;

/**
 * The event logs of channels (decision 0020). All events of one channel that are stored together are one row,
 * a segment. When events are dropped, a row with `first_offset` 0, the marker, records up to which offset they
 * are gone, and what is remembered of them.
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

  /** Stores new events, in order, and drops the channel's oldest events if the log exceeds its limits. */
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

  /** Drops the events that are too old by now, even if that is all of them. */
  expire(channel: string, now: number): void {
    this.drop(channel, this.outdated(channel, now), this.marker(channel));
  }

  /** When the oldest event becomes too old; `null` if there is no event, or no limit of age. */
  expiresAt(channel: string): number | null {
    if (this.limits.ageMs === undefined) return null;
    const [oldest] = this.sql.all<{ at: number }>(
      "SELECT at FROM channel_log WHERE channel = ? AND first_offset > 0 ORDER BY first_offset LIMIT 1",
      channel,
    );
    return oldest ? oldest.at + this.limits.ageMs : null;
  }

  /** The events after `offset`, in order, at most `count` of them. */
  after(channel: string, offset: number, count = Number.POSITIVE_INFINITY): E[] {
    if (!Number.isFinite(count)) return this.between(channel, offset + 1, Number.MAX_SAFE_INTEGER);
    const start = Math.max(offset, this.trimmedTo(channel));
    return this.between(channel, start + 1, start + count);
  }

  /** The first events after `offset`, at least one if there are any, until they have about so many bytes. */
  firstAfter(channel: string, offset: number, bytes: number): E[] {
    const [cut] = this.sql.all<{ last_offset: number }>(
      `SELECT last_offset FROM channel_log WHERE channel = ? AND first_offset > 0 AND last_offset > ?
       AND bytes >= ? ORDER BY first_offset LIMIT 1`,
      channel,
      offset,
      this.bytesUpTo(channel, offset) + bytes,
    );
    return this.between(channel, offset + 1, cut?.last_offset ?? Number.MAX_SAFE_INTEGER);
  }

  /** The stored events from offset `first` to offset `last`, in order. Reads only the rows that have some of them. */
  between(channel: string, first: number, last: number): E[] {
    // Offsets have no gaps, so the segment with `first` is the last one that does not begin after it.
    const segments = this.sql.all<Segment>(
      `SELECT first_offset, last_offset, bytes, events FROM channel_log
       WHERE channel = ? AND first_offset <= ? AND first_offset >= coalesce((
         SELECT first_offset FROM channel_log WHERE channel = ? AND first_offset BETWEEN 1 AND ?
         ORDER BY first_offset DESC LIMIT 1), 1)
       ORDER BY first_offset`,
      channel,
      last,
      channel,
      first,
    );
    const events = segments.flatMap((segment) => this.eventsOf(segment));
    return events.filter(({ offset }) => offset >= first && offset <= last);
  }

  storedRange(channel: string): OffsetRange {
    return { first: this.trimmedTo(channel) + 1, last: this.lastOffset(channel) };
  }

  /** The last offset that was dropped to keep the log small; 0 if nothing was dropped. */
  trimmedTo(channel: string): number {
    return this.marker(channel)?.last_offset ?? 0;
  }

  /** The last offset that was stored; 0 if there is none. */
  lastOffset(channel: string): number {
    return this.newest(channel)?.last_offset ?? 0;
  }

  /** An estimate of the storage that the log takes, bytes. */
  bytesOf(channel: string): number {
    return Math.min(this.limits.bytes, this.newest(channel)?.bytes ?? 0);
  }

  /** An estimate of how many bytes the events after `offset` have. */
  bytesAfter(channel: string, offset: number): number {
    const after = (this.newest(channel)?.bytes ?? 0) - this.bytesUpTo(channel, offset);
    return Math.min(this.limits.bytes, after);
  }

  /** What is remembered of the dropped events; `null` if nothing is. */
  remembered(channel: string): M | null {
    return keptBy(this.marker(channel));
  }

  remove(channel: string): void {
    this.sql.run("DELETE FROM channel_log WHERE channel = ?", channel);
  }

  /** The last offset to drop for size: the first `surplus` bytes ever stored must go, but never the newest segment. */
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

  /** The last offset to drop because there are too many events. Segments are dropped whole. */
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

  /** The last offset to drop because it is too old. */
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

  /** The bytes that were ever stored in segments which end at `offset` or before. */
  private bytesUpTo(channel: string, offset: number): number {
    const [before] = this.sql.all<{ bytes: number }>(
      `SELECT bytes FROM channel_log WHERE channel = ?1 AND first_offset <= ?2 AND last_offset <= ?2
       ORDER BY first_offset DESC LIMIT 1`,
      channel,
      offset,
    );
    return before?.bytes ?? 0;
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
    return parseExact(segment.events) as unknown as E[];
  }
}

function keptBy<M>(marker: Segment | undefined): M | null {
  return marker ? (JSON.parse(marker.events) as M | null) : null;
}

/** The table of the logs, for the migrations of all objects that have one. */
export const CHANNEL_LOG_TABLE = `CREATE TABLE channel_log (
  channel TEXT NOT NULL,
  first_offset INTEGER NOT NULL,
  last_offset INTEGER NOT NULL,
  bytes INTEGER NOT NULL,
  at INTEGER NOT NULL DEFAULT 0,
  events TEXT NOT NULL,
  PRIMARY KEY (channel, first_offset)
) STRICT, WITHOUT ROWID`;

/** The largest size of a segment with more than one event, bytes. */
const SEGMENT_BYTES = 262_144;

/** Splits events into segments: a row can't be larger than 2 MB, and one batch may have more for one channel. */
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
