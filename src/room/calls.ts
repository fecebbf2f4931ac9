/** Calls between rooms, gateways and the Worker. */

/** An event as it is passed on; `text` is its frame. */
export interface Relayed {
  offset: number;
  text: string;
}

/** What a room tells a gateway: events in order without a gap between, and who came and went. */
export interface RoomDelivery {
  room: string;
  epoch: string;
  events: Relayed[];
  /** The last event there is: what is lacking up to it was lost on the way. */
  last: number;
  /** Frames of presence, which have no place in the log. */
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

/** Where a room's log stands. */
export interface RoomLogEnd {
  epoch: string;
  last: number;
}

/** What a room still has after a position. */
export interface RoomLog extends RoomLogEnd {
  recovered: boolean;
  events: Relayed[];
}

/** Sockets of one user in the room over one gateway; 0: the user has left. */
export interface PresenceChange {
  userId: string;
  connections: number;
}

/** A published event; `repeated`: it was published under this id before. */
export interface PublishedPosition {
  id: string;
  offset: number;
  at: number;
  repeated: boolean;
}
