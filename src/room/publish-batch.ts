import { ulid } from "ulid";
import type { EventToPublish } from "../protocol/room-events.ts";
import type { RoomStore, StoredRoomEvent } from "../storage/room-store.ts";
import type { PublishedPosition } from "./calls.ts";

/** The events that are published in one turn of a room: each gets its offset, then all are stored together. */
export class PublishBatch {
  /** The events that were not known before, in the order of their offsets. */
  readonly newEvents: StoredRoomEvent[] = [];
  /** Some event was published before under the same id. */
  hasRepeats = false;
  private readonly openStore: () => RoomStore;
  private readonly byId = new Map<string, PublishedPosition>();

  /** @param openStore the room's store, with its tables; called only in the batch's transaction */
  constructor(openStore: () => RoomStore) {
    this.openStore = openStore;
  }

  /** Gives events the next offsets. An event whose id is known keeps the offset that it has. */
  add(events: readonly EventToPublish[], now: number): PublishedPosition[] {
    return events.map((event) => {
      const published = this.addEvent(event, now);
      if (published.repeated) this.hasRepeats = true;
      return published;
    });
  }

  /** Stores the new events. */
  save(): void {
    this.openStore().append(this.newEvents, new Set(this.byId.keys()));
  }

  private addEvent({ id: chosenId, type, data }: EventToPublish, at: number): PublishedPosition {
    const store = this.openStore();
    const known =
      chosenId === undefined ? null : (this.byId.get(chosenId) ?? store.known(chosenId));
    const id = chosenId ?? ulid(at);
    if (known) return { id, offset: known.offset, at: known.at, repeated: true };
    const offset = (this.newEvents.at(-1)?.offset ?? store.held.last) + 1;
    this.newEvents.push({ offset, at, id, type, data });
    const published = { id, offset, at, repeated: false };
    if (chosenId !== undefined) this.byId.set(chosenId, published);
    return published;
  }
}
