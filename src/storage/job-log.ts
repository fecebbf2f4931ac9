import { LIMITS } from "../protocol/limits.ts";
import type { LiveProgress, LogEvent } from "../queue/job.ts";
import { type AttemptFiles, NO_FILES } from "../queue/output-files.ts";
import { SegmentLog } from "./segment-log.ts";
import type { Sql } from "./sql.ts";

/** What an attempt has reported up to some place in the log. */
interface AttemptState {
  attempt: number;
  live: LiveProgress;
}

/**
 * The event logs of a space's jobs. When events are dropped, it remembers what the latest attempt had reported
 * by then, so that its progress and its number of outputs are still known.
 */
export class JobLog extends SegmentLog<LogEvent, AttemptState> {
  constructor(sql: Sql) {
    super(sql, { bytes: LIMITS.jobLogBytes }, stateOfLatestAttempt);
  }

  /** What a running attempt has reported, read from the log after the memory was lost. */
  live(ulid: string, attempt: number): LiveProgress {
    return attemptStateAfter(this.remembered(ulid), attempt, this.after(ulid, 0)).live;
  }

  /** Whether output of the attempt was dropped. */
  lacksOutput(ulid: string, attempt: number): boolean {
    const dropped = this.remembered(ulid);
    return dropped?.attempt === attempt && dropped.live.outputs > 0;
  }
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
  let live =
    before?.attempt === attempt ? { ...NOTHING_REPORTED, ...before.live } : NOTHING_REPORTED;
  for (const event of events) {
    if (event.kind === "position" || event.attempt !== attempt) continue;
    if (event.kind === "output") {
      live = { ...live, outputs: live.outputs + 1, lastFrameAt: event.at };
    } else if (event.kind === "file") {
      const files = filesAfter(live.files ?? NO_FILES, event);
      live = { ...live, files, outputs: live.outputs + 1, lastFrameAt: event.at };
    } else {
      const { progress, message, estimatedRemaining, at } = event;
      live = { ...live, progress, message, estimatedRemaining, lastFrameAt: at, reportedAt: at };
    }
  }
  return { attempt, live };
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
