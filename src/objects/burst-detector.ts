/** With this many attempts running, frames come from several workers or jobs at once. */
const MANY_RUNNING = 4;
/** This many calls within BURST_MS are more than a client makes that waits for each answer. */
const MANY_CALLS = 4;
const BURST_MS = 3;
/** The same for frames on sockets: a lone client gets an answer within a millisecond, so it makes more of them. */
export const BURST_FRAMES = 6;

/**
 * Decides whether a batch should wait for more commands (decision 0006). The shortest timer of the runtime is
 * a millisecond. If four clients submit at once, waiting that long puts their jobs into one transaction
 * instead of four. If a lone client sends one job after the other, nothing more comes, and the wait would
 * take longer than everything else the edge does for the job.
 */
export class BurstDetector {
  /** A ring with the times of the latest arrivals, milliseconds since 1970. */
  private readonly arrivals: number[];
  private next = 0;

  /** @param many this many arrivals within BURST_MS are a burst */
  constructor(many: number = MANY_CALLS) {
    this.arrivals = new Array<number>(many).fill(Number.NEGATIVE_INFINITY);
  }

  /** Records that a command arrived at `now`, other than a worker's answer. */
  onArrival(now: number): void {
    this.arrivals[this.next] = now;
    this.next = (this.next + 1) % this.arrivals.length;
  }

  /** @param running attempts that are running */
  isBurst(running: number, now: number): boolean {
    const earliest = this.arrivals[this.next] ?? Number.NEGATIVE_INFINITY;
    return running >= MANY_RUNNING || now - earliest <= BURST_MS;
  }
}
