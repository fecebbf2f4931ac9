/** What has a place in a channel. */
interface EventWithOffset {
  offset: number;
}

/**
 * `state`: replaced by the next state. `kept`: a piece, which nothing replaces. `last`: nothing comes
 * after it, so it waits for nothing.
 */
export type Weight = "state" | "kept" | "last";

/** A frame of a job, as far as its weight shows. */
export interface JobFrameKind {
  type: string;
  status?: string;
}

/** Statuses of a job that is not over. */
const OPEN = new Set(["pending", "queued", "processing"]);

export function weightOf({ type, status }: JobFrameKind): Weight {
  if (type !== "progress") return "kept";
  return status !== undefined && OPEN.has(status) ? "state" : "last";
}

/** The text of a frame may be shared by many: what is one subscriber's own is put at its end. */
export function withSkipped(text: string, skipped: number): string {
  return skipped > 0 ? `${text.slice(0, -1)},"skipped":${skipped}}` : text;
}

/** An event as it goes out: `skipped` states just before it were left out. */
export interface OutgoingEvent<E> {
  event: E;
  skipped: number;
}

/**
 * Thins out the states one subscriber is sent: one an interval at most, the newest. Order is kept, so a
 * piece that comes after a held state waits with it; what is sent is gapless but for what `skipped` says.
 */
export class Coalescer<E extends EventWithOffset> {
  /** May change at any time; with 0 all goes out, but for a state that was held before. */
  intervalMs: number;
  private stateAt = Number.NEGATIVE_INFINITY;
  private heldState: E | null = null;
  private behind: E[] = [];
  /** States left out since the last event that went out. */
  private skipped = 0;

  constructor(intervalMs: number) {
    this.intervalMs = intervalMs;
  }

  /** When the held state may go out; `null` where nothing is held. */
  get dueAt(): number | null {
    return this.heldState === null ? null : this.stateAt + this.intervalMs;
  }

  /** The offset up to which everything went out, or was left out; `null` where nothing is held. */
  get sentTo(): number | null {
    return this.heldState === null ? null : this.heldState.offset - 1 - this.skipped;
  }

  /** Takes the channel's next event; returns what goes out now. */
  offer(event: E, weight: Weight, now: number): OutgoingEvent<E>[] {
    const before = weight === "kept" ? this.release(now) : this.replace();
    if (weight === "state" && !this.mayState(now)) {
      this.heldState = event;
      return before;
    }
    if (weight === "kept" && this.heldState !== null) {
      this.behind.push(event);
      return before;
    }
    if (weight === "state") this.stateAt = now;
    return [...before, this.pass(event)];
  }

  /** What goes out because its time has come. */
  release(now: number): OutgoingEvent<E>[] {
    if (this.heldState === null || !this.mayState(now)) return [];
    const held = this.pass(this.heldState);
    this.heldState = null;
    this.stateAt = now;
    return [held, ...this.passBehind()];
  }

  /** A newer state is there: the held one is left out, and nothing waits for it any more. */
  private replace(): OutgoingEvent<E>[] {
    if (this.heldState === null) return [];
    this.heldState = null;
    this.skipped += 1;
    return this.passBehind();
  }

  private passBehind(): OutgoingEvent<E>[] {
    const behind = this.behind;
    this.behind = [];
    return behind.map((event) => this.pass(event));
  }

  private pass(event: E): OutgoingEvent<E> {
    const { skipped } = this;
    this.skipped = 0;
    return { event, skipped };
  }

  private mayState(now: number): boolean {
    // A clock that was set back must not hold a state for long.
    if (now < this.stateAt) this.stateAt = now;
    return now - this.stateAt >= this.intervalMs;
  }
}
