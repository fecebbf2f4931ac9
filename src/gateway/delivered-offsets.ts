import { formatPosition, type Position, parsePosition } from "../channel/position.ts";

/** The stored key has an older name for the log end: it can't change while objects have rows under it. */
const PREFIX = "head:";

/**
 * For each room, the position of the last event that this gateway has sent on, stored so that it survives
 * hibernation: the sockets stay open then, but memory is lost. Example without it: clients have event 7, the
 * gateway hibernates, and the delivery of event 8 is lost. Event 9 wakes the gateway, which would take 8 as
 * its start; clients would get 7, then 9, and nothing would show that 8 is missing.
 *
 * Writes are not waited for. If the process dies before one is on disk, its sockets die too, and clients
 * resume from their own position (decision 0021).
 */
export class DeliveredOffsets {
  private readonly storage: DurableObjectStorage;

  constructor(storage: DurableObjectStorage) {
    this.storage = storage;
  }

  read(room: string): Position | null {
    return parsePosition(this.storage.kv.get<string>(PREFIX + room));
  }

  write(room: string, logEnd: Position): void {
    void this.storage.put(PREFIX + room, formatPosition(logEnd), { allowUnconfirmed: true });
  }

  remove(room: string): void {
    this.storage.kv.delete(PREFIX + room);
  }

  /** The rooms that this gateway has joined and not forgotten. */
  rooms(): string[] {
    return [...this.storage.kv.list({ prefix: PREFIX })].map(([key]) => key.slice(PREFIX.length));
  }

  /** Removes the offsets of all rooms but these: nobody follows the others here any more. */
  keepOnly(rooms: { has(room: string): boolean }): void {
    for (const [key] of this.storage.kv.list({ prefix: PREFIX })) {
      if (!rooms.has(key.slice(PREFIX.length))) this.storage.kv.delete(key);
    }
  }
}
