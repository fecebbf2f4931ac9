import { byteLength } from "../protocol/codec.ts";
import { LIMITS } from "../protocol/limits.ts";
import type { LiveProgress, LogEvent } from "../queue/job.ts";
import type { Sql } from "./sql.ts";

/** Events stored together. `bytes` counts what was ever stored for the job, to the end of this. */
type Segment = { first_offset: number; last_offset: number; bytes: number; events: string };

/** Where an attempt stands after some part of the log. */
interface Standing {
  attempt: number;
  live: LiveProgress;
}

/**
 * The outputs and progress of jobs, a row for all events of one job that were stored together. What
 * was dropped to keep a log small leaves a marker of offset 0: where the rest begins, and where the
 * last attempt stood by then.
 */
export class JobLog {
  private readonly sql: Sql;

  constructor(sql: Sql) {
    this.sql = sql;
  }

  /** Stores new events, and drops the job's oldest ones beyond `LIMITS.jobLogBytes`. */
  append(ulid: string, events: readonly LogEvent[]): void {
    if (events.length === 0) return;
    let bytes = this.newest(ulid)?.bytes ?? 0;
    let newest = 0;
    for (const segment of inSegments(events)) {
      bytes += segment.bytes;
      newest = segment.first;
      this.insert(ulid, segment.first, segment.last, bytes, `[${segment.texts.join()}]`);
    }
    this.trim(ulid, newest, bytes);
  }

  /** Events after `offset`, in order. */
  after(ulid: string, offset: number): LogEvent[] {
    const segments = this.sql.all<Segment>(
      `SELECT * FROM job_log WHERE ulid = ? AND first_offset > 0 AND last_offset > ?
       ORDER BY first_offset`,
      ulid,
      offset,
    );
    return segments.flatMap(eventsOf).filter((event) => event.offset > offset);
  }

  /** The last offset that was dropped to keep the log small; 0 where all is there. */
  trimmedTo(ulid: string): number {
    return this.marker(ulid)?.last_offset ?? 0;
  }

  /** The last offset stored here; 0 where there is none. */
  lastOffset(ulid: string): number {
    return this.newest(ulid)?.last_offset ?? 0;
  }

  /** Bytes the log of a job takes, about. */
  bytesOf(ulid: string): number {
    return Math.min(LIMITS.jobLogBytes, this.newest(ulid)?.bytes ?? 0);
  }

  /** Where a running attempt stands, read back after memory was lost. */
  live(ulid: string, attempt: number): LiveProgress {
    const before = standingAt(this.marker(ulid));
    return standingAfter(before, attempt, this.after(ulid, 0)).live;
  }

  remove(ulid: string): void {
    this.sql.run("DELETE FROM job_log WHERE ulid = ?", ulid);
  }

  /** Drops the oldest segments, never the newest, until the rest is within the limit. */
  private trim(ulid: string, newestOffset: number, bytes: number): void {
    const surplus = bytes - LIMITS.jobLogBytes;
    const marker = this.marker(ulid);
    if (surplus <= (marker?.bytes ?? 0)) return;
    const dropped = this.oldest(ulid, newestOffset, surplus);
    const cut = dropped.at(-1);
    if (!cut) return;
    const events = dropped.flatMap(eventsOf);
    const attempt = events.findLast((event) => event.kind !== "position")?.attempt;
    const before = standingAt(marker);
    const standing = attempt === undefined ? before : standingAfter(before, attempt, events);
    this.sql.run("DELETE FROM job_log WHERE ulid = ? AND first_offset <= ?", ulid, cut.last_offset);
    this.insert(ulid, 0, cut.last_offset, cut.bytes, JSON.stringify(standing));
  }

  /** The segments before `newestOffset` up to where `bytes` were stored. Reads no row beyond. */
  private oldest(ulid: string, newestOffset: number, bytes: number): Segment[] {
    const [last] = this.sql.all<{ first_offset: number }>(
      `SELECT first_offset FROM job_log WHERE ulid = ? AND first_offset BETWEEN 1 AND ?
       AND bytes >= ? ORDER BY first_offset LIMIT 1`,
      ulid,
      newestOffset - 1,
      bytes,
    );
    return this.sql.all<Segment>(
      "SELECT * FROM job_log WHERE ulid = ? AND first_offset BETWEEN 1 AND ? ORDER BY first_offset",
      ulid,
      last?.first_offset ?? newestOffset - 1,
    );
  }

  private newest(ulid: string): Pick<Segment, "last_offset" | "bytes"> | undefined {
    return this.sql.all<Pick<Segment, "last_offset" | "bytes">>(
      "SELECT last_offset, bytes FROM job_log WHERE ulid = ? ORDER BY first_offset DESC LIMIT 1",
      ulid,
    )[0];
  }

  private marker(ulid: string): Segment | undefined {
    return this.sql.all<Segment>(
      "SELECT * FROM job_log WHERE ulid = ? AND first_offset = 0",
      ulid,
    )[0];
  }

  private insert(ulid: string, first: number, last: number, bytes: number, events: string): void {
    this.sql.run(
      "INSERT INTO job_log (ulid, first_offset, last_offset, bytes, events) VALUES (?, ?, ?, ?, ?)",
      ulid,
      first,
      last,
      bytes,
      events,
    );
  }
}

/** Events stored together as one row fill this at most, bytes, unless one alone is larger. */
const SEGMENT_BYTES = 262_144;

/** A row holds 2 MB, and a batch may bring more than that of one job. */
function inSegments(events: readonly LogEvent[]) {
  const segments: { first: number; last: number; bytes: number; texts: string[] }[] = [];
  for (const event of events) {
    const text = JSON.stringify(event);
    const bytes = byteLength(text) + 1;
    const open = segments.at(-1);
    if (open && open.bytes + bytes <= SEGMENT_BYTES) {
      open.texts.push(text);
      open.bytes += bytes;
      open.last = event.offset;
    } else segments.push({ first: event.offset, last: event.offset, bytes, texts: [text] });
  }
  return segments;
}

const NOTHING_TOLD: LiveProgress = {
  progress: 0,
  message: null,
  estimatedRemaining: null,
  outputs: 0,
  lastFrameAt: null,
};

/** Goes on from where the same attempt stood before, or from nothing. */
function standingAfter(
  before: Standing | null,
  attempt: number,
  events: readonly LogEvent[],
): Standing {
  let live = before?.attempt === attempt ? before.live : NOTHING_TOLD;
  for (const event of events) {
    if (event.kind === "position" || event.attempt !== attempt) continue;
    if (event.kind === "output") {
      live = { ...live, outputs: live.outputs + 1, lastFrameAt: event.at };
    } else {
      const { progress, message, estimatedRemaining, at } = event;
      live = { ...live, progress, message, estimatedRemaining, lastFrameAt: at };
    }
  }
  return { attempt, live };
}

function standingAt(marker: Segment | undefined): Standing | null {
  return marker ? JSON.parse(marker.events) : null;
}

function eventsOf(segment: Segment): LogEvent[] {
  return JSON.parse(segment.events);
}
