import { type BackendJob, isOver } from "../backend-job-model/backend-job.ts";

/** A job whose backend says nothing for so long is given up. */
const UNREPORTED_MS = 604_800_000;
/** How long a socket may wait for a job that nobody makes. */
const PENDING_MS = 3_600_000;
/** A client that has pinged, and then says nothing for so long, is gone. */
const SILENT_MS = 180_000;

/** When the job is erased. */
export function erasedAt(job: BackendJob): number {
  if (isOver(job)) return job.completedAt + Math.ceil(job.resultTtlS * 1_000);
  return job.updatedAt + UNREPORTED_MS;
}

/** What the edge knows of a socket's time. */
export interface SocketTimes {
  pending: { since: number } | null;
  ping: { at: number } | null;
  /** When its token runs out; `null`: never. */
  expiresAt: number | null;
  /** The last frame of its own. */
  heardAt: number;
}

/** Reading a private job takes a token that is good; any other job needs none. */
function expiryOf(times: SocketTimes, job: BackendJob | null): number | null {
  return job?.visibility === "private" ? times.expiresAt : null;
}

/** When something of a socket is next due; `null` where nothing is. */
export function socketDueAt(times: SocketTimes, job: BackendJob | null): number | null {
  const due = [
    times.pending === null ? null : times.pending.since + PENDING_MS,
    times.ping?.at ?? null,
    expiryOf(times, job),
  ].filter((at) => at !== null);
  return due.length === 0 ? null : Math.min(...due);
}

/** What is due of a socket now. Silence has no alarm of its own: it is found when one rings. */
export function dueOf(
  times: SocketTimes,
  job: BackendJob | null,
  lastPingAt: number | null,
  now: number,
): "unmade" | "expired" | "silent" | "ping" | null {
  if (times.pending !== null && now >= times.pending.since + PENDING_MS) return "unmade";
  const expiresAt = expiryOf(times, job);
  if (expiresAt !== null && now >= expiresAt) return "expired";
  if (lastPingAt !== null && now >= Math.max(lastPingAt, times.heardAt) + SILENT_MS)
    return "silent";
  return times.ping !== null && now >= times.ping.at ? "ping" : null;
}
