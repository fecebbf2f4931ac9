import { LATE_MS } from "../objects/standstill.ts";
import { LIMITS } from "../protocol/limits.ts";

/** The close codes of clients that leave on purpose: `close(1000)`, and `close()` without a code. */
const DEPARTURES: ReadonlySet<number> = new Set([1000, 1005]);

/** Whether a socket with this close code was closed by a client that is done, and will not be back at once. */
export function isDeparture(closeCode: number): boolean {
  return DEPARTURES.has(closeCode);
}

/**
 * The users whose sockets dropped a moment ago. They count as present until their time to come back is over
 * (decision 0038). Only memory has them. An object does not hibernate before their time is over, but it may
 * stop: the next instance has to find out otherwise who is missing.
 */
export class PresenceGrace {
  /** When each user's time is over, milliseconds since 1970, the earliest first. */
  private readonly ends = new Map<string, number>();
  /** Those whose time began again because the edge stood still: that is done once, or they might never leave. */
  private readonly extended = new Set<string>();
  private readonly onStart: (endsAt: number) => void;

  /** @param onStart called with the time at which `takeOver` is due */
  constructor(onStart: (endsAt: number) => void) {
    this.onStart = onStart;
  }

  get size(): number {
    return this.ends.size;
  }

  get users(): Iterable<string> {
    return this.ends.keys();
  }

  has(user: string): boolean {
    return this.ends.has(user);
  }

  /** A socket of the user dropped: their time begins, perhaps again. */
  start(user: string, now: number): void {
    // A whole second, so that many users who drop at about the same time need only one alarm.
    const endsAt = Math.ceil((now + LIMITS.presenceGraceMs) / 1_000) * 1_000;
    this.cancel(user);
    this.ends.set(user, endsAt);
    this.onStart(endsAt);
  }

  cancel(user: string): void {
    this.ends.delete(user);
    this.extended.delete(user);
  }

  /** When the first user's time is over; `null` if there is none. */
  dueAt(): number | null {
    const [first = null] = this.ends.values();
    return first;
  }

  /**
   * Removes and returns the users whose time is over. If it ended long ago, the edge stood still and nobody could come
   * back: their time begins again (decision 0050).
   */
  takeOver(now: number): string[] {
    const ended = [...this.ends].filter(([, endsAt]) => endsAt <= now);
    const over = ended.filter(([user, endsAt]) => {
      const couldReturn = now - endsAt <= LATE_MS || this.extended.has(user);
      if (couldReturn) this.cancel(user);
      else {
        this.start(user, now);
        this.extended.add(user);
      }
      return couldReturn;
    });
    return over.map(([user]) => user);
  }
}
