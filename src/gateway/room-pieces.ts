import type { Position } from "../channel/position.ts";
import type { Relayed, RoomLog } from "../room/calls.ts";

/** After which position to read, at least up to which offset, and what to do after each piece before the next. */
export type RangeToRead = [
  since: Position,
  to: number,
  onPiece?: (bytes: number) => Promise<void> | null,
];

/**
 * Reads a room's events in pieces of about 1 MiB, so that others are served between. If the room drops some of them
 * meanwhile, the result is not `recovered`.
 *
 * @param read reads one piece
 */
export async function readInPieces(
  read: (since: Position) => Promise<RoomLog>,
  ...[since, to, onPiece = () => null]: RangeToRead
): Promise<RoomLog> {
  const events: Relayed[] = [];
  for (let from = since; ; ) {
    const piece = await read(from);
    events.push(...piece.events);
    await onPiece(lengthOf(piece.events));
    const last = events.at(-1);
    if (!piece.recovered || !piece.more || last === undefined || last.offset >= to) {
      return { ...piece, events };
    }
    from = { epoch: piece.epoch, offset: last.offset };
  }
}

/** The length of events together, characters. */
function lengthOf(events: readonly Relayed[]): number {
  return events.reduce((sum, { text }) => sum + text.length, 0);
}
