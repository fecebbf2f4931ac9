import { formatPosition, type Position, parsePosition } from "../channel/position.ts";

const PREFIX = "head:";

/**
 * What was passed on of each room, kept for when memory is lost and sockets are not. Where the process
 * dies the sockets die with it, so that nothing that is sent has to wait for the disk.
 */
export class DeliveredOffsets {
  private readonly storage: DurableObjectStorage;

  constructor(storage: DurableObjectStorage) {
    this.storage = storage;
  }

  read(room: string): Position | null {
    return parsePosition(this.storage.kv.get<string>(PREFIX + room));
  }

  keep(room: string, head: Position): void {
    void this.storage.put(PREFIX + room, formatPosition(head), { allowUnconfirmed: true });
  }

  drop(room: string): void {
    this.storage.kv.delete(PREFIX + room);
  }

  /** Those of rooms that nobody follows here any more. */
  dropAllBut(rooms: { has(room: string): boolean }): void {
    for (const [key] of this.storage.kv.list({ prefix: PREFIX })) {
      if (!rooms.has(key.slice(PREFIX.length))) this.storage.kv.delete(key);
    }
  }
}
