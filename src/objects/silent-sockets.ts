import { z } from "zod";

/** A client that has pinged before counts as gone after this long without a frame or ping, milliseconds. */
export const SILENT_MS = 180_000;
export const SILENT = `No frame and no ping came for ${SILENT_MS / 60_000} minutes.`;
/** A ping this soon after the opening doesn't show that more will come: clients that only listen send one (C16a). */
const OPENING_MS = 10_000;
/** A sign of life is stored at most this often, milliseconds. */
const STORE_MS = 30_000;

/**
 * What a socket's attachment keeps of its client's signs of life, milliseconds since 1970; 0: none. The times of
 * texts `ping` are not among them: the runtime answers those, and keeps the time of the last.
 */
export const signsOfLife = {
  openedAt: z.number().default(0),
  /** When the client's last frame came, to within half a minute. */
  heardAt: z.number().default(0),
  /** When its last frame `{"type":"ping"}` came, to within half a minute. */
  pingedAt: z.number().default(0),
};
export interface SignsOfLife {
  openedAt: number;
  heardAt: number;
  pingedAt: number;
}

/** What a new frame changes in the attachment; `null` if it need not be stored. */
export function signOf(
  { heardAt, pingedAt }: SignsOfLife,
  isPing: boolean,
  now: number,
): Partial<SignsOfLife> | null {
  if (isPing && now - pingedAt >= STORE_MS) return { heardAt: now, pingedAt: now };
  return now - heardAt >= STORE_MS ? { heardAt: now } : null;
}

/** From when on the client counts as gone; `null` if it does not ping, so that silence says nothing. */
export function silentAt(
  { openedAt, heardAt, pingedAt }: SignsOfLife,
  lastPingAt: number | null,
): number | null {
  const lastPing = Math.max(lastPingAt ?? 0, pingedAt);
  if (lastPing < openedAt + OPENING_MS) return null;
  return Math.max(lastPing, heardAt) + SILENT_MS;
}

/** The sockets of one object; `lastPingAt` is what the runtime knows of the text `ping`. */
interface Sockets<S extends Kept> {
  all(): S[];
  lastPingAt(kept: Pick<Kept, "socket">): number | null;
}
interface Kept {
  socket: WebSocket;
  attachment: SignsOfLife;
}

/**
 * The sockets whose clients have fallen silent.
 *
 * @param resumedAt since when the edge has run without standing still, milliseconds since 1970: what clients sent
 * before that may not have been read (decision 0050)
 */
export function findSilent<S extends Kept>(
  sockets: Sockets<S>,
  now: number,
  resumedAt: number,
): S[] {
  if (now < resumedAt + SILENT_MS) return [];
  return sockets.all().filter((kept) => {
    const at = silentAt(kept.attachment, sockets.lastPingAt(kept));
    return at !== null && now >= at;
  });
}

/**
 * When to look for clients that have fallen silent, milliseconds since 1970; `null`: there is no need to. One that
 * did not ping in its first minutes is looked at only when others are.
 */
export function silenceDueAt<S extends Kept>(
  sockets: Sockets<S>,
  now: number,
  resumedAt: number,
): number | null {
  const dues = sockets.all().flatMap((kept) => {
    const first = kept.attachment.openedAt + SILENT_MS;
    return silentAt(kept.attachment, sockets.lastPingAt(kept)) ?? (now < first ? first : []);
  });
  if (dues.length === 0) return null;
  return Math.max(
    dues.reduce((first, at) => Math.min(first, at)),
    resumedAt + SILENT_MS,
  );
}
