import { type BackendJob, isOver } from "../backend-job-model/backend-job.ts";
import { SILENT_MS, silentAt } from "../objects/silent-sockets.ts";

/** A job that has not ended is erased this long after its last report, milliseconds. */
const UNREPORTED_MS = 604_800_000;
/** How long a socket may wait for a job that does not exist yet, milliseconds. */
const PENDING_MS = 3_600_000;

/** When the job is erased, milliseconds since 1970. */
export function erasedAt(job: BackendJob): number {
  if (isOver(job)) return job.completedAt + Math.ceil(job.resultTtlS * 1_000);
  return job.updatedAt + UNREPORTED_MS;
}

/** The times of a socket on which its deadlines depend, milliseconds since 1970. */
export interface SocketTimes {
  openedAt: number;
  /** Since when it waits for a job that does not exist yet; `null` if the job exists. */
  pending: { since: number } | null;
  /** When it is next sent a `ping`; `null` if it gets none. */
  ping: { at: number } | null;
  /** When its token expires; `null` means never. */
  expiresAt: number | null;
  /** When its last frame came, to within half a minute. */
  heardAt: number;
  pingedAt: number;
}

/** When the socket's token expires, if the job is private: a public job needs no token. */
function expiryOf(times: SocketTimes, job: BackendJob | null): number | null {
  return job?.visibility === "private" ? times.expiresAt : null;
}

/** When something is next due for a socket, milliseconds since 1970; `null` if nothing is. */
export function socketDueAt(times: SocketTimes, job: BackendJob | null): number | null {
  const due = [
    times.pending === null ? null : times.pending.since + PENDING_MS,
    times.ping?.at ?? null,
    expiryOf(times, job),
  ].filter((at) => at !== null);
  return due.length === 0 ? null : Math.min(...due);
}

/**
 * What is due for a socket now. No alarm is set for silence: it is noticed when the alarm goes off for something
 * else.
 */
export function dueOf(
  times: SocketTimes,
  job: BackendJob | null,
  { lastPingAt, resumedAt }: { lastPingAt: number | null; resumedAt: number },
  now: number,
): "unmade" | "expired" | "silent" | "ping" | null {
  if (times.pending !== null && now >= times.pending.since + PENDING_MS) return "unmade";
  const expiresAt = expiryOf(times, job);
  if (expiresAt !== null && now >= expiresAt) return "expired";
  const silentFrom = silentAt(times, lastPingAt);
  if (silentFrom !== null && now >= Math.max(silentFrom, resumedAt + SILENT_MS)) return "silent";
  return times.ping !== null && now >= times.ping.at ? "ping" : null;
}
