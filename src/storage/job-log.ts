import { LIMITS } from "../protocol/limits.ts";
import { roughLength } from "../protocol/rough-length.ts";
import type { LiveProgress, LogEvent } from "../queue/job.ts";
import { type AttemptFiles, NO_FILES } from "../queue/output-files.ts";
import { SegmentLog } from "./segment-log.ts";
import type { Sql } from "./sql.ts";

/** What an attempt has reported up to some place in the log. */
interface AttemptState {
  attempt: number;
  live: LiveProgress;
  /** How many of its outputs were pieces and no files; releases before there were files didn't store it. */
  pieces?: number;
}

/** Events of a running attempt that were told and are not stored yet. */
interface Held {
  events: LogEvent[];
  bytes: number;
}

/** So many bytes of one job, and of all together, are held back from being stored. */
const HELD_BYTES = { ofJob: 65_536, inAll: 4_194_304 };

/**
 * The event logs of a space's jobs. When events are dropped, it remembers what the latest attempt had reported
 * by then, so that its progress and its number of outputs are still known.
 *
 * What a running attempt reports may be held in memory for a while, so that many events become one row (decision
 * 0070). Whoever reads the log gets them as well.
 */
export class JobLog extends SegmentLog<LogEvent, AttemptState> {
  private readonly held = new Map<string, Held>();
  private heldBytes = 0;

  constructor(sql: Sql) {
    super(sql, { bytes: LIMITS.jobLogBytes }, stateOfLatestAttempt);
  }

  /** Whether events are held that must be stored soon. */
  get holdsEvents(): boolean {
    return this.held.size > 0;
  }

  /** Adds events to those that are held; stores them all if they are too many. */
  hold(ulid: string, events: readonly LogEvent[]): void {
    if (events.length === 0) return;
    const held = this.held.get(ulid) ?? { events: [], bytes: 0 };
    const bytes = events.reduce((sum, event) => sum + sizeOf(event), 0);
    for (const event of events) held.events.push(event);
    held.bytes += bytes;
    this.heldBytes += bytes;
    this.held.set(ulid, held);
    if (held.bytes >= HELD_BYTES.ofJob) this.append(ulid, []);
    if (this.heldBytes >= HELD_BYTES.inAll) this.storeHeld();
  }

  /** Stores everything that is held. */
  storeHeld(): void {
    for (const ulid of [...this.held.keys()]) this.append(ulid, []);
  }

  override append(ulid: string, events: readonly LogEvent[]): void {
    const held = this.release(ulid);
    super.append(ulid, held === undefined ? events : [...held.events, ...events]);
  }

  override remove(ulid: string): void {
    this.release(ulid);
    super.remove(ulid);
  }

  override between(ulid: string, first: number, last: number): LogEvent[] {
    const stored = super.between(ulid, first, last);
    const held = this.held.get(ulid);
    if (held === undefined) return stored;
    return [...stored, ...held.events.filter(({ offset }) => offset >= first && offset <= last)];
  }

  override lastOffset(ulid: string): number {
    return this.held.get(ulid)?.events.at(-1)?.offset ?? super.lastOffset(ulid);
  }

  override bytesAfter(ulid: string, offset: number): number {
    const held = this.held.get(ulid)?.events ?? [];
    return held.reduce(
      (sum, event) => sum + (event.offset > offset ? sizeOf(event) : 0),
      super.bytesAfter(ulid, offset),
    );
  }

  private release(ulid: string): Held | undefined {
    const held = this.held.get(ulid);
    if (held === undefined) return undefined;
    this.held.delete(ulid);
    this.heldBytes -= held.bytes;
    return held;
  }

  /** What a running attempt has reported, read from the log after the memory was lost. */
  live(ulid: string, attempt: number): LiveProgress {
    return attemptStateAfter(this.remembered(ulid), attempt, this.after(ulid, 0)).live;
  }

  /** Whether output of the attempt was dropped. */
  lacksOutput(ulid: string, attempt: number): boolean {
    const dropped = this.remembered(ulid);
    return dropped?.attempt === attempt && (dropped.pieces ?? dropped.live.outputs) > 0;
  }
}

/** A guess of what an event has besides its text. */
const EVENT_BYTES = 80;

function sizeOf(event: LogEvent): number {
  if (event.kind === "output") return EVENT_BYTES + roughLength(event.delta);
  return EVENT_BYTES + (event.kind === "progress" ? (event.message?.length ?? 0) : 0);
}

const NOTHING_REPORTED: LiveProgress = {
  progress: 0,
  message: null,
  estimatedRemaining: null,
  outputs: 0,
  lastFrameAt: null,
  reportedAt: null,
};

function stateOfLatestAttempt(
  before: AttemptState | null,
  events: readonly LogEvent[],
): AttemptState | null {
  const attempt = events.findLast((event) => event.kind !== "position")?.attempt;
  return attempt === undefined ? before : attemptStateAfter(before, attempt, events);
}

/** Adds events to the state that the attempt had before them; the events of other attempts don't count. */
function attemptStateAfter(
  before: AttemptState | null,
  attempt: number,
  events: readonly LogEvent[],
): AttemptState {
  const earlier = before?.attempt === attempt ? before : null;
  let pieces = earlier === null ? 0 : (earlier.pieces ?? earlier.live.outputs);
  let live = earlier === null ? NOTHING_REPORTED : { ...NOTHING_REPORTED, ...earlier.live };
  for (const event of events) {
    if (event.kind === "position" || event.attempt !== attempt) continue;
    if (event.kind === "output") {
      pieces += 1;
      live = { ...live, outputs: live.outputs + 1, lastFrameAt: event.at };
    } else if (event.kind === "file") {
      const files = filesAfter(live.files ?? NO_FILES, event);
      live = { ...live, files, outputs: live.outputs + 1, lastFrameAt: event.at };
    } else {
      const { progress, message, estimatedRemaining, at } = event;
      live = { ...live, progress, message, estimatedRemaining, lastFrameAt: at, reportedAt: at };
    }
  }
  return { attempt, live, pieces };
}

/** What the log says of an attempt's files; those that are `stored` have rows of their own. */
function filesAfter(
  files: AttemptFiles,
  { file: { id }, preview }: Extract<LogEvent, { kind: "file" }>,
): AttemptFiles {
  if (preview) return { ...files, preview: id };
  const told = files.told.includes(id) ? files.told : [...files.told, id];
  return { ...files, told, preview: files.preview === id ? null : files.preview };
}
