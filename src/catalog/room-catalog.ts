import type { ListedRoom } from "../protocol/room-events.ts";

type RoomRow = { name: string; first_event_at: number };

/**
 * The list of rooms that have events, for admins. A room's object adds it at the first event and removes it when it
 * erases the room: nothing is written for any other event.
 */
export class RoomCatalog {
  private readonly db: D1Database;

  constructor(db: D1Database) {
    this.db = db;
  }

  async add(room: string, now: number): Promise<void> {
    const query = "INSERT OR IGNORE INTO rooms (name, first_event_at) VALUES (?, ?)";
    await this.db.prepare(query).bind(room, now).run();
  }

  async remove(room: string): Promise<void> {
    await this.db.prepare("DELETE FROM rooms WHERE name = ?").bind(room).run();
  }

  /** In the order of their names; `after` is the last name of the previous page, or empty. */
  async list({
    prefix,
    after,
    limit,
  }: {
    prefix: string;
    after: string;
    limit: number;
  }): Promise<ListedRoom[]> {
    const { results } = await this.db
      .prepare(
        `SELECT name, first_event_at FROM rooms
         WHERE name > ?1 AND name >= ?2 AND substr(name, 1, length(?2)) = ?2 ORDER BY name LIMIT ?3`,
      )
      .bind(after, prefix, limit)
      .all<RoomRow>();
    return results.map(({ name, first_event_at }) => ({
      room: name,
      first_event_at: new Date(first_event_at).toISOString(),
    }));
  }
}
