import type { SpaceStatus } from "../protocol/resources.ts";
import { type Candidate, covers } from "./dispatch.ts";
import { estimatedWait, type RunningAttempt } from "./estimated-wait.ts";
import type { Instant } from "./job.ts";

/** What the status of a space needs to know of a connected worker, to say how long a new job would wait. */
export interface SnapshotWorker extends Candidate {
  generation: number;
  name: string | null;
  /** How many jobs it offered to run at once; `slots` are fewer if the space allows fewer. */
  offered: number;
  /** For how many seconds nothing came from it, if its ping is overdue; otherwise `null`. */
  silentS: number | null;
}

/** The waiting jobs that require the same capabilities. */
export interface WaitingClass {
  requires: readonly string[];
  /** How many of them come before a job of priority 0 that somebody submits now who has no jobs here. */
  ahead: number;
}

/** Everything from which the reasons for waiting are found. */
export interface SpaceSnapshot {
  workers: readonly SnapshotWorker[];
  /** How many workers the space takes. */
  maxWorkers: number;
  queued: number;
  classes: readonly WaitingClass[];
  /** How many of those ahead let others pass, because as many jobs of their users run as may. */
  aheadButBound: number;
  processing: number;
  /** How many attempts belong to workers that dropped and may still come back. */
  detached: number;
}

/** Everything from which the wait is estimated, besides the snapshot. */
export interface RunTimes {
  /** The running attempts of each worker, by its generation. */
  attempts: ReadonlyMap<number, readonly RunningAttempt[]>;
  /** The moving mean of how long a job runs, seconds; `null` before any run was measured. */
  meanRunS: number | null;
}

/** The space's current status, as clients get it. */
export function spaceStatusOf(snapshot: SpaceSnapshot, times: RunTimes): SpaceStatus {
  const names = snapshot.workers.flatMap(({ name }) => name ?? []);
  const silentS = silenceOf(servingOf(snapshot.workers));
  const reason = waitingReason(snapshot);
  return {
    worker: workerState(snapshot),
    ...(names.length > 0 ? { worker_name: names.join(", ") } : {}),
    ...(silentS === null ? {} : { worker_silent_s: silentS }),
    queue_size: snapshot.queued,
    processing: snapshot.processing,
    estimated_wait_s: waitOf(snapshot, times),
    ...(reason === null ? {} : { waiting_reason: reason }),
  };
}

/** Seconds until a job would start that is submitted now, has priority 0 and requires nothing (S19). */
function waitOf(snapshot: SpaceSnapshot, { attempts, meanRunS }: RunTimes): number | null {
  // A worker that may be dead is not counted on.
  const serving = servingOf(snapshot.workers).filter(({ silentS }) => silentS === null);
  let ahead = 0;
  for (const { requires, ahead: count } of snapshot.classes) {
    if (serving.some((worker) => covers(worker, requires))) ahead += count;
  }
  const workers = serving.map(({ generation, slots }) => {
    return { slots, attempts: attempts.get(generation) ?? [] };
  });
  return estimatedWait(workers, Math.max(0, ahead - snapshot.aheadButBound), meanRunS);
}

/** A status and when it was true. */
export interface DatedStatus {
  status: SpaceStatus;
  at: Instant;
}

/** An estimate that only grew old is sent again after this long, milliseconds. */
const ESTIMATE_EVERY_MS = 5_000;

/**
 * Whether `after` tells more than `before` and the clock do. An estimate changes all the time: it shrinks while
 * time passes. It is news if it is now known or not, if a place became free or the last one was taken, or if the
 * start that it predicts has moved.
 */
export function isNews(before: DatedStatus, after: DatedStatus): boolean {
  const { estimated_wait_s: was, ...stateBefore } = before.status;
  const { estimated_wait_s: is, ...stateAfter } = after.status;
  if (JSON.stringify(stateBefore) !== JSON.stringify(stateAfter)) return true;
  if (was === is) return false;
  if (was === null || is === null || was === 0 || is === 0) return true;
  const movedS = Math.abs(after.at / 1_000 + is - (before.at / 1_000 + was));
  return movedS > Math.max(1, is / 10) || after.at - before.at >= ESTIMATE_EVERY_MS;
}

/** The weight of the newest run in the moving mean: the last ten runs make up nearly all of it. */
const NEWEST_WEIGHT = 0.2;

/** The moving mean after one more run, seconds; `meanS` is `null` before the first. */
export function meanAfter(meanS: number | null, runS: number): number {
  return meanS === null ? runS : meanS + NEWEST_WEIGHT * (runS - meanS);
}

function servingOf<W extends Pick<Candidate, "draining">>(workers: readonly W[]): W[] {
  return workers.filter(({ draining }) => !draining);
}

/** How long all of these workers have been silent, seconds; `null` if one was heard of lately, or there are none. */
function silenceOf(workers: readonly SnapshotWorker[]): number | null {
  let silentS = Number.POSITIVE_INFINITY;
  for (const worker of workers) {
    if (worker.silentS === null) return null;
    silentS = Math.min(silentS, worker.silentS);
  }
  return Number.isFinite(silentS) ? silentS : null;
}

function workerState({ workers, detached }: SpaceSnapshot): SpaceStatus["worker"] {
  if (servingOf(workers).length > 0) return "connected";
  if (workers.length > 0) return "draining";
  return detached > 0 ? "reconnecting" : "disconnected";
}

/** Why waiting jobs have no worker, or why a job that requires nothing would wait if it were submitted now. */
function waitingReason(snapshot: SpaceSnapshot): string | null {
  if (workerState(snapshot) === "connected") {
    const serving = servingOf(snapshot.workers);
    const missing = snapshot.classes.find(
      ({ requires }) => !serving.some((worker) => covers(worker, requires)),
    );
    if (missing) return lacking(snapshot, missing.requires);
  }
  return waitingReasonFor(snapshot, []);
}

/** The reason why a job waits although a worker may be free: as many of its user's jobs run as may. */
export function boundReason(bound: number): string {
  const jobs = bound === 1 ? "one job" : `${bound} jobs`;
  return `This space lets each user run ${jobs} at once (max_running_per_user), and others of this job's user run now.`;
}

/** The reason why a job that requires this would wait now, in words; `null` if a worker is free for it. */
export function waitingReasonFor(
  snapshot: SpaceSnapshot,
  requires: readonly string[],
): string | null {
  switch (workerState(snapshot)) {
    case "disconnected":
      return "No worker is connected.";
    case "reconnecting":
      return "The worker lost its connection and may come back.";
    case "draining":
      return drainingReason(snapshot.workers, requires);
    default: {
      const able = servingOf(snapshot.workers).filter((worker) => covers(worker, requires));
      return able.length === 0
        ? lacking(snapshot, requires)
        : occupiedReason(able, requires, servingOf(snapshot.workers));
    }
  }
}

/** Why workers that could take a job don't; `null` if one of them can. */
function occupiedReason(
  able: readonly SnapshotWorker[],
  requires: readonly string[],
  serving: readonly SnapshotWorker[],
): string | null {
  const heard = able.filter(({ silentS }) => silentS === null);
  if (heard.some(({ busy, slots }) => busy < slots)) return null;
  const isEveryBusy = serving.every(
    ({ busy, slots, silentS }) => silentS === null && busy >= slots,
  );
  const having = isEveryBusy ? "" : withAll(requires);
  const silentS = silenceOf(able);
  if (silentS !== null) {
    return able.length === 1
      ? `The worker${having} has not been heard of for ${silentS} s.`
      : `No worker${having} has been heard of for ${silentS} s.`;
  }
  if (heard.length < able.length) {
    return `Every worker${having} is busy, or has not been heard of lately.`;
  }
  const limited = able.find(({ offered, slots }) => offered > slots);
  if (!limited) return `Every worker${having} is busy.`;
  const jobs = limited.slots === 1 ? "one job" : `${limited.slots} jobs`;
  return `Every worker${having} is busy: this space lets each run ${jobs} at once (concurrency).`;
}

/** No worker that takes new jobs has what a job requires. */
function lacking({ workers, maxWorkers }: SpaceSnapshot, requires: readonly string[]): string {
  const leaving = workers.filter((worker) => worker.draining && covers(worker, requires));
  if (leaving.length > 0) return drainingReason(leaving, requires);
  const none = `No connected worker has ${requires.join(", ")}`;
  if (workers.length < maxWorkers) return `${none}.`;
  return `${none}, and no other worker can connect: this space takes ${maxWorkers === 1 ? "only one" : `only ${maxWorkers}`} (max_workers).`;
}

function drainingReason(workers: readonly SnapshotWorker[], requires: readonly string[]): string {
  const able = workers.filter((worker) => covers(worker, requires));
  const named = able.length > 0 ? able : workers;
  const having = able.length > 0 ? withAll(requires) : "";
  const isBusy = named.some(({ busy }) => busy > 0);
  if (named.length === 1) {
    return isBusy
      ? `The worker${having} is finishing its jobs and takes no new ones.`
      : `The worker${having} takes no new jobs.`;
  }
  return isBusy
    ? `The workers${having} are finishing their jobs and take no new ones.`
    : `The workers${having} take no new jobs.`;
}

function withAll(requires: readonly string[]): string {
  return requires.length === 0 ? "" : ` with ${requires.join(", ")}`;
}
