import { decodeTime } from "ulid";
import { dueAt } from "../queue/deadline.ts";
import type { ProcessingJob } from "../queue/job.ts";
import type { SpaceCore } from "./space-core.ts";
import { LEASE_S } from "./workers/leases.ts";

/** An alarm that is later than this, milliseconds, was late because the edge was away. */
const LATE_MS = 2_000;

/**
 * Finds out, when a space's object starts, whether the edge was away: killed, or its machine asleep. Nothing
 * is written while it is away or idle, so the signs are what should have happened and did not: workers' sockets
 * are gone without a close, or a limit ran out and no alarm went off.
 *
 * @param alarmAt when the alarm was to go off; `null` if that is not known
 * @returns the attempts whose worker must come back, and for how long the edge was away at most, milliseconds;
 *   0 if it was not
 */
export function absenceOf(
  core: SpaceCore,
  alarmAt: number | null,
  now: number,
): { orphans: ProcessingJob[]; awayMs: number } {
  const present = new Set(
    core.connections.readyWorkers().map(({ attachment }) => attachment.state.generation),
  );
  const absent = core.jobs.runningJobs().filter(({ generation }) => !present.has(generation));
  const isLate = (due: number | null) => due !== null && now - due > LATE_MS;
  const orphans = absent.filter((job) => job.detachedAt === null || isLate(dueAt(job)));
  if (orphans.length === 0 && !isLate(core.store.earliestQueueDue())) {
    return { orphans, awayMs: 0 };
  }
  return { orphans, awayMs: Math.max(1, now - lastSignAt(core, alarmAt, now)) };
}

/** The latest time at which the edge is known to have been there, milliseconds since 1970. */
function lastSignAt({ jobs, store }: SpaceCore, alarmAt: number | null, now: number): number {
  const running = jobs.runningJobs();
  const newest = store.newestUlid();
  const signs = running.flatMap(({ updatedAt, live }) => [updatedAt, live.lastFrameAt ?? 0]);
  if (newest !== null) signs.push(decodeTime(newest));
  // While attempts run, the alarm checks the leases: it was set at most one lease before it was to go off.
  if (running.length > 0 && alarmAt !== null) signs.push(alarmAt - LEASE_S * 1_000);
  return Math.min(now, Math.max(0, ...signs));
}
