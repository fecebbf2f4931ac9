import { z } from "zod";
import { byteLength } from "../protocol/codec.ts";
import {
  Coalescer,
  type JobFrameKind,
  type OutgoingEvent,
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
export interface JobEventText {
  offset: number;
  weight: Weight;
  text: string;
  bytes: number;
}

/** `texts` are the same frames, written. */
export function eventTextsOf(
  frames: readonly (JobFrameKind & { offset: number })[],
  texts: readonly string[],
): JobEventText[] {
  return frames.map((frame, index) => {
    const text = texts[index] ?? "";
    return { offset: frame.offset, weight: weightOf(frame), text, bytes: byteLength(text) };
  });
}

/** A slow subscriber gets a state no more often than this, milliseconds. */
const SLOW_INTERVAL_MS = 50;

/** What is done for the subscribers of one object. */
interface ThrottleDeps<S> {
  send: (subscriber: S, text: string) => void;
  /** Keeps what is known of it where it outlives this memory. */
  remember: (subscriber: S) => void;
  /** It is too far behind: it may come again, and go on where it was. */
  cut: (subscriber: S) => void;
  /** Returns what silences the bell before it rings. */
  startTimer: (ms: number, ring: (now: number) => void) => () => void;
}

interface Timer {
  at: number;
  cancel: () => void;
}

type Subscriber = { attachment: { throttled: Throttled | null } };

/** Sends events to subscribers that asked for a rate, or acknowledge and may be slow. */
export class Throttle<S extends Subscriber> {
  private readonly deps: ThrottleDeps<S>;
  private readonly coalescers = new WeakMap<S, Coalescer<JobEventText>>();
  /** When each of those that something is held back for is due. */
  private readonly holding = new Map<S, number>();
  private readonly gone = new WeakSet<S>();
  private timer: Timer | null = null;

  constructor(deps: ThrottleDeps<S>) {
    this.deps = deps;
  }

  /** Tells one subscriber what has happened, all of it or what it can take. */
  send(subscriber: S, told: readonly JobEventText[], now: number): void {
    const state = subscriber.attachment.throttled;
    if (state === null || this.gone.has(subscriber)) return;
    const coalescer = this.coalescerOf(subscriber);
    for (const event of told) {
      coalescer.intervalMs = intervalOf(state);
      if (!this.pass(subscriber, state, coalescer.offer(event, event.weight, now))) return;
    }
    this.note(subscriber, state, now);
  }

  /** Everything up to `offset` has arrived: who is no longer slow gets what was held back. */
  onAck(subscriber: S, offset: number, now: number): void {
    const state = subscriber.attachment.throttled;
    if (state === null || state.flow === null || this.gone.has(subscriber)) return;
    state.flow = afterAck(state.flow, offset);
    if (this.release(subscriber, state, now)) this.note(subscriber, state, now);
  }

  /** What was held back for it before memory was lost has been sent. */
  caughtUp(subscriber: S): void {
    if (subscriber.attachment.throttled === null) return;
    subscriber.attachment.throttled.sentTo = null;
    this.deps.remember(subscriber);
  }

  remove(subscriber: S): void {
    this.gone.add(subscriber);
    this.letGo(subscriber);
  }

  /** Nobody is sent any more of what is held back. */
  stop(): void {
    this.holding.clear();
    this.silence();
  }

  private release(subscriber: S, state: Throttled, now: number): boolean {
    const coalescer = this.coalescerOf(subscriber);
    coalescer.intervalMs = intervalOf(state);
    return this.pass(subscriber, state, coalescer.release(now));
  }

  /** Returns `false` where the subscriber is cut off rather than sent more. */
  private pass(
    subscriber: S,
    state: Throttled,
    passed: readonly OutgoingEvent<JobEventText>[],
  ): boolean {
    for (const { event, skipped } of passed) {
      if (this.gone.has(subscriber)) return false;
      if (state.flow !== null && isBehind(state.flow)) {
        this.remove(subscriber);
        this.deps.cut(subscriber);
        return false;
      }
      this.deps.send(subscriber, withSkipped(event.text, skipped));
      if (state.flow !== null) state.flow = afterSending(state.flow, event.offset, event.bytes);
    }
    return true;
  }

  /** What a socket is still to be sent is kept with it, so that it outlives this memory. */
  private note(subscriber: S, state: Throttled, now: number): void {
    const { sentTo, dueAt } = this.coalescerOf(subscriber);
    if (dueAt === null) this.letGo(subscriber);
    else {
      this.holding.set(subscriber, dueAt);
      this.schedule(dueAt, now);
    }
    if (state.flow === null && state.sentTo === sentTo) return;
    state.sentTo = sentTo;
    this.deps.remember(subscriber);
  }

  private letGo(subscriber: S): void {
    this.holding.delete(subscriber);
    if (this.holding.size === 0) this.silence();
  }

  /** One bell serves all; it rings when the first of them is due. A timer keeps the object awake. */
  private schedule(dueAt: number, now: number): void {
    if (this.timer !== null && this.timer.at <= dueAt) return;
    this.silence();
    const cancelTimer = this.deps.startTimer(Math.max(1, Math.ceil(dueAt - now)), (ringing) => {
      if (this.timer === bell) this.onTimer(bell, ringing);
    });
    const bell: Timer = { at: dueAt, cancel: cancelTimer };
    this.timer = bell;
  }

  private silence(): void {
    this.timer?.cancel();
    this.timer = null;
  }

  private onTimer(bell: Timer, now: number): void {
    this.timer = null;
    // The clock was set back: what was noted as due by it says nothing.
    const isEarly = now < bell.at;
    const due: S[] = [];
    let nextAt = Number.POSITIVE_INFINITY;
    for (const [one, dueAt] of this.holding) {
      if (isEarly || dueAt <= now) due.push(one);
      else nextAt = Math.min(nextAt, dueAt);
    }
    for (const subscriber of due) this.serve(subscriber, now);
    if (this.holding.size > 0 && nextAt < Number.POSITIVE_INFINITY) this.schedule(nextAt, now);
  }

  /** What goes wrong with one of them must not keep the others waiting. */
  private serve(subscriber: S, now: number): void {
    // Whatever happens it is not tried again, unless more is held back for it.
    this.holding.delete(subscriber);
    try {
      const state = subscriber.attachment.throttled;
      if (state !== null && this.release(subscriber, state, now)) this.note(subscriber, state, now);
    } catch (error) {
      console.error("what was held back for a subscriber was not sent", error);
    }
  }

  private coalescerOf(subscriber: S): Coalescer<JobEventText> {
    const known = this.coalescers.get(subscriber);
    if (known) return known;
    const made = new Coalescer<JobEventText>(0);
    this.coalescers.set(subscriber, made);
    return made;
  }
}

function intervalOf({ intervalMs, flow }: Throttled): number {
  return Math.max(intervalMs, flow !== null && isSlow(flow) ? SLOW_INTERVAL_MS : 0);
}
