import { Hono } from "hono";
import { Users } from "../accounts/users.ts";
import { grantToken, signToken } from "../auth/mint-token.ts";
import type { Principal } from "../auth/principal.ts";
import { fitsSession } from "../auth/session.ts";
import { type MintedToken, mintTokenBody } from "../protocol/accounts.ts";
import { iso } from "../protocol/iso.ts";
import { LIMITS } from "../protocol/limits.ts";
import { note } from "./audit.ts";
import { readJson } from "./body.ts";
import type { AppContext, AppEnv } from "./context.ts";
import { headerPrincipalOf } from "./principal.ts";
import { ProblemError, validate } from "./problems.ts";
import { noStore } from "./session.ts";

/** `/api/tokens`: makes users' tokens for rooms, with no more rights than whoever asks has. */
export const tokens = new Hono<AppEnv>().use(noStore).post("/", async (c) => {
  const asker = await requireAsker(c);
  const body = validate(mintTokenBody, await readJson(c, LIMITS.accountBodyBytes));
  if (c.env.JWKS_URL) {
    const detail =
      "This edge checks users' tokens with the keys at JWKS_URL: whoever has their private half makes the tokens.";
    throw new ProblemError("tokens_made_elsewhere", detail);
  }
  const grant = grantToken(asker, body);
  if (!grant.ok) throw new ProblemError("not_allowed", grant.reason);
  const { userId, rooms, publish, spaces } = grant;
  if (asker.kind === "key" && userId !== asker.userId) await refuseAccounts(c, userId);
  // What makes a token must not be outlived by it.
  const limit = asker.kind === "operator" ? null : asker.expiresAt;
  const wanted = Date.now() + body.expires_in_s * 1_000;
  const expiresAt = Math.floor(Math.min(wanted, limit ?? wanted) / 1_000);
  if (!fitsSession({ kind: "user", userId, expiresAt, rooms, publish })) {
    const detail = "rooms: the rights are too many for a socket: use patterns such as `project:*`.";
    throw new ProblemError("invalid_request", detail);
  }
  const token = await signToken(c.env, grant, expiresAt);
  const expires_at = iso(expiresAt * 1_000);
  await note(c, "token.create", `user:${userId}`, { rooms, publish, spaces, expires_at });
  const minted: MintedToken = { token, user: userId, rooms, publish, spaces, expires_at };
  return c.json(minted, 201);
});

type Asker = Extract<Principal, { kind: "operator" | "account" | "key" }>;

/** @throws {ProblemError} if it is nobody, or a user's token: it could otherwise renew itself for ever */
async function requireAsker(c: AppContext): Promise<Asker> {
  const principal = await headerPrincipalOf(c);
  if (principal.kind === "anonymous") {
    const detail = "Sign in first, or send a key: `Authorization: Bearer <key>`.";
    throw new ProblemError("not_authenticated", detail);
  }
  if (principal.kind !== "user") return principal;
  throw new ProblemError("not_allowed", "A token makes no tokens: sign in, or send a key.");
}

/** @throws {ProblemError} if the user is an account of this edge, for which a key of somebody else can't speak */
async function refuseAccounts(c: AppContext, userId: string): Promise<void> {
  if ((await new Users(c.env.DB).get(userId)) === null) return;
  const detail = `${userId} is an account: only they themselves and admins who are signed in make its tokens.`;
  throw new ProblemError("not_allowed", detail);
}
