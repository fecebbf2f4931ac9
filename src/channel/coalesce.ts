/** An event of a channel. */
interface EventWithOffset {
  offset: number;
}

/**
 * Whether an event may be left out. `state`: yes, if a newer state follows. `kept`: never. `last`: never, and
 * as nothing follows it, it is sent at once.
 */
export type Weight = "state" | "kept" | "last";

/** The fields of a job's frame that decide its weight. */
export interface JobFrameKind {
  type: string;
  status?: string;
}

/** The statuses of a job that has not ended. */
const OPEN = new Set(["pending", "queued", "processing"]);

export function weightOf({ type, status }: JobFrameKind): Weight {
  if (type !== "progress") return "kept";
  return status !== undefined && OPEN.has(status) ? "state" : "last";
}

/** Adds `skipped` to a frame's JSON. It is put at the end because many subscribers share the rest of the text. */
export function withSkipped(text: string, skipped: number): string {
  return skipped > 0 ? `${text.slice(0, -1)},"skipped":${skipped}}` : text;
}

/** An event that is to be sent; `skipped` is how many states just before it were left out. */
export interface OutgoingEvent<E> {
  event: E;
  skipped: number;
}

/**
 * Thins out the states that one subscriber gets: at most one in each interval, the newest. The subscriber must
 * be able to see that nothing else is missing, so order is kept and every omission is counted. Example, 50 ms:
 * state 1 is sent; state 2 is delayed, and output 3 behind it, because sending 3 first would look like the loss
 * of 2. If state 4 comes now, 2 is left out, 3 is sent with `skipped: 1`, and 4 is delayed in place of 2.
 * If 3 were sent without `skipped`, the client would have to treat it as a gap and load the whole job again.
 */
export class Coalescer<E extends EventWithOffset> {
  /** Read before each send, so it may change at any time. 0 delays nothing: a state still held back is sent first. */
  intervalMs: number;
  private lastStateAt = Number.NEGATIVE_INFINITY;
  private delayedState: E | null = null;
  /** Pieces that came after the delayed state and wait with it. */
  private behind: E[] = [];
  /** How many states were left out since the last event that was sent. */
  private skipped = 0;

  constructor(intervalMs: number) {
    this.intervalMs = intervalMs;
  }

  /** When the delayed state may be sent; `null` if there is none. */
  get dueAt(): number | null {
    return this.delayedState === null ? null : this.lastStateAt + this.intervalMs;
  }

  /** The offset of the last event that was sent; `null` if nothing is delayed. */
  get sentTo(): number | null {
    return this.delayedState === null ? null : this.delayedState.offset - 1 - this.skipped;
  }

  /** Accepts the channel's next event; returns what is to be sent now. */
  offer(event: E, weight: Weight, now: number): OutgoingEvent<E>[] {
    const before = weight === "kept" ? this.release(now) : this.dropDelayedState();
    if (weight === "state" && !this.isStateDue(now)) {
      this.delayedState = event;
      return before;
    }
    if (weight === "kept" && this.delayedState !== null) {
      this.behind.push(event);
      return before;
    }
    if (weight === "state") this.lastStateAt = now;
    return [...before, this.outgoing(event)];
  }

  /** Returns what was delayed, if its interval is over. */
  release(now: number): OutgoingEvent<E>[] {
    if (this.delayedState === null || !this.isStateDue(now)) return [];
    const delayed = this.outgoing(this.delayedState);
    this.delayedState = null;
    this.lastStateAt = now;
    return [delayed, ...this.takeBehind()];
  }

  /** Leaves out the delayed state because a newer one came; the pieces behind it need not wait any more. */
  private dropDelayedState(): OutgoingEvent<E>[] {
    if (this.delayedState === null) return [];
    this.delayedState = null;
    this.skipped += 1;
    return this.takeBehind();
  }

  private takeBehind(): OutgoingEvent<E>[] {
    const behind = this.behind;
    this.behind = [];
    return behind.map((event) => this.outgoing(event));
  }

  private outgoing(event: E): OutgoingEvent<E> {
    const { skipped } = this;
    this.skipped = 0;
    return { event, skipped };
  }

  private isStateDue(now: number): boolean {
    // A clock that was set back must not delay a state for long.
    if (now < this.lastStateAt) this.lastStateAt = now;
    return now - this.lastStateAt >= this.intervalMs;
  }
}
