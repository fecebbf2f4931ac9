import { findExpiringTokens, TOKEN_EXPIRED, type TokenSocket } from "../auth/session.ts";
import { iso } from "../protocol/iso.ts";
import { logErrors } from "./log-errors.ts";

interface TokenExpiryActions<S> {
  send: (session: S, frame: object) => void;
  /** Called when the session was sent `connection.expiring`. */
  onWarned: (session: S) => void;
  /** Closes the session's socket with 4401. */
  end: (session: S, reason: string) => void;
}

/** Warns sessions whose token is about to expire, and closes those whose token has expired. */
export function closeExpiredSessions<S extends TokenSocket>(
  sessions: readonly S[],
  now: number,
  { send, onWarned, end }: TokenExpiryActions<S>,
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
