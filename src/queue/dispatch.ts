/** A connected worker as the dispatcher sees it. */
export interface Candidate {
  id: string;
  /** Jobs it may run at once. */
  slots: number;
  /** Attempts it holds. */
  busy: number;
  draining: boolean;
}

/** The slots a worker has in a space that may allow it fewer than it offers. */
export function slotsOf(offered: number, allowed: number | null): number {
  return allowed === null ? offered : Math.min(offered, allowed);
}

/** The worker to get the next job: the one with the largest free share; `null` where none is free. */
export function chooseWorker<C extends Candidate>(candidates: Iterable<C>): C | null {
  let best: C | null = null;
  for (const candidate of candidates) {
    if (candidate.draining || candidate.busy >= candidate.slots) continue;
    if (best === null || load(candidate) < load(best)) best = candidate;
  }
  return best;
}

function load(candidate: Candidate): number {
  return candidate.busy / candidate.slots;
}
