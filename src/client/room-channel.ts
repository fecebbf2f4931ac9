import { formatPosition, type Position } from "../channel/position.ts";
import type { Gap } from "./job-channel.ts";

/** How far one subscriber has read a room; `null`: it begins with the next event. */
export type RoomCursor = Position | null;

export interface Subscribed extends Position {
  recovered: boolean;
}

export interface RoomRead {
  cursor: RoomCursor;
  /** What is lost between what was read and where the channel goes on. */
  gap: Gap | null;
}

/**
 * The edge says where the channel goes on.
 *
 * @param asked the position that the edge was asked to go on from, for all subscribers here together
 */
export function readSubscribed(
  cursor: RoomCursor,
  { epoch, offset, recovered }: Subscribed,
  asked: Position | null,
): RoomRead {
  const here = { epoch, offset };
  if (cursor === null) return { cursor: here, gap: null };
  if (cursor.epoch !== epoch) return { cursor: here, gap: gapBetween(cursor, here) };
  // Another subscriber here may have asked for more than this one lacks.
  if (recovered) return { cursor: { epoch, offset: Math.max(cursor.offset, offset) }, gap: null };
  // Only a log that is not the one that was read ends before what was asked for.
  const isBehind = asked?.epoch === epoch && offset < asked.offset;
  if (!isBehind && offset <= cursor.offset) return { cursor, gap: null };
  return { cursor: here, gap: gapBetween(cursor, here) };
}

/**
 * An event of the room; the cursor stays the same object where it was told before.
 *
 * @param isWhole whether every event of the room comes, so that one that is missing shows
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
