import { isRefusal } from "./answer.ts";
import type { DialoutError } from "./errors.ts";

/** `lost`: the client is about to reconnect. `closed`: it will not. */
export type LinkState = "connecting" | "open" | "lost" | "closed";

/**
 * The connection of a subscription, for a page to show. All states but `closed` mean that the client goes on
 * by itself.
 *
 * - `connecting`: the first dial is under way.
 * - `reconnecting`: the connection broke, and no dial has failed since.
 * - `unreachable`: no answer comes from the address.
 * - `not_an_edge`: something else answers there, such as a login page of a network or another server.
 * - `wrong_scheme`: `http:` was written for `https:`, or the other way round.
 * - `unavailable`: the edge answers, but can't serve this now, or no token could be obtained.
 * - `closed`: it is over. `error` is the edge's reason, such as `space_not_found`; `null` if it was closed here,
 *   or ended regularly.
 *
 * `since` is when there was a connection last, or when following began, in milliseconds since 1970. `attempts`
 * counts the dials that have failed since then.
 */
export type Connection =
  | { state: "connecting" }
  | { state: "open" }
  | { state: "reconnecting"; since: number }
  | { state: FailingState; since: number; attempts: number; error: DialoutError }
  | { state: "closed"; error: DialoutError | null };

type FailingState = "unreachable" | "not_an_edge" | "wrong_scheme" | "unavailable";

/** The state after a link event. `since`: when following began. */
export function nextConnection(
  before: Connection,
  link: LinkState,
  error: DialoutError | null,
  { now, since }: { now: number; since: number },
): Connection {
  switch (link) {
    case "connecting":
    case "open":
      return { state: link };
    case "closed":
      return { state: link, error };
    case "lost": {
      const start = "since" in before ? before.since : before.state === "open" ? now : since;
      if (error !== null) {
        const attempts = "attempts" in before ? before.attempts + 1 : 1;
        return { state: failingState(error), since: start, attempts, error };
      }
      if (before.state === "open") return { state: "reconnecting", since: start };
      return before;
    }
  }
}

/** Why there is no connection now; `null` if there is one, or the reason isn't known yet. */
export function connectionError(connection: Connection): DialoutError | null {
  return "error" in connection ? connection.error : null;
}

function failingState(error: DialoutError): FailingState {
  switch (error.code) {
    case "unreachable":
    case "timed_out":
      return "unreachable";
    case "not_an_edge":
    case "malformed_answer":
      return "not_an_edge";
    case "wrong_scheme":
      return "wrong_scheme";
    default:
      return isForeign(error) ? "not_an_edge" : "unavailable";
  }
}

/** A refusal that no edge sent. A proxy that fails (5xx) or limits (429) may well stand in front of an edge. */
function isForeign(error: DialoutError): boolean {
  const { status } = error;
  return status !== null && status < 500 && status !== 429 && !isRefusal(error);
}
