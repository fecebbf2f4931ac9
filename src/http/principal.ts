import { ApiKeys, KEY_PREFIX } from "../accounts/api-keys.ts";
import { bearerOf, isOperatorKey } from "../auth/operator.ts";
import type { Principal } from "../auth/principal.ts";
import { verifyToken } from "../auth/token.ts";
import { offeredProtocols } from "../objects/subprotocol.ts";
import type { AppContext } from "./context.ts";
import { ProblemError } from "./problems.ts";
import { sessionOf } from "./session.ts";

/**
 * Returns who sends the request, by its key or token, or else by the session in its cookie. The token comes as
 * `Authorization: Bearer`, as `?token=`, or as the subprotocol `dialout.token.<token>`, because browsers can't set
 * headers on a socket (decision 0022).
 *
 * @throws {ProblemError} if there is a token that is not valid: its sender expects to be recognised
 */
export function principalOf(c: AppContext): Promise<Principal> {
  return find(c, bearerOf(c.req.header("authorization")) ?? tokenInAddressOf(c));
}

/** The same, but whoever sends a user's token that has expired is nobody, with the reason why it is not taken. */
export function readerOf(c: AppContext): Promise<Principal> {
  return principalOf(c).catch((error) => {
    if (error instanceof ExpiredToken) return { kind: "anonymous", expired: error.message };
    throw error;
  });
}

/** A user's token was good and has expired. */
class ExpiredToken extends ProblemError {
  constructor(reason: string) {
    super("not_authenticated", reason);
  }
}

/** The same, but for tokens in the address: it may be logged and shared. */
export function headerPrincipalOf(c: AppContext): Promise<Principal> {
  return find(c, bearerOf(c.req.header("authorization")));
}

/** Takes the sender of this request for `session`, whatever page it comes from: it has proven that it means it. */
export function setSession(c: AppContext, session: Principal): void {
  const known = c.get("principals") ?? new Map<string | null, Promise<Principal>>();
  c.set("principals", known.set(null, Promise.resolve(session)));
}

/** Finds out once for each request who a token is, or the session. */
function find(c: AppContext, token: string | null): Promise<Principal> {
  const known = c.get("principals") ?? new Map<string | null, Promise<Principal>>();
  c.set("principals", known);
  const found = known.get(token) ?? (token === null ? sessionOf(c) : holderOf(c, token));
  known.set(token, found);
  return found;
}

/** @throws {ProblemError} if it is not valid */
async function holderOf(c: AppContext, token: string): Promise<Principal> {
  if (isOperatorKey(token, c.env)) return { kind: "operator" };
  if (token.startsWith(KEY_PREFIX)) return keyPrincipal(c, token);
  const verified = await verifyToken(c.env, token);
  if (verified.ok) return verified.user;
  if (verified.isExpired) throw new ExpiredToken(verified.reason);
  const code = verified.isTemporary ? "temporarily_unavailable" : "not_authenticated";
  throw new ProblemError(code, verified.reason);
}

async function keyPrincipal(c: AppContext, key: string): Promise<Principal> {
  const found = await new ApiKeys(c.env.DB).verify(key, (use) => c.executionCtx.waitUntil(use));
  if (found !== null) return found;
  throw new ProblemError("not_authenticated", "This key is wrong, revoked or expired.");
}

const TOKEN_PROTOCOL = "dialout.token.";

/** The token that came as `?token=` or as a subprotocol; `null` if there is none. */
export function tokenInAddressOf(c: AppContext): string | null {
  const offered = offeredProtocols(c.req.raw.headers).find((protocol) =>
    protocol.startsWith(TOKEN_PROTOCOL),
  );
  return c.req.query("token") ?? offered?.slice(TOKEN_PROTOCOL.length) ?? null;
}
