import { LIMITS } from "../protocol/limits.ts";
import type { LiveProgress, LogEvent } from "../queue/job.ts";
import { SegmentLog } from "./segment-log.ts";
import type { Sql } from "./sql.ts";

/** Where an attempt stands after some part of the log. */
interface AttemptState {
  attempt: number;
  live: LiveProgress;
}

/** The outputs and progress of jobs. Of what was dropped it knows where the last attempt stood by then. */
export class JobLog extends SegmentLog<LogEvent, AttemptState> {
  constructor(sql: Sql) {
    super(sql, { bytes: LIMITS.jobLogBytes }, stateOfLatestAttempt);
  }

  /** Where a running attempt stands, read back after memory was lost. */
  live(ulid: string, attempt: number): LiveProgress {
    return attemptStateAfter(this.remembered(ulid), attempt, this.after(ulid, 0)).live;
  }

  /** Whether pieces of what the attempt streamed were dropped. */
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
};

function stateOfLatestAttempt(
  before: AttemptState | null,
  events: readonly LogEvent[],
): AttemptState | null {
  const attempt = events.findLast((event) => event.kind !== "position")?.attempt;
  return attempt === undefined ? before : attemptStateAfter(before, attempt, events);
}

/** Goes on from where the same attempt stood before, or from nothing. */
function attemptStateAfter(
  before: AttemptState | null,
  attempt: number,
  events: readonly LogEvent[],
): AttemptState {
  let live = before?.attempt === attempt ? before.live : NOTHING_REPORTED;
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
