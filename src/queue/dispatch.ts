/** A connected worker as the dispatcher sees it. */
export interface Candidate {
  id: string;
  /** Jobs it may run at once. */
  slots: number;
  /** Attempts it holds. */
  busy: number;
  /** How busy its machine says it is, 0 to 1. */
  load: number;
  capabilities: ReadonlySet<string>;
  draining: boolean;
}

/** The slots a worker has in a space that may allow it fewer than it offers. */
export function slotsOf(offered: number, allowed: number | null): number {
  return allowed === null ? offered : Math.min(offered, allowed);
}

/** Whether a worker has everything a job asks for. */
export function covers(
  { capabilities }: Pick<Candidate, "capabilities">,
  requires: readonly string[],
): boolean {
  return requires.every((capability) => capabilities.has(capability));
}

/** Slots that a job which asks for this could go to now. */
export function freeSlots(candidates: Iterable<Candidate>, requires: readonly string[]): number {
  let free = 0;
  for (const candidate of candidates) {
    if (candidate.draining || !covers(candidate, requires)) continue;
    free += Math.max(0, candidate.slots - candidate.busy);
  }
  return free;
}

/** The worker to get the next job: of those that can take it the least busy; `null` where none can. */
export function chooseWorker<C extends Candidate>(
  candidates: Iterable<C>,
  requires: readonly string[],
): C | null {
  let best: C | null = null;
  for (const candidate of candidates) {
    if (candidate.draining || candidate.busy >= candidate.slots) continue;
    if (!covers(candidate, requires)) continue;
    if (best === null || busyness(candidate) < busyness(best)) best = candidate;
  }
  return best;
}

/** A machine may be busy with more than its attempts. */
function busyness(candidate: Candidate): number {
  return Math.max(candidate.busy / candidate.slots, candidate.load);
}
