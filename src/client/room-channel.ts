import { formatPosition, type Position } from "../channel/position.ts";
import type { Gap } from "./job-channel.ts";

/** How far one subscriber has read a room; `null` means it starts with the next event. */
export type RoomCursor = Position | null;

export interface Subscribed extends Position {
  recovered: boolean;
}

export interface RoomRead {
  cursor: RoomCursor;
  /** The events lost between the old cursor and the new one, if there are any. */
  gap: Gap | null;
}

/**
 * Moves the cursor to the position from which the edge continues the channel.
 *
 * @param asked the position requested from the edge on behalf of all local subscribers
 */
export function readSubscribed(
  cursor: RoomCursor,
  { epoch, offset, recovered }: Subscribed,
  asked: Position | null,
): RoomRead {
  const here = { epoch, offset };
  if (cursor === null) return { cursor: here, gap: null };
  if (cursor.epoch !== epoch) return { cursor: here, gap: gapBetween(cursor, here) };
  // The edge may continue from an earlier position, because another local subscriber needs it.
  if (recovered) return { cursor: { epoch, offset: Math.max(cursor.offset, offset) }, gap: null };
  // A log that ends before the requested position can't be the log that was read before.
  const isBehind = asked?.epoch === epoch && offset < asked.offset;
  if (!isBehind && offset <= cursor.offset) return { cursor, gap: null };
  return { cursor: here, gap: gapBetween(cursor, here) };
}

/**
 * Reads one event. If it was read before, the returned cursor is the same object.
 *
 * @param isWhole whether the subscription is unfiltered, so that a skipped offset means a lost event
 */
export function readEvent(cursor: Position, offset: number, isWhole: boolean): RoomRead {
  const { epoch } = cursor;
  if (offset <= cursor.offset) return { cursor, gap: null };
  const before = { epoch, offset: offset - 1 };
  const gap = isWhole && before.offset > cursor.offset ? gapBetween(cursor, before) : null;
  return { cursor: { epoch, offset }, gap };
}

export function gapBetween(after: Position, until: Position): Gap {
  return { type: "gap", after: formatPosition(after), until: formatPosition(until) };
}
