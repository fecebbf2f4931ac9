import type { LogPage, PageOrder } from "../channel/log-page.ts";
import type { Position } from "../channel/position.ts";
import type { EventFilter } from "../protocol/room-frames.ts";

/** Calls between rooms, gateways and the Worker. */

/** An event on its way to subscribers; `text` is its frame. */
export interface Relayed {
  offset: number;
  text: string;
}

/** A room's message to a gateway: events in order and without a gap, and changes of presence. */
export interface RoomDelivery {
  room: string;
  epoch: string;
  events: Relayed[];
  /** The offset of the room's last event: if `events` ends before it, events were lost on the way. */
  last: number;
  /** Frames about presence; they have no offset. */
  presence: string[];
}

/** Whether the gateway still has subscribers of the room. */
export interface DeliveryAnswer {
  subscribers: number;
}

/** A user in a room. */
export interface PresentUser {
  user_id: string;
  connections: number;
  since: string;
}

/** A page of the users in a room, the one who joined first first. */
export interface PresencePage {
  users: PresentUser[];
  /** The sockets of all users. */
  connections: number;
  /** All users of the room. */
  total: number;
  /** The user after whom the next page begins, as `<time of joining>:<user>`; `null` if this is the last page. */
  next: string | null;
}

/** The end of a room's log. */
export interface RoomLogEnd {
  epoch: string;
  last: number;
}

/** Which events of a room a page is to have. */
export interface HistoryQuery {
  since: Position | null;
  before: Position | null;
  order: PageOrder;
  limit: number;
  filter: EventFilter | null;
}

/** A page of a room's events. */
export type HistoryPage = RoomLogEnd & LogPage<Relayed> & { recovered: boolean };

/** The first of the events that a room still has after a position; `more`: there are others after these. */
export interface RoomLog extends RoomLogEnd {
  recovered: boolean;
  more: boolean;
  events: Relayed[];
}

/** How many sockets one user has in the room over one gateway; 0: the user has left. */
export interface PresenceChange {
  userId: string;
  connections: number;
}

/** The place of a published event; `repeated`: an event with this id was published before. */
export interface PublishedPosition {
  id: string;
  offset: number;
  at: number;
  repeated: boolean;
}
