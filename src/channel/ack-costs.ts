import { LIMITS } from "../protocol/limits.ts";

/** The acknowledgements of one subscriber that were counted as less than a frame. */
interface CountedAcks {
  count: number;
  /** The offset of the last one. */
  offset: number;
}

/**
 * Says how many frames each `ack` counts as (decision 0061). Clients send one for every few frames that they get, so
 * one that acknowledges something counts as a tenth. One that says nothing new is no cheaper than other frames: it
 * would be the cheapest way to keep the edge busy. In memory only: an object that has lost it was idle for long.
 */
export class AckCosts<S extends object> {
  private readonly acks = new WeakMap<S, CountedAcks>();

  /**
   * @param offset up to which the subscriber acknowledges
   * @param framesSent how many frames it was sent so far, those to catch up included; 0 if it is not to acknowledge
   */
  costOf(subscriber: S, offset: number, framesSent: number): number {
    const before = this.acks.get(subscriber) ?? { count: 0, offset: -1 };
    if (offset <= before.offset || before.count >= framesSent) return 1;
    this.acks.set(subscriber, { count: before.count + 1, offset });
    return LIMITS.ackFrame;
  }
}
