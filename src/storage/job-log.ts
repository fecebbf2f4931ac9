import { byteLength } from "../protocol/codec.ts";
import { LIMITS } from "../protocol/limits.ts";
import type { LiveProgress, LogEvent } from "../queue/job.ts";
import type { Sql } from "./sql.ts";

type Segment = { first_offset: number; last_offset: number; bytes: number; events: string };

/** The outputs and progress of jobs, a row for all events of one job that were stored together. */
export class JobLog {
  private readonly sql: Sql;

  constructor(sql: Sql) {
    this.sql = sql;
  }

  /** Stores new events, and drops the job's oldest ones beyond `LIMITS.jobLogBytes`. */
  append(ulid: string, events: readonly LogEvent[]): void {
    const first = events[0];
    const last = events.at(-1);
    if (!first || !last) return;
    const text = JSON.stringify(events);
    this.sql.run(
      "INSERT INTO job_log (ulid, first_offset, last_offset, bytes, events) VALUES (?, ?, ?, ?, ?)",
      ulid,
      first.offset,
      last.offset,
      byteLength(text),
      text,
    );
    this.trim(ulid);
  }

  /** Events after `offset`, in order. */
  after(ulid: string, offset: number): LogEvent[] {
    const segments = this.sql.all<Segment>(
      "SELECT * FROM job_log WHERE ulid = ? AND last_offset > ? ORDER BY first_offset",
      ulid,
      offset,
    );
    return segments.flatMap(eventsOf).filter((event) => event.offset > offset);
  }

  /** The last offset that was dropped to keep the log small; 0 where all is there. */
  trimmedTo(ulid: string): number {
    const [marker] = this.sql.all<{ last_offset: number }>(
      "SELECT last_offset FROM job_log WHERE ulid = ? AND first_offset = 0",
      ulid,
    );
    return marker?.last_offset ?? 0;
  }

  /** The last offset stored here; 0 where there is none. */
  lastOffset(ulid: string): number {
    const [row] = this.sql.all<{ last: number | null }>(
      "SELECT MAX(last_offset) AS last FROM job_log WHERE ulid = ?",
      ulid,
    );
    return row?.last ?? 0;
  }

  /** Where a running attempt stands, read back after memory was lost. */
  live(ulid: string, attempt: number): LiveProgress {
    const events = this.after(ulid, 0).filter(
      (event) => event.kind !== "position" && event.attempt === attempt,
    );
    const told = events.findLast((event) => event.kind === "progress");
    return {
      progress: told?.progress ?? 0,
      message: told?.message ?? null,
      estimatedRemaining: told?.estimatedRemaining ?? null,
      outputs: events.filter((event) => event.kind === "output").length,
      lastFrameAt: events.at(-1)?.at ?? null,
    };
  }

  remove(ulid: string): void {
    this.sql.run("DELETE FROM job_log WHERE ulid = ?", ulid);
  }

  /** Dropped segments leave one marker of no bytes, so that a follower can be told of the gap. */
  private trim(ulid: string): void {
    const segments = this.sql.all<{ first_offset: number; last_offset: number; bytes: number }>(
      "SELECT first_offset, last_offset, bytes FROM job_log WHERE ulid = ? ORDER BY first_offset",
      ulid,
    );
    let bytes = segments.reduce((sum, segment) => sum + segment.bytes, 0);
    if (bytes <= LIMITS.jobLogBytes) return;
    let cut = 0;
    for (const segment of segments.slice(0, -1)) {
      if (bytes <= LIMITS.jobLogBytes) break;
      bytes -= segment.bytes;
      cut = segment.last_offset;
    }
    if (cut === 0) return;
    this.sql.run("DELETE FROM job_log WHERE ulid = ? AND last_offset <= ?", ulid, cut);
    this.sql.run(
      "INSERT INTO job_log (ulid, first_offset, last_offset, bytes, events) VALUES (?, 0, ?, 0, '[]')",
      ulid,
      cut,
    );
  }
}

function eventsOf(segment: Segment): LogEvent[] {
  return JSON.parse(segment.events);
}
