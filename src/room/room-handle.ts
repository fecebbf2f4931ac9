import type { Position } from "../channel/position.ts";
import type { Env } from "../env.ts";
import type { PublishedEvent } from "../protocol/room-events.ts";
import type { PresenceChange, Present, Published, RoomLog, RoomLogEnd } from "./calls.ts";
import { hostOf } from "./host.ts";

/** A room as the rest of the edge reaches it, in whatever object it is kept. */
export class RoomHandle {
  private readonly env: Pick<Env, "ROOM">;
  private readonly room: string;

  constructor(env: Pick<Env, "ROOM">, room: string) {
    this.env = env;
    this.room = room;
  }

  /** What is published has been checked, and its right too. */
  publish(events: PublishedEvent[]): Promise<Published[]> {
    return this.host.publish(this.room, events);
  }

  /** `limit` events at most, after a position. */
  history(since: Position | null, limit: number): Promise<RoomLog> {
    return this.host.read(this.room, since, limit);
  }

  /** Everything after a position. A call carries 32 MiB, and a room keeps 4 MiB. */
  read(since: Position): Promise<RoomLog> {
    return this.host.read(this.room, since);
  }

  /** `isWatched`: somebody there wants to hear who comes and goes, from those who come now on. */
  join(gateway: string, present: PresenceChange[], isWatched: boolean): Promise<RoomLogEnd> {
    return this.host.join(this.room, gateway, present, isWatched);
  }

  changePresence(gateway: string, changes: PresenceChange[]): Promise<void> {
    return this.host.changePresence(this.room, gateway, changes);
  }

  presence(): Promise<Present[]> {
    return this.host.presence(this.room);
  }

  /** Opens a socket; `headers` are those of `socketHeaders`. */
  open(headers: Headers): Promise<Response> {
    const url = `https://room/${encodeURIComponent(this.room)}`;
    return this.host.fetch(url, { headers });
  }

  /** Asked for each call anew: a stub of an object that crashed stays broken. */
  private get host() {
    return this.env.ROOM.getByName(hostOf(this.room));
  }
}
