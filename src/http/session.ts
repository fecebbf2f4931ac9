import { generateCookie } from "hono/cookie";
import type { CookieOptions } from "hono/utils/cookie";
import { type Accounts, ADDRESS_HEADER, accountsAt } from "../accounts/better-auth.ts";
import { signAnew } from "../accounts/session-cookie.ts";
import type { Principal } from "../auth/principal.ts";
import { role } from "../protocol/accounts.ts";
import { clientAddressOf, publicOriginOf } from "./client-request.ts";
import type { AppContext } from "./context.ts";
import { ProblemError } from "./problems.ts";

/** The accounts of this edge, as its visitors reach it. */
export function accountsOf(c: AppContext): Promise<Accounts> {
  return accountsAt(c.env, publicOriginOf(c));
}

/** For answers about who is signed in: no cache may keep them. */
export async function noStore(c: AppContext, next: () => Promise<void>): Promise<void> {
  c.header("cache-control", "no-store");
  await next();
}

/** The headers that Better Auth gets: nothing of the request but its session and what the edge knows of its client. */
export function accountHeaders(c: AppContext): Headers {
  const headers = new Headers({ [ADDRESS_HEADER]: clientAddressOf(c) });
  const userAgent = c.req.header("user-agent");
  if (userAgent !== undefined) headers.set("user-agent", userAgent);
  const cookies = ownCookies(c);
  if (cookies !== "") headers.set("cookie", cookies);
  return headers;
}

/**
 * The cookies of the edge itself, and ASCII alone: if another cookie of the same host has other characters, the
 * runtime would log the whole header that is set here, with the session in it.
 */
function ownCookies(c: AppContext): string {
  const { SIGNING_KEY, SIGNING_KEY_FORMER } = c.env;
  const cookies = (c.req.header("cookie") ?? "")
    .split(/; */)
    .filter((cookie) => /^(?:__Secure-)?dialout\.[!-~]+$/.test(cookie));
  if (SIGNING_KEY_FORMER === undefined) return cookies.join("; ");
  return cookies.map((cookie) => signAnew(cookie, SIGNING_KEY, SIGNING_KEY_FORMER)).join("; ");
}

/**
 * The `Set-Cookie` that gives a session's page its cookie with a signature of the new key; `null` if it has that
 * already. Without it the session would end when the former key is not taken any more.
 */
export async function newCookieOf(c: AppContext, expiresAt: number): Promise<string | null> {
  const { name, attributes } = (await (await accountsOf(c)).$context).authCookies.sessionToken;
  const valueIn = (header: string) =>
    header.split("; ").find((cookie) => cookie.startsWith(`${name}=`));
  const cookie = valueIn(ownCookies(c));
  if (cookie === undefined || cookie === valueIn(c.req.header("cookie") ?? "")) return null;
  const value = decodeURIComponent(cookie.slice(name.length + 1));
  const maxAge = Math.floor((expiresAt - Date.now()) / 1_000);
  return generateCookie(name, value, { ...attributes, maxAge } as CookieOptions);
}

/**
 * Who is signed in, by the session's cookie: one read of D1 where there is a cookie, none otherwise. A session counts
 * for the edge's own pages only; other pages of the same site, whose requests browsers send with the cookie as well,
 * are anybody.
 */
export async function sessionOf(c: AppContext): Promise<Principal> {
  return hasSession(c) && isFromOwnPage(c) ? sessionInCookie(c) : { kind: "anonymous" };
}

/**
 * The session in the request's cookie, whoever sends it: a page elsewhere may make a browser do so. Use it only if
 * something else proves that its holder means what the request says.
 */
export async function sessionInCookie(c: AppContext): Promise<Principal> {
  if (!hasSession(c)) return { kind: "anonymous" };
  const accounts = await accountsOf(c);
  // Only `GET /api/me` prolongs a session, because its answer can carry the cookie that goes with it.
  const query = { disableRefresh: true };
  const found = await accounts.api.getSession({ headers: accountHeaders(c), query });
  return accountOf(found) ?? { kind: "anonymous" };
}

type Found = Awaited<ReturnType<Accounts["api"]["getSession"]>>;
type AccountPrincipal = Extract<Principal, { kind: "account" }>;

/** `null` for nobody, and for a session that somebody got at the instant in which their account was disabled. */
export function accountOf(found: Found): AccountPrincipal | null {
  if (found === null || found.user.disabledAt) return null;
  const { user, session } = found;
  return {
    kind: "account",
    userId: user.id,
    role: role.parse(user.role),
    sessionId: session.id,
    expiresAt: session.expiresAt.getTime(),
  };
}

/** @throws {ProblemError} if nobody is signed in */
export async function requireAccount(c: AppContext): Promise<AccountPrincipal> {
  requireOwnPage(c);
  const session = await sessionOf(c);
  if (session.kind === "account") return session;
  throw new ProblemError("not_authenticated", "Sign in first: `POST /api/auth/sign-in`.");
}

/** @throws {ProblemError} if a page of another origin sends the request */
export function requireOwnPage(c: AppContext): void {
  if (isFromOwnPage(c)) return;
  const detail = "Only this edge's own pages may do this: the request's `Origin` is another.";
  throw new ProblemError("not_allowed", detail);
}

function hasSession(c: AppContext): boolean {
  return COOKIE.test(c.req.header("cookie") ?? "");
}

const COOKIE = /(?:^|[; ])(?:__Secure-)?dialout\.session_token=/;
const READING = new Set(["GET", "HEAD", "OPTIONS"]);

/** Whether one of the edge's own pages sends the request, as browsers say; what only reads need not say it. */
export function isFromOwnPage(c: AppContext): boolean {
  const origin = c.req.header("origin");
  if (origin !== undefined) return origin === publicOriginOf(c);
  return isReading(c) || c.req.header("sec-fetch-site") === "same-origin";
}

/** Whether the request changes nothing, and opens no socket. */
export function isReading(c: AppContext): boolean {
  return READING.has(c.req.method) && c.req.header("upgrade") === undefined;
}
