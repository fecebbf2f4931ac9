import { z } from "zod";
import { roomName } from "./address.ts";
import { publishedEvent, roomEventFrame } from "./room-events.ts";
import { ackFrame, positionText } from "./subscriber-frames.ts";
import { timestamp } from "./values.ts";

/** `dialout.v1` on `/ws`, many rooms on one socket, and on the socket of one room. */

const ref = z.union([z.string().max(200), z.number()]).optional();
const address = z.string().min(1).max(200);

/** Which events of a room a subscriber wants: every condition must hold. */
export const eventFilter = z.strictObject({
  /** Types, or the beginning of types: `project.*`. */
  types: z.array(z.string().min(1).max(120)).min(1).max(50).optional(),
  /** Fields of `data` by their path, and the value, or any of the values, they must have. */
  where: z
    .record(z.string().min(1).max(200), z.union([scalar(), z.array(scalar()).min(1).max(100)]))
    .refine((where) => Object.keys(where).length <= 20, "may name 20 fields at most")
    .optional(),
});
export type EventFilter = z.infer<typeof eventFilter>;

function scalar() {
  return z.union([z.string().max(500), z.number(), z.boolean(), z.null()]);
}

/** What a client sends on `/ws`. */
export const gatewayClientFrame = z.discriminatedUnion("type", [
  z.strictObject({
    type: z.literal("subscribe"),
    room: address,
    since: positionText.optional(),
    filter: eventFilter.optional(),
    /** Also who comes and goes. */
    presence: z.boolean().optional(),
    ref,
  }),
  z.strictObject({ type: z.literal("unsubscribe"), room: address, ref }),
  z.strictObject({ type: z.literal("ping"), ref }),
  /** A fresh token, before the old one runs out. */
  z.strictObject({ type: z.literal("authenticate"), token: z.string().min(1).max(16_384), ref }),
  z.strictObject({ type: z.literal("publish"), room: roomName, event: publishedEvent, ref }),
  ackFrame.extend({ room: address }),
]);
export type GatewayClientFrame = z.infer<typeof gatewayClientFrame>;
export type GatewayClientFrameInput = z.input<typeof gatewayClientFrame>;

/** What a client sends on the socket of one room. */
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
  /** The last event the subscriber has, or need not have: the next one is this plus 1. */
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

/** `GET /api/rooms/:room/presence`. */
export const presenceResource = z.object({
  room: z.string(),
  users: z.array(z.object({ user_id: z.string(), connections: z.int(), since: timestamp })),
  connections: z.int(),
});

/** `GET /api/rooms/:room/history`. */
export const historyResource = z.object({
  room: z.string(),
  epoch: z.string(),
  /** The last event there is. */
  offset: z.int(),
  /** `false`: events after `since` are lost; those that are left are here. */
  recovered: z.boolean(),
  /** Where to go on reading. */
  next: z.string(),
  events: z.array(roomEventFrame),
});
