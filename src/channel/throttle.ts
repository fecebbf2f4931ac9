import { z } from "zod";
import { byteLength } from "../protocol/codec.ts";
import {
  Coalescer,
  type Passed,
  type Weighed,
  type Weight,
  weightOf,
  withSkipped,
} from "./coalesce.ts";
import { afterAck, afterSending, isBehind, isSlow, NOTHING_SENT } from "./flow.ts";

/** How a subscriber that asked for it is throttled: kept with its socket. */
export const throttled = z.object({
  /** The least time between two states, as it asked; 0: it wants every one. */
  intervalMs: z.number(),
  /** The last offset it was sent while a newer one is held back; `null`: nothing is. */
  sentTo: z.number().nullable(),
  /** What it has yet to acknowledge; `null`: it does not acknowledge. */
  flow: z
    .object({
      sent: z.number(),
      acked: z.number(),
      marks: z.array(z.object({ offset: z.number(), sent: z.number() })).readonly(),
    })
    .nullable(),
});
export type Throttled = z.infer<typeof throttled>;

/** What a subscriber may ask for; one that asks for nothing is sent all there is. */
export function throttledAs(maxRate: number | null, acks: boolean): Throttled | null {
  if (maxRate === null && !acks) return null;
  const intervalMs = maxRate === null ? 0 : 1_000 / maxRate;
  return { intervalMs, sentTo: null, flow: acks ? NOTHING_SENT : null };
}

/** An event of a job as it goes to many subscribers. */
export interface Told {
  offset: number;
  weight: Weight;
  text: string;
  bytes: number;
}

/** `texts` are the same frames, written. */
export function toldOf(
  frames: readonly (Weighed & { offset: number })[],
  texts: readonly string[],
): Told[] {
  return frames.map((frame, index) => {
    const text = texts[index] ?? "";
    return { offset: frame.offset, weight: weightOf(frame), text, bytes: byteLength(text) };
  });
}

/** A slow subscriber gets a state no more often than this, milliseconds. */
const SLOW_INTERVAL_MS = 50;

/** What is done for the subscribers of one object. */
interface Calls<S> {
  send: (one: S, text: string) => void;
  /** Keeps what is known of it where it outlives this memory. */
  remember: (one: S) => void;
  /** It is too far behind: it may come again, and go on where it was. */
  cut: (one: S) => void;
  /** Returns what silences the bell before it rings. */
  ringIn: (ms: number, ring: (now: number) => void) => () => void;
}

interface Bell {
  at: number;
  silence: () => void;
}

type Subscriber = { at: { throttled: Throttled | null } };

/** Sends events to subscribers that asked for a rate, or acknowledge and may be slow. */
export class Throttle<S extends Subscriber> {
  private readonly calls: Calls<S>;
  private readonly coalescers = new WeakMap<S, Coalescer<Told>>();
  /** When each of those that something is held back for is due. */
  private readonly holding = new Map<S, number>();
  private readonly gone = new WeakSet<S>();
  private bell: Bell | null = null;

  constructor(calls: Calls<S>) {
    this.calls = calls;
  }

  /** Tells one subscriber what has happened, all of it or what it can take. */
  tell(one: S, told: readonly Told[], now: number): void {
    const state = one.at.throttled;
    if (state === null || this.gone.has(one)) return;
    const coalescer = this.coalescerOf(one);
    for (const event of told) {
      coalescer.intervalMs = intervalOf(state);
      if (!this.pass(one, state, coalescer.offer(event, event.weight, now))) return;
    }
    this.note(one, state, now);
  }

  /** Everything up to `offset` has arrived: who is no longer slow gets what was held back. */
  acknowledged(one: S, offset: number, now: number): void {
    const state = one.at.throttled;
    if (state === null || state.flow === null || this.gone.has(one)) return;
    state.flow = afterAck(state.flow, offset);
    if (this.release(one, state, now)) this.note(one, state, now);
  }

  /** What was held back for it before memory was lost has been sent. */
  caughtUp(one: S): void {
    if (one.at.throttled === null) return;
    one.at.throttled.sentTo = null;
    this.calls.remember(one);
  }

  left(one: S): void {
    this.gone.add(one);
    this.letGo(one);
  }

  /** Nobody is sent any more of what is held back. */
  stop(): void {
    this.holding.clear();
    this.silence();
  }

  private release(one: S, state: Throttled, now: number): boolean {
    const coalescer = this.coalescerOf(one);
    coalescer.intervalMs = intervalOf(state);
    return this.pass(one, state, coalescer.release(now));
  }

  /** Returns `false` where the subscriber is cut off rather than sent more. */
  private pass(one: S, state: Throttled, passed: readonly Passed<Told>[]): boolean {
    for (const { event, skipped } of passed) {
      if (this.gone.has(one)) return false;
      if (state.flow !== null && isBehind(state.flow)) {
        this.left(one);
        this.calls.cut(one);
        return false;
      }
      this.calls.send(one, withSkipped(event.text, skipped));
      if (state.flow !== null) state.flow = afterSending(state.flow, event.offset, event.bytes);
    }
    return true;
  }

  /** What a socket is still to be sent is kept with it, so that it outlives this memory. */
  private note(one: S, state: Throttled, now: number): void {
    const { sentTo, dueAt } = this.coalescerOf(one);
    if (dueAt === null) this.letGo(one);
    else {
      this.holding.set(one, dueAt);
      this.schedule(dueAt, now);
    }
    if (state.flow === null && state.sentTo === sentTo) return;
    state.sentTo = sentTo;
    this.calls.remember(one);
  }

  private letGo(one: S): void {
    this.holding.delete(one);
    if (this.holding.size === 0) this.silence();
  }

  /** One bell serves all; it rings when the first of them is due. A timer keeps the object awake. */
  private schedule(dueAt: number, now: number): void {
    if (this.bell !== null && this.bell.at <= dueAt) return;
    this.silence();
    const silence = this.calls.ringIn(Math.max(1, Math.ceil(dueAt - now)), (ringing) => {
      if (this.bell === bell) this.ring(bell, ringing);
    });
    const bell: Bell = { at: dueAt, silence };
    this.bell = bell;
  }

  private silence(): void {
    this.bell?.silence();
    this.bell = null;
  }

  private ring(bell: Bell, now: number): void {
    this.bell = null;
    // The clock was set back: what was noted as due by it says nothing.
    const isEarly = now < bell.at;
    const due: S[] = [];
    let nextAt = Number.POSITIVE_INFINITY;
    for (const [one, dueAt] of this.holding) {
      if (isEarly || dueAt <= now) due.push(one);
      else nextAt = Math.min(nextAt, dueAt);
    }
    for (const one of due) this.serve(one, now);
    if (this.holding.size > 0 && nextAt < Number.POSITIVE_INFINITY) this.schedule(nextAt, now);
  }

  /** What goes wrong with one of them must not keep the others waiting. */
  private serve(one: S, now: number): void {
    // Whatever happens it is not tried again, unless more is held back for it.
    this.holding.delete(one);
    try {
      const state = one.at.throttled;
      if (state !== null && this.release(one, state, now)) this.note(one, state, now);
    } catch (error) {
      console.error("what was held back for a subscriber was not sent", error);
    }
  }

  private coalescerOf(one: S): Coalescer<Told> {
    const known = this.coalescers.get(one);
    if (known) return known;
    const made = new Coalescer<Told>(0);
    this.coalescers.set(one, made);
    return made;
  }
}

function intervalOf({ intervalMs, flow }: Throttled): number {
  return Math.max(intervalMs, flow !== null && isSlow(flow) ? SLOW_INTERVAL_MS : 0);
}
