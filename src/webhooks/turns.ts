/** At most this many messages are sent at once: the platform allows an object six open outgoing connections. */
export const MAX_CONCURRENT = 6;
/** How many of these connections receivers that are slow or fail may use together. */
const FOR_SLOW = 3;
/** How many connections one receiver may use: a proven one nearly all, one that is slow a single one. */
const FOR_EACH = { proven: MAX_CONCURRENT - 1, unknown: 2, slow: 1 } as const;

/** A receiver that has not answered for this long is slow, milliseconds. */
export const SLOW_MS = 1_000;

/** How a receiver answered lately: at once, too late or with an error, or it was not tried yet. */
export type Standing = keyof typeof FOR_EACH;
const ORDER: readonly Standing[] = ["proven", "unknown", "slow"];

/** A receiver with messages that wait; `dueAt` is when the first of them is due, milliseconds since 1970. */
export interface WaitingReceiver {
  receiver: string;
  dueAt: number;
}

/** A message that is being sent. */
export interface Sending {
  receiver: string;
  /** When it was sent, milliseconds since 1970. */
  since: number;
}

/**
 * Chooses the receiver that gets the next free connection, or `null` if none may have one now. Receivers take
 * turns: those that answer at once go before those that are not known, and slow ones come last and never
 * have all connections, so that one that hangs holds up no other.
 */
export function nextReceiver(
  waiting: readonly WaitingReceiver[],
  sending: readonly Sending[],
  standingOf: (receiver: string) => Standing,
): WaitingReceiver | null {
  if (sending.length >= MAX_CONCURRENT) return null;
  const slowOnes = sending.filter(({ receiver }) => standingOf(receiver) === "slow").length;
  const ranked = waiting.flatMap((candidate) => {
    const standing = standingOf(candidate.receiver);
    const used = sending.filter(({ receiver }) => receiver === candidate.receiver).length;
    const isFull = used >= FOR_EACH[standing] || (standing === "slow" && slowOnes >= FOR_SLOW);
    return isFull ? [] : [{ candidate, rank: ORDER.indexOf(standing), used }];
  });
  ranked.sort(
    (a, b) => a.rank - b.rank || a.used - b.used || a.candidate.dueAt - b.candidate.dueAt,
  );
  return ranked[0]?.candidate ?? null;
}

/**
 * The messages to give up for now, so that others get their turn: those sent more than `SLOW_MS` ago beyond the
 * connections that slow receivers may use, the oldest first. None if nobody waits.
 */
export function toPostpone<S extends Sending>(sending: readonly S[], now: number): S[] {
  const slow = sending.filter(({ since }) => now - since >= SLOW_MS);
  return slow.toSorted((a, b) => a.since - b.since).slice(0, Math.max(0, slow.length - FOR_SLOW));
}
