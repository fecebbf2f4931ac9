import { byteLength } from "../protocol/codec.ts";
import { afterAck, afterSending, type Flow, isBehind, NOTHING_SENT } from "./flow.ts";

/** An event as it is sent to many subscribers. */
interface CountedEvent {
  offset: number;
  text: string;
}

/** What one subscriber was sent and has not acknowledged yet. */
interface Outstanding {
  /** Over all of its channels. */
  bytes: number;
  flows: Map<string, Flow>;
}

/**
 * Bounds how far behind a subscriber with `?acks=1` may be, counted over all of its channels. The counts are
 * kept in memory only: if the memory is lost, every subscriber starts again from zero.
 */
export class AckWindow<S extends object> {
  private readonly outstanding = new WeakMap<S, Outstanding>();
  private readonly sizes = new WeakMap<CountedEvent, number>();

  /** Returns those of a channel's next events that may be sent. If not all may, the subscriber must be cut off. */
  admit<E extends CountedEvent>(
    subscriber: S,
    channel: string,
    events: readonly E[],
  ): readonly E[] {
    const outstanding = this.outstandingOf(subscriber);
    let flow = outstanding.flows.get(channel) ?? NOTHING_SENT;
    let count = 0;
    for (const event of events) {
      if (isBehind({ sent: outstanding.bytes, acked: 0 })) break;
      const bytes = this.sizeOf(event);
      flow = afterSending(flow, event.offset, bytes);
      outstanding.bytes += bytes;
      count += 1;
    }
    outstanding.flows.set(channel, flow);
    return count === events.length ? events : events.slice(0, count);
  }

  /** The subscriber acknowledged everything of a channel up to `offset`. */
  onAck(subscriber: S, channel: string, offset: number): void {
    const outstanding = this.outstanding.get(subscriber);
    const flow = outstanding?.flows.get(channel);
    if (!outstanding || !flow) return;
    const after = afterAck(flow, offset);
    outstanding.bytes -= after.acked - flow.acked;
    outstanding.flows.set(channel, after);
  }

  /** Drops the count of a channel that the subscriber no longer follows, or follows from the start again. */
  forget(subscriber: S, channel: string): void {
    const outstanding = this.outstanding.get(subscriber);
    const flow = outstanding?.flows.get(channel);
    if (!outstanding || !flow) return;
    outstanding.bytes -= flow.sent - flow.acked;
    outstanding.flows.delete(channel);
  }

  private outstandingOf(subscriber: S): Outstanding {
    const known = this.outstanding.get(subscriber);
    if (known) return known;
    const made = { bytes: 0, flows: new Map<string, Flow>() };
    this.outstanding.set(subscriber, made);
    return made;
  }

  /** Measures an event once, however many subscribers get it. */
  private sizeOf(event: CountedEvent): number {
    const known = this.sizes.get(event);
    if (known !== undefined) return known;
    const bytes = byteLength(event.text);
    this.sizes.set(event, bytes);
    return bytes;
  }
}
