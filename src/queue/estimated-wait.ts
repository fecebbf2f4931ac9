/** A running attempt, as far as it tells when its place will be free. */
export interface RunningAttempt {
  /** Seconds since it was dispatched. */
  ranS: number;
  /** Its last `progress`; `null` if it sent none. */
  report: AttemptReport | null;
  /** Seconds until the edge takes it back at the latest. */
  limitS: number;
}

export interface AttemptReport {
  /** Seconds since it came. */
  agoS: number;
  /** Percent. */
  progress: number;
  /** How many seconds the worker then expected the attempt to take; `null` if it did not say. */
  remainingS: number | null;
}

/** A worker's places, and the attempts that take them. */
export interface WorkerPlaces {
  slots: number;
  attempts: readonly RunningAttempt[];
}

/** The least estimate while no place is free, seconds: only a free place is worth a 0. */
const LEAST_S = 0.1;

/** Places become free at whole milliseconds: sums of fractions would make more jobs ahead wait a little less. */
const MS = 1_000;

/** An attempt that has exceeded every expectation is expected to take this share of its delay in addition. */
const LATE_SHARE = 0.5;

/** An attempt that has exceeded every expectation takes at least this long, seconds, if it was expected to. */
const LATE_S = 1;

/**
 * Seconds until a job starts, to a tenth; `null` if nothing is known from which to tell. It is 0 exactly if a place
 * is free: jobs that wait meanwhile can't use that place, or they would have been handed to its worker.
 *
 * @param workers those that could take the job
 * @param ahead how many waiting jobs get a place of these workers before it
 * @param meanRunS how long a job runs on average; `null` before any run was measured
 */
export function estimatedWait(
  workers: readonly WorkerPlaces[],
  ahead: number,
  meanRunS: number | null,
): number | null {
  if (workers.some(({ slots, attempts }) => attempts.length < slots)) return 0;
  const runS = meanRunS ?? meanReported(workers);
  if (runS === null) return null;
  const freeIn = workers.flatMap(({ slots, attempts }) => {
    const left = attempts.map((attempt) => leftOf(attempt, runS)).sort((a, b) => a - b);
    // A worker that runs more than it may now, because a setting was lowered, must end some first.
    return left.slice(attempts.length - slots);
  });
  if (freeIn.length === 0) return null;
  const freeInMs = freeIn.map((leftS) => Math.round(leftS * MS));
  const waitMs = startAfter(freeInMs, ahead, Math.max(Math.round(runS * MS), 1));
  return Math.max(LEAST_S, Math.floor(waitMs / 100) / 10);
}

/** Seconds that an attempt will still take. */
function leftOf(attempt: RunningAttempt, runS: number): number {
  const { ranS, limitS } = attempt;
  const reported = reportedTotals(attempt);
  const latest = reported.length > 0 ? Math.max(...reported) : runS;
  const totalS = reported.find((total) => total > ranS) ?? latest;
  const leftS = totalS - ranS;
  const likelyS = leftS > 0 ? leftS : Math.max(Math.min(LATE_S, totalS), -leftS * LATE_SHARE);
  return Math.max(0, Math.min(likelyS, limitS));
}

/** How long the attempt takes in all, by its own reports, the most reliable first. */
function reportedTotals({ ranS, report, limitS }: RunningAttempt): number[] {
  if (report === null) return [];
  const { agoS, progress, remainingS } = report;
  const ranThenS = Math.max(0, ranS - agoS);
  const totals: number[] = [];
  if (remainingS !== null) totals.push(ranThenS + remainingS);
  if (progress > 0) totals.push((ranThenS * 100) / progress);
  return totals.map((totalS) => Math.min(totalS, ranS + Math.max(0, limitS)));
}

/** The mean of how long the running attempts take in all, by their own reports; `null` if none reported. */
function meanReported(workers: readonly WorkerPlaces[]): number | null {
  let sum = 0;
  let count = 0;
  for (const attempt of workers.flatMap(({ attempts }) => attempts)) {
    const [totalS] = reportedTotals(attempt);
    if (totalS === undefined) continue;
    sum += totalS;
    count += 1;
  }
  return count === 0 ? null : sum / count;
}

/**
 * Milliseconds until the next job gets a place after `ahead` others, if each takes `runMs`.
 *
 * @param freeInMs when each place becomes free, whole milliseconds
 */
function startAfter(freeInMs: readonly number[], ahead: number, runMs: number): number {
  const startedBy = (time: number) =>
    freeInMs.reduce((sum, at) => sum + (at <= time ? Math.floor((time - at) / runMs) + 1 : 0), 0);
  let early = Math.min(...freeInMs);
  let late = early + ahead * runMs;
  while (early < late) {
    const middle = Math.floor((early + late) / 2);
    if (startedBy(middle) > ahead) late = middle;
    else early = middle + 1;
  }
  return late;
}
