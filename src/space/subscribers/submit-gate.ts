import type { SubscriberConnection } from "../connections.ts";

/** The platform's counter of submits. */
export type SubmitCounter = Pick<RateLimit, "limit">;

/**
 * Asks the platform's counter about every submit over a socket. The answer takes its time, and what the
 * same socket sends meanwhile waits for it: frames are handled in the order in which they came.
 */
export class SubmitGate {
  private readonly counter: SubmitCounter | null;
  /** What the newest frame of a socket waits for. */
  private readonly turns = new Map<SubscriberConnection, Promise<unknown>>();

  /** Without a counter nobody is limited. */
  constructor(counter: SubmitCounter | null) {
    this.counter = counter;
  }

  /** Calls `handle` when it is this frame's turn: at once, where nothing waits and nothing is asked. */
  pass<T>(
    subscriber: SubscriberConnection,
    isSubmit: boolean,
    handle: (isAllowed: boolean) => Promise<T>,
  ): Promise<T> {
    const before = this.turns.get(subscriber);
    const counter = isSubmit && !subscriber.attachment.operator ? this.counter : null;
    if (before === undefined && counter === null) return handle(true);
    const turn = Promise.all([
      counter === null || ask(counter, subscriber.attachment.address),
      before,
    ]);
    this.turns.set(subscriber, turn);
    return turn.then(([isAllowed]) => {
      if (this.turns.get(subscriber) === turn) this.turns.delete(subscriber);
      return handle(isAllowed);
    });
  }
}

/** A counter that fails is no reason to turn anybody away. */
async function ask(counter: SubmitCounter, key: string): Promise<boolean> {
  try {
    return (await counter.limit({ key })).success;
  } catch (error) {
    console.error("the counter of submits failed", error);
    return true;
  }
}
