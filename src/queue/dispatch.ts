/** A connected worker as the dispatcher sees it. */
export interface Candidate {
  id: string;
  /** How many jobs it may run at once. */
  slots: number;
  /** How many attempts it has now. */
  busy: number;
  /** The load of its machine as it last reported it, 0 to 1. */
  load: number;
  capabilities: ReadonlySet<string>;
  draining: boolean;
  /** How many characters more it may be sent before it must show that it reads; no limit without it. */
  room?: number;
}

/** The slots of a worker: what it offers, or fewer if the space allows fewer. */
export function slotsOf(offered: number, allowed: number | null): number {
  return allowed === null ? offered : Math.min(offered, allowed);
}

/** Whether a worker has every capability that a job requires. */
export function covers(
  { capabilities }: Pick<Candidate, "capabilities">,
  requires: readonly string[],
): boolean {
  return requires.every((capability) => capabilities.has(capability));
}

function takesJobs({ draining, room = 1 }: Candidate): boolean {
  return !draining && room > 0;
}

/** How many slots are free now for jobs that require these capabilities. */
export function freeSlots(candidates: Iterable<Candidate>, requires: readonly string[]): number {
  let free = 0;
  for (const candidate of candidates) {
    if (!takesJobs(candidate) || !covers(candidate, requires)) continue;
    free += Math.max(0, candidate.slots - candidate.busy);
  }
  return free;
}

/** Chooses the least busy of the workers that can take the job; `null` if none can. */
export function chooseWorker<C extends Candidate>(
  candidates: Iterable<C>,
  requires: readonly string[],
): C | null {
  let best: C | null = null;
  for (const candidate of candidates) {
    if (!takesJobs(candidate) || candidate.busy >= candidate.slots) continue;
    if (!covers(candidate, requires)) continue;
    if (best === null || busyness(candidate) < busyness(best)) best = candidate;
  }
  return best;
}

/** The share of the slots in use, or the reported load if that is higher: a machine may have other work. */
function busyness(candidate: Candidate): number {
  return Math.max(candidate.busy / candidate.slots, candidate.load);
}
