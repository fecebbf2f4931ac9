import type { SpaceStatus } from "../protocol/resources.ts";
import { type Candidate, covers, freeSlots } from "./dispatch.ts";

/** Everything from which the status of a space is computed. */
export interface SpaceSnapshot {
  workers: (Candidate & { name: string | null })[];
  queued: number;
  /** The distinct capability sets that waiting jobs require. */
  requested: readonly (readonly string[])[];
  processing: number;
  /** How many attempts belong to workers that dropped and may still come back. */
  detached: number;
  /** The moving mean of how long a job runs, seconds; `null` before any run was measured. */
  meanRunS: number | null;
}

/** The space's current status, as clients get it. */
export function spaceStatusOf(snapshot: SpaceSnapshot): SpaceStatus {
  const worker = workerState(snapshot.workers, snapshot.detached);
  const names = snapshot.workers.flatMap(({ name }) => name ?? []);
  const reason = waitingReason(snapshot);
  return {
    worker,
    ...(names.length > 0 ? { worker_name: names.join(", ") } : {}),
    queue_size: snapshot.queued,
    processing: snapshot.processing,
    estimated_wait_s: estimatedWait(snapshot, snapshot.queued),
    ...(reason === null ? {} : { waiting_reason: reason }),
  };
}

/** Seconds until a job starts that has `ahead` queued jobs before it; `null` if that can't be estimated. */
export function estimatedWait(snapshot: SpaceSnapshot, ahead: number): number | null {
  const serving = snapshot.workers.filter(({ draining }) => !draining);
  const slots = serving.reduce((sum, { slots }) => sum + slots, 0);
  if (slots === 0) return null;
  const free = serving.reduce((sum, { slots, busy }) => sum + Math.max(0, slots - busy), 0);
  if (ahead < free) return 0;
  if (snapshot.meanRunS === null) return null;
  return Math.round(((ahead - free + 1) * snapshot.meanRunS * 10) / slots) / 10;
}

/** The weight of the newest run in the moving mean: the last ten runs make up nearly all of it. */
const NEWEST_WEIGHT = 0.2;

/** The moving mean after one more run, seconds; `meanS` is `null` before the first. */
export function meanAfter(meanS: number | null, runS: number): number {
  return meanS === null ? runS : meanS + NEWEST_WEIGHT * (runS - meanS);
}

function workerState(
  workers: readonly { draining: boolean }[],
  detached: number,
): SpaceStatus["worker"] {
  if (workers.some(({ draining }) => !draining)) return "connected";
  if (workers.length > 0) return "draining";
  return detached > 0 ? "reconnecting" : "disconnected";
}

function waitingReason(snapshot: SpaceSnapshot): string | null {
  switch (workerState(snapshot.workers, snapshot.detached)) {
    case "disconnected":
      return "No worker is connected.";
    case "reconnecting":
      return "The worker lost its connection and may come back.";
    case "draining":
      return "The worker is finishing its jobs and takes no new ones.";
    default: {
      const missing = snapshot.requested.find((requires) => !isCovered(snapshot, requires));
      if (missing) return lacking(missing);
      return freeSlots(snapshot.workers, []) > 0 ? null : "Every worker is busy.";
    }
  }
}

/** The reason why a job that requires this would wait now, in words; `null` if a worker is free for it. */
export function waitingReasonFor(
  snapshot: SpaceSnapshot,
  requires: readonly string[],
): string | null {
  const { workers } = snapshot;
  if (workers.some(({ draining }) => !draining) && !isCovered(snapshot, requires)) {
    return lacking(requires);
  }
  const reason = waitingReason({ ...snapshot, requested: [] });
  if (reason !== null || freeSlots(workers, requires) > 0) return reason;
  return `Every worker with ${requires.join(", ")} is busy.`;
}

function isCovered(snapshot: SpaceSnapshot, requires: readonly string[]): boolean {
  return snapshot.workers.some((worker) => !worker.draining && covers(worker, requires));
}

function lacking(requires: readonly string[]): string {
  return `No connected worker has ${requires.join(", ")}.`;
}
