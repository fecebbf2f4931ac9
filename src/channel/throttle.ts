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

/** How a subscriber is throttled; stored in its socket's attachment. */
export const throttled = z.object({
  /** The shortest time between two states that the subscriber requested; 0: it wants every state. */
  intervalMs: z.number(),
  /** The last offset that was sent, if a newer event is delayed; `null` if nothing is delayed. */
  sentTo: z.number().nullable(),
  /** How much it was sent and has acknowledged; `null` if it doesn't acknowledge. */
  flow: z
    .object({
      sent: z.number(),
      acked: z.number(),
      marks: z.array(z.object({ offset: z.number(), sent: z.number() })).readonly(),
    })
    .nullable(),
});
export type Throttled = z.infer<typeof throttled>;

/**
 * How to throttle a subscriber that requested this; `null` if it requested nothing and gets everything.
 *
 * @param maxRate the most states a second, `null` for no limit
 * @param acks whether it acknowledges what it gets
 */
export function throttledAs(maxRate: number | null, acks: boolean): Throttled | null {
  if (maxRate === null && !acks) return null;
  const intervalMs = maxRate === null ? 0 : 1_000 / maxRate;
  return { intervalMs, sentTo: null, flow: acks ? NOTHING_SENT : null };
}

/** An event of a job as it is sent to many subscribers. */
export interface JobEventText {
  offset: number;
  weight: Weight;
  text: string;
  bytes: number;
}

/** Combines frames with their JSON texts, which are in the same order. */
export function eventTextsOf(
  frames: readonly (JobFrameKind & { offset: number })[],
  texts: readonly string[],
): JobEventText[] {
  return frames.map((frame, index) => {
    const text = texts[index] ?? "";
    return { offset: frame.offset, weight: weightOf(frame), text, bytes: byteLength(text) };
  });
}

/** The shortest time between two states for a slow subscriber, milliseconds. */
const SLOW_INTERVAL_MS = 50;

interface ThrottleDeps<S> {
  send: (subscriber: S, text: string) => void;
  /** Stores the subscriber's attachment, which outlives this memory. */
  remember: (subscriber: S) => void;
  /** Closes a subscriber that is too far behind; it may connect again and go on where it was. */
  cut: (subscriber: S) => void;
  /** Calls `onTimer` after `ms` milliseconds; returns a function that cancels the timer. */
  startTimer: (ms: number, onTimer: (now: number) => void) => () => void;
}

interface PendingTimer {
  at: number;
  cancel: () => void;
}

type ThrottledSubscriber = { attachment: { throttled: Throttled | null } };

/** Sends events to subscribers that requested a rate, or that acknowledge and may be slow. */
export class Throttle<S extends ThrottledSubscriber> {
  private readonly deps: ThrottleDeps<S>;
  private readonly coalescers = new WeakMap<S, Coalescer<JobEventText>>();
  /** When the delayed events of each subscriber that has any are due. */
  private readonly dueTimes = new Map<S, number>();
  private readonly removed = new WeakSet<S>();
  private timer: PendingTimer | null = null;

  constructor(deps: ThrottleDeps<S>) {
    this.deps = deps;
  }

  /** Sends new events to one subscriber: now, or later if they are more than it wants or can take. */
  send(subscriber: S, events: readonly JobEventText[], now: number): void {
    const state = subscriber.attachment.throttled;
    if (state === null || this.removed.has(subscriber)) return;
    const coalescer = this.coalescerOf(subscriber);
    for (const event of events) {
      coalescer.intervalMs = intervalOf(state);
      if (!this.sendNow(subscriber, state, coalescer.offer(event, event.weight, now))) return;
    }
    this.saveState(subscriber, state, now);
  }

  /** The subscriber acknowledged everything up to `offset`; if it caught up, it gets what was delayed. */
  onAck(subscriber: S, offset: number, now: number): void {
    const state = subscriber.attachment.throttled;
    if (state === null || state.flow === null || this.removed.has(subscriber)) return;
    const flow = afterAck(state.flow, offset);
    if (flow === state.flow) return;
    state.flow = flow;
    if (this.release(subscriber, state, now)) this.saveState(subscriber, state, now);
  }

  /** Call it once a subscriber whose delayed events were lost with the memory was sent them from the log. */
  caughtUp(subscriber: S): void {
    if (subscriber.attachment.throttled === null) return;
    subscriber.attachment.throttled.sentTo = null;
    this.deps.remember(subscriber);
  }

  remove(subscriber: S): void {
    this.removed.add(subscriber);
    this.forgetDueTime(subscriber);
  }

  /** Drops everything that is delayed, for all subscribers. */
  stop(): void {
    this.dueTimes.clear();
    this.cancelTimer();
  }

  private release(subscriber: S, state: Throttled, now: number): boolean {
    const coalescer = this.coalescerOf(subscriber);
    coalescer.intervalMs = intervalOf(state);
    return this.sendNow(subscriber, state, coalescer.release(now));
  }

  /** Sends events; returns `false` if the subscriber was cut off instead, now or before. */
  private sendNow(
    subscriber: S,
    state: Throttled,
    outgoing: readonly OutgoingEvent<JobEventText>[],
  ): boolean {
    for (const { event, skipped } of outgoing) {
      if (this.removed.has(subscriber)) return false;
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

  /** Stores with the socket what it was sent, so that the rest can be sent even if this memory is lost. */
  private saveState(subscriber: S, state: Throttled, now: number): void {
    const { sentTo, dueAt } = this.coalescerOf(subscriber);
    if (dueAt === null) this.forgetDueTime(subscriber);
    else {
      this.dueTimes.set(subscriber, dueAt);
      this.schedule(dueAt, now);
    }
    if (state.flow === null && state.sentTo === sentTo) return;
    state.sentTo = sentTo;
    this.deps.remember(subscriber);
  }

  private forgetDueTime(subscriber: S): void {
    this.dueTimes.delete(subscriber);
    if (this.dueTimes.size === 0) this.cancelTimer();
  }

  /** Starts one timer for all subscribers, for the first that is due: more would be costly. */
  private schedule(dueAt: number, now: number): void {
    if (this.timer !== null && this.timer.at <= dueAt) return;
    this.cancelTimer();
    const cancel = this.deps.startTimer(Math.max(1, Math.ceil(dueAt - now)), (firedAt) => {
      if (this.timer === timer) this.onTimer(timer, firedAt);
    });
    const timer: PendingTimer = { at: dueAt, cancel };
    this.timer = timer;
  }

  private cancelTimer(): void {
    this.timer?.cancel();
    this.timer = null;
  }

  private onTimer(timer: PendingTimer, now: number): void {
    this.timer = null;
    // The clock went backwards, so recorded due times mean nothing: serve everyone.
    const isEarly = now < timer.at;
    const due: S[] = [];
    let nextAt = Number.POSITIVE_INFINITY;
    for (const [subscriber, dueAt] of this.dueTimes) {
      if (isEarly || dueAt <= now) due.push(subscriber);
      else nextAt = Math.min(nextAt, dueAt);
    }
    for (const subscriber of due) this.sendDelayed(subscriber, now);
    if (this.dueTimes.size > 0 && nextAt < Number.POSITIVE_INFINITY) this.schedule(nextAt, now);
  }

  /** Sends what is delayed for one subscriber; an error is logged, as it must not affect the others. */
  private sendDelayed(subscriber: S, now: number): void {
    // Not tried again after an error, unless another event is delayed for the subscriber.
    this.dueTimes.delete(subscriber);
    try {
      const state = subscriber.attachment.throttled;
      if (state !== null && this.release(subscriber, state, now)) {
        this.saveState(subscriber, state, now);
      }
    } catch (error) {
      console.error("delayed events could not be sent to a subscriber", error);
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
