import type { RoomCatalog } from "../catalog/room-catalog.ts";

const LISTED = "listed:";

/** Lists a room in the catalogue at its first event, so that admins can find it, and only then. */
export class RoomListing {
  private readonly kv: SyncKvStorage;
  private readonly catalog: RoomCatalog;
  /** The rooms that are listed, or about to be, as far as this is in memory. */
  private readonly known = new Set<string>();

  constructor(kv: SyncKvStorage, catalog: RoomCatalog) {
    this.kv = kv;
    this.catalog = catalog;
  }

  /** Call it for every event: all but a room's first one cost nothing. */
  onEvent(room: string, now: number): void {
    if (this.known.has(room)) return;
    this.known.add(room);
    if (this.kv.get(LISTED + room) === undefined) void this.add(room, now);
  }

  /** Takes a room off the list that has no events any more. */
  async remove(room: string): Promise<void> {
    this.known.delete(room);
    this.kv.delete(LISTED + room);
    await this.catalog.remove(room);
  }

  /** The same for a room that was erased; if the list can't be reached, its entry stays until somebody clears it. */
  async removeErased(room: string): Promise<void> {
    if (this.kv.get(LISTED + room) === undefined) return;
    try {
      await this.remove(room);
    } catch (error) {
      console.error(`the room ${room} could not be taken off the list`, error);
    }
  }

  private async add(room: string, now: number): Promise<void> {
    try {
      await this.catalog.add(room, now);
      // Cleared meanwhile: another event lists it again.
      if (this.known.has(room)) this.kv.put(LISTED + room, true);
    } catch (error) {
      this.known.delete(room);
      console.error(`the room ${room} could not be listed`, error);
    }
  }
}
