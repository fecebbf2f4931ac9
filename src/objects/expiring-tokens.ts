import { findExpiringTokens, TOKEN_EXPIRED, type TokenSocket } from "../auth/session.ts";
import { iso } from "../protocol/iso.ts";
import { logErrors } from "./log-errors.ts";

interface Calls<S> {
  send: (session: S, frame: object) => void;
  /** It was told that its token runs out. */
  onWarned: (session: S) => void;
  /** Closes it with 4401. */
  end: (session: S, reason: string) => void;
}

/** Tells those whose token is about to run out, and ends the sockets of those whose did. */
export function endTokens<S extends TokenSocket>(
  sessions: readonly S[],
  now: number,
  { send, onWarned, end }: Calls<S>,
): void {
  const { expired, expiring } = findExpiringTokens(sessions, now);
  for (const session of expired) {
    send(session, { type: "connection.error", code: "not_authenticated", message: TOKEN_EXPIRED });
    logErrors(() => end(session, TOKEN_EXPIRED));
  }
  for (const { session, expiresAt } of expiring) {
    send(session, { type: "connection.expiring", expires_at: iso(expiresAt) });
    logErrors(() => onWarned(session));
  }
}
