import { LIMITS } from "../protocol/limits.ts";
import type { LiveProgress, LogEvent } from "../queue/job.ts";
import { SegmentLog } from "./segment-log.ts";
import type { Sql } from "./sql.ts";

/** Where an attempt stands after some part of the log. */
interface Standing {
  attempt: number;
  live: LiveProgress;
}

/** The outputs and progress of jobs. Of what was dropped it knows where the last attempt stood by then. */
export class JobLog extends SegmentLog<LogEvent, Standing> {
  constructor(sql: Sql) {
    super(sql, { bytes: LIMITS.jobLogBytes }, standingAfterAll);
  }

  /** Where a running attempt stands, read back after memory was lost. */
  live(ulid: string, attempt: number): LiveProgress {
    return standingAfter(this.remembered(ulid), attempt, this.after(ulid, 0)).live;
  }

  /** Whether pieces of what the attempt streamed were dropped. */
  lacksOutput(ulid: string, attempt: number): boolean {
    const dropped = this.remembered(ulid);
    return dropped?.attempt === attempt && dropped.live.outputs > 0;
  }
}

const NOTHING_TOLD: LiveProgress = {
  progress: 0,
  message: null,
  estimatedRemaining: null,
  outputs: 0,
  lastFrameAt: null,
};

function standingAfterAll(before: Standing | null, events: readonly LogEvent[]): Standing | null {
  const attempt = events.findLast((event) => event.kind !== "position")?.attempt;
  return attempt === undefined ? before : standingAfter(before, attempt, events);
}

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
