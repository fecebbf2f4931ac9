import type { Position } from "../channel/position.ts";
import type { Env } from "../env.ts";
import type { Refusal } from "../objects/reply.ts";
import type { EventToPublish } from "../protocol/room-events.ts";
import type {
  HistoryPage,
  HistoryQuery,
  PresenceChange,
  PresencePage,
  PublishedPosition,
  RoomLog,
  RoomLogEnd,
} from "./calls.ts";
import { hostOf } from "./host.ts";

/** Calls to a room. Only this class knows which object keeps it. */
export class RoomStub {
  private readonly env: Pick<Env, "ROOM">;
  private readonly room: string;

  constructor(env: Pick<Env, "ROOM">, room: string) {
    this.env = env;
    this.room = room;
  }

  /** Publishes events. The caller has checked them, and that they may be published here. */
  async publish(events: EventToPublish[]): Promise<PublishedPosition[]> {
    const published = await this.publishFor(null, events);
    if (Array.isArray(published)) return published;
    throw new Error(published.detail);
  }

  /** The same for a user or a key, whose events the room counts; or why they are too many. */
  publishFor(
    publisher: string | null,
    events: EventToPublish[],
  ): Promise<PublishedPosition[] | Refusal> {
    // As text: an object loses the digits of its numbers on the way (`exact-json.ts`).
    return this.host.publish(this.room, JSON.stringify(events), publisher);
  }

  /** A page of at most `limit` events; without more options those after a position, oldest first. */
  history(
    since: Position | null,
    limit: number,
    options: Partial<Omit<HistoryQuery, "since" | "limit">> = {},
  ): Promise<HistoryPage> {
    const { before = null, order = "asc", filter = null } = options;
    return this.host.history(this.room, { since, before, order, limit, filter });
  }

  /** The first events after a position, about 1 MiB of them: others are served while the rest is read. */
  read(since: Position): Promise<RoomLog> {
    return this.host.read(this.room, since);
  }

  /**
   * Makes the room deliver its events to a gateway from now on.
   *
   * @param isWatched a subscriber over this gateway wants presence events, those of this join included
   */
  join(gateway: string, present: PresenceChange[], isWatched: boolean): Promise<RoomLogEnd> {
    return this.host.join(this.room, gateway, present, isWatched);
  }

  changePresence(gateway: string, changes: PresenceChange[]): Promise<void> {
    return this.host.changePresence(this.room, gateway, changes);
  }

  /** Makes the room ask a gateway who is there, and take everybody else for gone. */
  checkPresence(gateway: string): Promise<void> {
    return this.host.checkPresence(this.room, gateway);
  }

  /** Erases the room's events. */
  clear(): Promise<void> {
    return this.host.clear(this.room);
  }

  /** A page of the users who are there. @param after `next` of the page before */
  presence(after: string | null = null): Promise<PresencePage> {
    return this.host.presence(this.room, after);
  }

  /** Opens a socket; `headers` are those of `socketHeaders`. */
  open(headers: Headers): Promise<Response> {
    const url = `https://room/${encodeURIComponent(this.room)}`;
    return this.host.fetch(url, { headers });
  }

  /** A new stub for every call: the stub of an object that crashed stays broken. */
  private get host() {
    return this.env.ROOM.getByName(hostOf(this.room));
  }
}
