import type { SubscriberConnection } from "../connections.ts";

/** The platform's rate limiter for submits. */
export type SubmitCounter = Pick<RateLimit, "limit">;

/**
 * Asks the platform's counter about every submit over a socket (decision 0026). The counter answers
 * asynchronously. What the same socket sends meanwhile waits, so that its frames are handled in the order in
 * which they came.
 */
export class SubmitGate {
  private readonly counter: SubmitCounter;
  private readonly localRights: boolean;
  /** For each socket with waiting frames: resolves when its newest frame may be handled. */
  private readonly turns = new Map<SubscriberConnection, Promise<unknown>>();

  /** @param localRights whether submitters on the machine of the edge are not limited */
  constructor(counter: SubmitCounter, localRights: boolean) {
    this.counter = counter;
    this.localRights = localRights;
  }

  /**
   * Calls `handle` when it is this frame's turn, at once if neither the counter nor an earlier frame is waited
   * for.
   */
  pass<T>(
    subscriber: SubscriberConnection,
    isSubmit: boolean,
    handle: (isAllowed: boolean) => Promise<T>,
  ): Promise<T> {
    const before = this.turns.get(subscriber);
    const counter = isSubmit && this.isLimited(subscriber) ? this.counter : null;
    if (before === undefined && counter === null) return handle(true);
    const turn = Promise.all([
      counter === null || isWithinLimit(counter, subscriber.attachment.address),
      before,
    ]);
    this.turns.set(subscriber, turn);
    return turn.then(([isAllowed]) => {
      if (this.turns.get(subscriber) === turn) this.turns.delete(subscriber);
      return handle(isAllowed);
    });
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
