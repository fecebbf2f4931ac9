import { z } from "zod";
import { roomName } from "./address.ts";
import { publishedEvent, roomEventFrame } from "./room-events.ts";
import { ackFrame, positionText } from "./subscriber-frames.ts";
import { list, requestRef, timestamp } from "./values.ts";

/** The frames of `dialout.v1` on `/ws`, a socket for many rooms, and on the socket of one room. */

const ref = requestRef.optional();
const address = z.string().min(1).max(200);

/** Selects the events of a room that a subscriber gets: those that meet every condition. */
export const eventFilter = z.strictObject({
  /** Types, or prefixes of types such as `project.*`; one of them must match. */
  types: list(z.string().min(1).max(120), { min: 1, max: 50 }).optional(),
  /** Paths into `data`, each with the value, or a list of values, that the field there must equal. */
  where: z
    .record(z.string().min(1).max(200), z.union([scalar(), list(scalar(), { min: 1, max: 100 })]))
    .refine((where) => Object.keys(where).length <= 20, "may name 20 fields at most")
    .optional(),
});
export type EventFilter = z.infer<typeof eventFilter>;

function scalar() {
  return z.union([z.string().max(500), z.number(), z.boolean(), z.null()]);
}

/** The frames a client sends on `/ws`. */
export const gatewayClientFrame = z.discriminatedUnion("type", [
  z.strictObject({
    type: z.literal("subscribe"),
    room: address,
    since: positionText.optional(),
    filter: eventFilter.optional(),
    /** Whether to send `presence.joined` and `presence.left` too. */
    presence: z.boolean().optional(),
    ref,
  }),
  z.strictObject({ type: z.literal("unsubscribe"), room: address, ref }),
  z.strictObject({ type: z.literal("ping"), ref }),
  /** Sends a fresh token before the old one expires. */
  z.strictObject({ type: z.literal("authenticate"), token: z.string().min(1).max(16_384), ref }),
  z.strictObject({ type: z.literal("publish"), room: roomName, event: publishedEvent, ref }),
  ackFrame.extend({ room: address }),
]);
export type GatewayClientFrame = z.infer<typeof gatewayClientFrame>;
export type GatewayClientFrameInput = z.input<typeof gatewayClientFrame>;

/** The frames a client sends on the socket of one room. */
export const roomClientFrame = z.discriminatedUnion("type", [
  z.strictObject({ type: z.literal("ping"), ref }),
  z.strictObject({ type: z.literal("authenticate"), token: z.string().min(1).max(16_384), ref }),
  z.strictObject({ type: z.literal("publish"), event: publishedEvent, ref }),
  ackFrame,
]);
export type RoomClientFrame = z.infer<typeof roomClientFrame>;

export const authenticatedFrame = z.object({
  type: z.literal("authenticated"),
  user_id: z.string(),
  expires_at: timestamp,
  ref,
});

export const establishedFrame = z.object({
  type: z.literal("connection.established"),
  connection_id: z.string(),
  user_id: z.string().nullable(),
  rooms: z.array(z.string()),
  timestamp,
});
export const subscribedFrame = z.object({
  type: z.literal("subscribed"),
  room: z.string(),
  epoch: z.string(),
  /** The offset before the subscription: the next event is the one after it. */
  offset: z.int(),
  recovered: z.boolean(),
  ref,
});
export const presenceFrame = z.object({
  type: z.enum(["presence.joined", "presence.left"]),
  room: z.string(),
  user_id: z.string(),
  timestamp,
});
export const gatewayErrorFrame = z.object({
  type: z.literal("error"),
  code: z.string(),
  message: z.string(),
  room: z.string().optional(),
  ref,
});

/** The answer of `GET /api/rooms/:room/presence`. */
export const presenceResource = z.object({
  room: z.string(),
  users: z.array(z.object({ user_id: z.string(), connections: z.int(), since: timestamp })),
  connections: z.int(),
  /** How many users are in the room; an edge that sends no pages leaves it out. */
  total: z.int().optional(),
  /** Where the next page begins; absent on the last one. */
  next: z.string().optional(),
});

/** The parameters of `GET /api/rooms/:room/presence`. */
export const presenceQuery = z.looseObject({
  after: z
    .string()
    .regex(/^\d{1,15}:.{1,2000}$/s, "must be `next` of another page")
    .optional(),
});

/** The answer of `GET /api/rooms/:room/history`. */
export const historyResource = z.object({
  room: z.string(),
  epoch: z.string(),
  /** The offset of the room's last event. */
  offset: z.int(),
  /** `true`: the page begins right at the position that was named, and no event between is lost. */
  recovered: z.boolean(),
  /** Where the next page begins: its `since` if the order is `asc`, its `before` if it is `desc`. */
  next: z.string(),
  /** Whether the next page has any events. */
  more: z.boolean().optional(),
  events: z.array(roomEventFrame),
});
