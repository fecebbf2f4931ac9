import type { CatchUpPace } from "../../objects/catch-up-pace.ts";
import { LIMITS } from "../../protocol/limits.ts";
import type { SubscriberConnection } from "../connections.ts";

/** The platform's rate limiter for submits. */
export type SubmitCounter = Pick<RateLimit, "limit">;

/** What the gate must know of a frame. */
export interface GatedFrame {
  isSubmit: boolean;
  /** The frame's length, characters: it is in memory while it waits. */
  length: number;
  /** About how many bytes the frame makes the edge send so that the subscriber can catch up with a job. */
  catchUpBytes: () => number;
}

/** For a close: it comes after the frames before it, and causes nothing that must be limited. */
export const NOTHING: GatedFrame = { isSubmit: false, length: 0, catchUpBytes: () => 0 };

/**
 * Asks the platform's counter about every submit over a socket (decision 0026), and lets a frame that has a job's
 * past sent wait until the socket may be sent more (decision 0041). What the same socket sends meanwhile waits, so
 * that its frames are handled in the order in which they came.
 */
export class SubmitGate {
  private readonly counter: SubmitCounter;
  private readonly localRights: boolean;
  private readonly pace: CatchUpPace<SubscriberConnection>;
  /** For each socket with waiting frames: resolves when its newest frame may be handled. */
  private readonly turns = new Map<SubscriberConnection, Promise<unknown>>();
  /** The length of each socket's waiting frames together, characters. */
  private readonly waiting = new Map<SubscriberConnection, number>();

  /** @param localRights whether submitters on the machine of the edge are not limited */
  constructor(
    counter: SubmitCounter,
    localRights: boolean,
    pace: CatchUpPace<SubscriberConnection>,
  ) {
    this.counter = counter;
    this.localRights = localRights;
    this.pace = pace;
  }

  /** Whether a frame may wait, too: a socket that sends on and on without its frames being handled must be closed. */
  hasRoom(subscriber: SubscriberConnection, { length }: GatedFrame): boolean {
    return (this.waiting.get(subscriber) ?? 0) + length <= LIMITS.unansweredLength;
  }

  /**
   * Calls `handle` when it is this frame's turn, at once if neither the counter, nor room for what it causes, nor an
   * earlier frame is waited for.
   */
  pass<T>(
    subscriber: SubscriberConnection,
    frame: GatedFrame,
    handle: (isAllowed: boolean) => Promise<T>,
  ): Promise<T> {
    const before = this.turns.get(subscriber);
    const counter = frame.isSubmit && this.isLimited(subscriber) ? this.counter : null;
    let turn: Promise<boolean>;
    if (before === undefined && counter === null) {
      const slowed = this.enter(subscriber, frame);
      if (slowed === null) return handle(true);
      turn = slowed.then(() => true);
    } else {
      const isAllowed = counter === null || isWithinLimit(counter, subscriber.attachment.address);
      turn = this.turnOf(subscriber, frame, isAllowed, before);
    }
    this.turns.set(subscriber, turn);
    this.count(subscriber, frame.length);
    return turn.then((isAllowed) => {
      this.count(subscriber, -frame.length);
      if (this.turns.get(subscriber) === turn) this.turns.delete(subscriber);
      return handle(isAllowed);
    });
  }

  /** Call this when a socket has closed: what it sent before is handled soon, but it is not sent anything more. */
  forget(subscriber: SubscriberConnection): void {
    this.pace.forget(subscriber);
  }

  private async turnOf(
    subscriber: SubscriberConnection,
    frame: GatedFrame,
    isAllowed: boolean | Promise<boolean>,
    before: Promise<unknown> | undefined,
  ): Promise<boolean> {
    const [allowed] = await Promise.all([isAllowed, before]);
    const slowed = this.enter(subscriber, frame);
    if (slowed !== null) await slowed;
    return allowed;
  }

  private enter(
    subscriber: SubscriberConnection,
    { catchUpBytes }: GatedFrame,
  ): Promise<void> | null {
    const bytes = this.pace.isGone(subscriber) ? 0 : catchUpBytes();
    return bytes === 0 ? null : this.pace.enter(subscriber, bytes);
  }

  private count(subscriber: SubscriberConnection, length: number): void {
    const sum = (this.waiting.get(subscriber) ?? 0) + length;
    if (sum > 0) this.waiting.set(subscriber, sum);
    else this.waiting.delete(subscriber);
  }

  private isLimited({ attachment: { operator, local } }: SubscriberConnection): boolean {
    return !operator && !(local && this.localRights);
  }
}

/** Asks the counter. If it fails, the submit passes. */
async function isWithinLimit(counter: SubmitCounter, key: string): Promise<boolean> {
  try {
    return (await counter.limit({ key })).success;
  } catch (error) {
    console.error("the counter of submits failed", error);
    return true;
  }
}
