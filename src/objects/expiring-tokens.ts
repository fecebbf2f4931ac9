import { type Session, TOKEN_OVER, tokensOver } from "../auth/session.ts";
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
export function endTokens<S extends Session>(
  sessions: readonly S[],
  now: number,
  { send, onWarned, end }: Calls<S>,
): void {
  const { ended, ending } = tokensOver(sessions, now);
  for (const session of ended) {
    send(session, { type: "connection.error", code: "not_authenticated", message: TOKEN_OVER });
    logErrors(() => end(session, TOKEN_OVER));
  }
  for (const { session, expiresAt } of ending) {
    send(session, { type: "connection.expiring", expires_at: iso(expiresAt) });
    logErrors(() => onWarned(session));
  }
}
