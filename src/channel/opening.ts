import { type Position, recover } from "./position.ts";

/** A channel's log as far as it is stored, with its events as frames. */
export interface ReplayableLog {
  /** How the `connection` frame names the channel: `{job_id}` or `{space}`. */
  address: object;
  epoch: string;
  /** The last offset given out. */
  last: number;
  /** Events up to this offset were dropped; 0: none. */
  trimmedTo: number;
  /** ISO 8601. */
  timestamp: string;
  /** Every event after `offset`, in order. */
  eventsAfter: (offset: number) => object[];
  /** The state now, for who does not go on from a position: what is left of the log first, the state last. */
  snapshot: () => object[];
}

/**
 * The first frames of every subscriber of a channel: where it is, then what it missed if not one event of
 * that is lost, otherwise a snapshot.
 */
export function openingFrames(log: ReplayableLog, since: Position | null): object[] {
  const { address, epoch, last, trimmedTo, timestamp } = log;
  const recovery = recover(since, { epoch, last, first: trimmedTo + 1 });
  const { recovered } = recovery;
  const offset = recovery.recovered ? recovery.after : last;
  const connection = { type: "connection", ...address, epoch, offset, recovered, timestamp };
  return [connection, ...(recovered ? log.eventsAfter(offset) : log.snapshot())];
}

/** What a subscriber lacks that was last sent `sentTo`, on a socket that outlived the object's memory. */
export function framesSince(log: ReplayableLog, sentTo: number): object[] {
  return sentTo >= log.trimmedTo ? log.eventsAfter(sentTo) : log.snapshot();
}
