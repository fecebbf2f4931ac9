/**
 * A place in a channel: offsets count from 1 within an epoch; offset 0 is before the first event. The epoch is
 * a random text that changes whenever the offsets start again, as an offset alone would then point to the
 * wrong event. Example: a client has seen event 7 of a room, the room is erased, and 9 new events are
 * published. Without the epoch the client would resume after 7, get events 8 and 9, and never learn that 1 to 7
 * of the new log are missing. With it the epochs differ, and the client gets a snapshot instead.
 */
export interface Position {
  epoch: string;
  offset: number;
}

export function formatPosition(position: Position): string {
  return `${position.epoch}:${position.offset}`;
}

/** Parses `<epoch>:<offset>`; `null` for anything else, in which case the follower gets a snapshot. */
export function parsePosition(text: string | null | undefined): Position | null {
  const match = /^([\w-]{1,40}):(\d{1,15})$/.exec(text ?? "");
  if (match?.[1] === undefined || match[2] === undefined) return null;
  return { epoch: match[1], offset: Number(match[2]) };
}

/** The range of events that a channel still has. */
export interface LogBounds {
  epoch: string;
  /** The last offset that was used; 0 if none was. */
  last: number;
  /** The first offset that is still stored; `last + 1` if none is. */
  first: number;
}

/** Whether a follower can go on from its position; if so, it gets the events after the offset `after`. */
export type Recovery = { recovered: true; after: number } | { recovered: false };

/** Decides whether a follower can go on: only if every event after its position is still stored. */
export function recover(since: Position | null, log: LogBounds): Recovery {
  if (since === null || since.epoch !== log.epoch) return { recovered: false };
  if (since.offset > log.last || since.offset + 1 < log.first) return { recovered: false };
  return { recovered: true, after: since.offset };
}
