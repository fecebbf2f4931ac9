import type { EventToPublish } from "../protocol/room-events.ts";
import type { PublishedPosition } from "../room/calls.ts";

/** Most events in one call: each has 262,144 bytes at most, and a call carries 32 MiB. */
const MAX_EVENTS = 64;

interface WaitingEvent {
  event: EventToPublish;
  resolve: (position: PublishedPosition) => void;
  reject: (error: unknown) => void;
}

/** Publishes events to a room. The answers are in the order of the events. */
type Publish = (room: string, events: EventToPublish[]) => Promise<PublishedPosition[]>;

/**
 * Publishes the events of each client to each room in the order in which they came: one call at a time, each with
 * everything that came during the call before. Two calls at the same time could overtake each other.
 */
export class Publisher<C extends object> {
  private readonly call: Publish;
  /** For each client and each room with a call under way: the events that wait for its end. */
  private readonly waiting = new WeakMap<C, Map<string, WaitingEvent[]>>();

  constructor(call: Publish) {
    this.call = call;
  }

  publish(client: C, room: string, event: EventToPublish): Promise<PublishedPosition> {
    const { promise, resolve, reject } = Promise.withResolvers<PublishedPosition>();
    const rooms = this.waiting.get(client) ?? new Map<string, WaitingEvent[]>();
    this.waiting.set(client, rooms);
    const waiting = rooms.get(room);
    if (waiting) waiting.push({ event, resolve, reject });
    else void this.publishAll(rooms, room, { event, resolve, reject });
    return promise;
  }

  private async publishAll(
    rooms: Map<string, WaitingEvent[]>,
    room: string,
    first: WaitingEvent,
  ): Promise<void> {
    const waiting = [first];
    rooms.set(room, waiting);
    while (waiting.length > 0) await this.publishTogether(room, waiting.splice(0, MAX_EVENTS));
    rooms.delete(room);
  }

  private async publishTogether(room: string, batch: WaitingEvent[]): Promise<void> {
    try {
      const events = batch.map(({ event }) => event);
      const positions = await this.call(room, events);
      for (const [index, { resolve, reject }] of batch.entries()) {
        const position = positions[index];
        if (position) resolve(position);
        else reject(new Error("an event was not answered"));
      }
    } catch (error) {
      for (const { reject } of batch) reject(error);
    }
  }
}
