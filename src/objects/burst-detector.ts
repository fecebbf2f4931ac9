/** So many attempts under way mean that frames come from many sides at once. */
const MANY_RUNNING = 4;
/** So many calls within so many milliseconds are more than one client waiting for each answer makes. */
const MANY_CALLS = 4;
const BURST_MS = 3;
/** Of frames on a socket, where an answer takes less than a millisecond. */
export const BURST_FRAMES = 6;

/**
 * Whether a batch should wait a moment for more. The shortest timer of the runtime is a millisecond: cheap
 * where many share the batch, and most of a lone job's time where nobody does.
 */
export class BurstDetector {
  /** The latest arrivals, in turn. */
  private readonly arrivals: number[];
  private next = 0;

  /** @param many so many arrivals at once are a burst */
  constructor(many: number = MANY_CALLS) {
    this.arrivals = new Array<number>(many).fill(Number.NEGATIVE_INFINITY);
  }

  /** A submit, or anything else that is no worker's answer. */
  note(now: number): void {
    this.arrivals[this.next] = now;
    this.next = (this.next + 1) % this.arrivals.length;
  }

  isBurst(running: number, now: number): boolean {
    const earliest = this.arrivals[this.next] ?? Number.NEGATIVE_INFINITY;
    return running >= MANY_RUNNING || now - earliest <= BURST_MS;
  }
}
