import type { SpaceStatus } from "../protocol/resources.ts";
import { type Candidate, covers, freeSlots } from "./dispatch.ts";

/** What the status of a space is made from. */
export interface SpaceSnapshot {
  workers: (Candidate & { name: string | null })[];
  queued: number;
  /** What the jobs that wait ask for, each set once. */
  requested: readonly (readonly string[])[];
  processing: number;
  /** Attempts whose worker dropped and may still come back. */
  detached: number;
  /** Mean run of a job, seconds; `null` before any was measured. */
  meanRunS: number | null;
}

/** What a space says of itself now. */
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

/** Seconds until a job with `ahead` queued jobs before it starts; `null` where nothing tells. */
export function estimatedWait(snapshot: SpaceSnapshot, ahead: number): number | null {
  const serving = snapshot.workers.filter(({ draining }) => !draining);
  const slots = serving.reduce((sum, { slots }) => sum + slots, 0);
  if (slots === 0) return null;
  const free = serving.reduce((sum, { slots, busy }) => sum + Math.max(0, slots - busy), 0);
  if (ahead < free) return 0;
  if (snapshot.meanRunS === null) return null;
  return Math.round(((ahead - free + 1) * snapshot.meanRunS * 10) / slots) / 10;
}

/** Weight of the newest run in the moving mean: about the last ten count. */
const NEWEST_WEIGHT = 0.2;

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

/** Why a job that asks for this would wait now, in words; `null` where a worker is free for it. */
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
