/** So many attempts under way mean that frames come from many sides at once. */
const MANY_RUNNING = 4;
/** So many arrivals within so many milliseconds are more than one client waiting for each answer sends. */
const MANY_ARRIVALS = 6;
const BURST_MS = 3;

/**
 * Whether a batch should wait a moment for more. The shortest timer of the runtime is a millisecond: cheap
 * where many share the batch, and most of a lone job's time where nobody does.
 */
export class Pace {
  /** The latest arrivals, in turn. */
  private readonly arrivals = new Array<number>(MANY_ARRIVALS).fill(Number.NEGATIVE_INFINITY);
  private next = 0;

  /** A submit, or anything else that is no worker's answer. */
  arrived(now: number): void {
    this.arrivals[this.next] = now;
    this.next = (this.next + 1) % MANY_ARRIVALS;
  }

  isBrisk(running: number, now: number): boolean {
    const earliest = this.arrivals[this.next] ?? Number.NEGATIVE_INFINITY;
    return running >= MANY_RUNNING || now - earliest <= BURST_MS;
  }
}
