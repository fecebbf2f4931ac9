/** A place in a channel: offsets count from 1 within an epoch; offset 0 is before the first event. */
export interface Position {
  epoch: string;
  offset: number;
}

export function formatPosition(position: Position): string {
  return `${position.epoch}:${position.offset}`;
}

/** Reads `<epoch>:<offset>`; anything else is `null`, and its sender starts from a snapshot. */
export function parsePosition(text: string | null | undefined): Position | null {
  const match = /^([\w-]{1,40}):(\d{1,15})$/.exec(text ?? "");
  if (match?.[1] === undefined || match[2] === undefined) return null;
  return { epoch: match[1], offset: Number(match[2]) };
}

/** What a channel still holds. */
export interface LogBounds {
  epoch: string;
  /** The last offset given out; 0 when none was. */
  last: number;
  /** The first offset still stored; `last + 1` when none is. */
  first: number;
}

/** Whether a follower can go on after `since`, and from which offset it is sent events. */
export type Recovery = { recovered: true; after: number } | { recovered: false };

/** A follower recovers only where not one event between its position and now is lost. */
export function recover(since: Position | null, log: LogBounds): Recovery {
  if (since === null || since.epoch !== log.epoch) return { recovered: false };
  if (since.offset > log.last || since.offset + 1 < log.first) return { recovered: false };
  return { recovered: true, after: since.offset };
}
