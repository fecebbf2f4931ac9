import type { z } from "zod";
import { formatPosition, parsePosition } from "../channel/position.ts";
import { backendServerFrame } from "../protocol/backend-jobs.ts";
import type { Json } from "../protocol/codec.ts";
import type { OutputFile } from "../protocol/output-files.ts";

/** Frames of any job's socket: a backend job's frames include all frames of a space's job. */
export const jobFrame = backendServerFrame;
export type JobChannelFrame = z.infer<typeof jobFrame>;
type FrameOf<T extends JobChannelFrame["type"]> = Extract<JobChannelFrame, { type: T }>;
type LoggedFrame = FrameOf<"progress"> | FrameOf<"output">;

interface WithPosition {
  /** Pass this as `since` to continue after this event. */
  position: string;
}

/** The events after position `after`, up to and including `until`, are lost. */
export interface Gap {
  type: "gap";
  after: string;
  until: string;
}

/** The job's whole state. The last progress event has the `result` or the `error`. */
export type JobProgress = FrameOf<"progress"> & WithPosition;
type OutputEvent = Omit<FrameOf<"output">, "delta" | "file" | "preview"> & WithPosition;
/** A piece of the output that an attempt streams. */
export type JobOutput = OutputEvent & { delta: Json };
/**
 * A file that is output; or a preview, which only shows how far the work is, and which the next one replaces. The
 * address of a preview holds until a few seconds after that.
 */
export type JobFile = Omit<OutputEvent, "type"> & {
  type: "file";
  file: OutputFile;
  preview: boolean;
};
/** Another attempt has begun, so the output of earlier attempts is void. */
export interface JobRestart {
  type: "restart";
  job_id: string;
  attempt: number;
}
/** Some output is lost. Drop the output received so far; the output the edge still has follows. */
export interface JobGap extends Gap {
  job_id: string;
}
export type JobEvent = JobProgress | JobOutput | JobFile | JobRestart | JobGap;

/**
 * A snapshot that is still arriving. Its events are held back until it is complete: if the connection
 * broke halfway, the edge would send all of it again and the follower would see the first half twice.
 */
interface Snapshot {
  epoch: string;
  /** The snapshot ends with a progress frame that has this offset or a later one. */
  until: number;
  /** The edge no longer has events up to this offset; 0 if it has all of them. */
  lostUntil: number;
  outputs: FrameOf<"output">[];
}

/** How far a follower has read a job's channel; offset 0 is before its first event. */
export interface JobCursor {
  epoch: string | null;
  offset: number;
  attempt: number;
  snapshot: Snapshot | null;
}

export interface JobRead {
  cursor: JobCursor;
  events: JobEvent[];
}

/** The cursor of a follower that continues after `since`, or starts with a snapshot without it. */
export function cursorAt(since: string | null | undefined): JobCursor {
  const { epoch, offset } = parsePosition(since) ?? { epoch: null, offset: 0 };
  return { epoch, offset, attempt: 0, snapshot: null };
}

/** The `since` to reconnect with; `null` requests a snapshot. */
export function resumeFrom({ epoch, offset }: JobCursor): string | null {
  return epoch === null ? null : formatPosition({ epoch, offset });
}

export function isEnd(event: JobEvent): event is JobProgress {
  return event.type === "progress" && ENDS.includes(event.status);
}

const ENDS: readonly string[] = ["completed", "failed", "canceled"];

/** Reads one frame: returns the events that the follower has not received yet, in order. */
export function readJobFrame(cursor: JobCursor, frame: JobChannelFrame): JobRead {
  switch (frame.type) {
    case "connection":
      return { cursor: applyConnection(cursor, frame), events: [] };
    case "gap":
      return { cursor: applyGap(cursor, frame.offset), events: [] };
    case "progress":
    case "output":
      return cursor.snapshot
        ? readSnapshot(cursor, cursor.snapshot, frame)
        : readLive(cursor, frame);
    default:
      return { cursor, events: [] };
  }
}

function applyConnection(cursor: JobCursor, frame: FrameOf<"connection">): JobCursor {
  const { epoch, offset: until } = frame;
  if (!frame.recovered) {
    return { ...cursor, snapshot: { epoch, until, lostUntil: 0, outputs: [] } };
  }
  const offset = cursor.epoch === epoch ? cursor.offset : until;
  return { ...cursor, epoch, offset, snapshot: null };
}

/** A gap can also arrive in the middle of a connection; a snapshot follows it then, too. */
function applyGap(cursor: JobCursor, offset: number): JobCursor {
  const { epoch, snapshot } = cursor;
  if (snapshot) return { ...cursor, snapshot: { ...snapshot, lostUntil: offset } };
  if (epoch === null || offset <= cursor.offset) return cursor;
  return { ...cursor, snapshot: { epoch, until: offset, lostUntil: offset, outputs: [] } };
}

function readSnapshot(cursor: JobCursor, snapshot: Snapshot, frame: LoggedFrame): JobRead {
  if (frame.type === "output") {
    // Appended in place, because copying a long list for each frame is slow and no other code holds it.
    if (frame.offset > (snapshot.outputs.at(-1)?.offset ?? 0)) snapshot.outputs.push(frame);
    return { cursor, events: [] };
  }
  if (frame.offset < snapshot.until) return { cursor, events: [] };
  const { epoch, lostUntil } = snapshot;
  const attempt = Math.max(cursor.attempt, frame.attempt);
  const next = { epoch, offset: frame.offset, attempt, snapshot: null };
  const isKnown = cursor.epoch === epoch && cursor.offset === frame.offset;
  if (isKnown && cursor.offset > 0) return { cursor: next, events: [] };
  const isLossy = cursor.epoch !== null && cursor.offset > 0;
  const after = isLossy ? resumeFrom(cursor) : lostUntil > 0 ? `${epoch}:0` : null;
  const until = formatPosition({ epoch, offset: lostUntil });
  const { job_id } = frame;
  const gap: JobGap[] = after === null ? [] : [{ type: "gap", job_id, after, until }];
  const known = [...snapshot.outputs, frame].map((logged) => eventOf(logged, epoch));
  return { cursor: next, events: [...gap, ...known] };
}

function readLive(cursor: JobCursor, frame: LoggedFrame): JobRead {
  const { epoch } = cursor;
  if (epoch === null || frame.offset <= cursor.offset) return { cursor, events: [] };
  const { job_id, attempt, offset, skipped = 0 } = frame;
  const events: JobEvent[] = [];
  if (offset - skipped > cursor.offset + 1) {
    const until = formatPosition({ epoch, offset: offset - skipped - 1 });
    const after = formatPosition({ epoch, offset: cursor.offset });
    events.push({ type: "gap", job_id, after, until });
  }
  if (attempt > cursor.attempt && cursor.attempt > 0) {
    events.push({ type: "restart", job_id, attempt });
  }
  const isVoid = frame.type === "output" && attempt < cursor.attempt;
  if (!isVoid) events.push(eventOf(frame, epoch));
  return { cursor: { ...cursor, offset, attempt: Math.max(attempt, cursor.attempt) }, events };
}

function eventOf(frame: LoggedFrame, epoch: string): JobEvent {
  const position = formatPosition({ epoch, offset: frame.offset });
  if (frame.type === "progress") return { ...frame, position };
  const { delta = null, file, preview, ...piece } = frame;
  if (file === undefined) return { ...piece, delta, position };
  return { ...piece, type: "file", file, preview: preview === true, position };
}
