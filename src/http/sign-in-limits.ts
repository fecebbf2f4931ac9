import { createHash, createHmac } from "node:crypto";
import { getSignedCookie, setSignedCookie } from "hono/cookie";
import { addressOwner } from "../objects/allowances.ts";
import { clientAddressOf, publicOriginOf } from "./client-request.ts";
import type { AppContext } from "./context.ts";
import { ProblemError } from "./problems.ts";

/**
 * Limits how often one network may try to sign in, register or set up, with the platform's counters (decision 0026).
 * It is not counted by account: whoever knows an email address could then lock its owner out (decision 0052).
 */
export async function limitSignIns(c: AppContext): Promise<void> {
  await take(c, addressOwner(clientAddressOf(c)), "from your address");
}

/**
 * The same for an attempt to sign in. A browser in which this account has signed in before is counted by itself, so
 * that others behind the same address can't lock it out.
 */
export async function limitSignIn(c: AppContext, email: string): Promise<void> {
  const browser = await knownBrowserOf(c, email);
  if (browser === null) return limitSignIns(c);
  await take(c, `browser ${browser}`, "in this browser");
}

/**
 * Limits how often a session may try the password of its account: whoever has stolen it could otherwise guess the
 * password as fast as the edge can check it.
 */
export async function limitPasswords(c: AppContext, sessionId: string): Promise<void> {
  await take(c, `session ${sessionId}`, "in this session");
}

async function take(c: AppContext, counted: string, what: string): Promise<void> {
  const { success } = await c.env.SIGN_INS.limit({ key: counted });
  if (success) return;
  throw new ProblemError("rate_limited", `Too many attempts ${what}: wait a minute.`);
}

const COOKIE = "dialout.browser";
/** Browsers keep a cookie no longer. */
const KEPT_S = 34_560_000;

/** Lets the browser be known when this account signs in again. The cookie gives no other right. */
export async function rememberBrowser(c: AppContext, email: string): Promise<void> {
  const value = `${crypto.randomUUID()}.${hashOf(email)}`;
  await setSignedCookie(c, COOKIE, value, secretOf(c), {
    path: "/api/auth",
    httpOnly: true,
    sameSite: "Lax",
    maxAge: KEPT_S,
    ...(isSecure(c) ? { prefix: "secure" } : {}),
  });
}

/** The id of a browser that this account has signed in with before; `null` for any other. */
async function knownBrowserOf(c: AppContext, email: string): Promise<string | null> {
  const prefix = isSecure(c) ? "secure" : undefined;
  const value = await getSignedCookie(c, secretOf(c), COOKIE, prefix);
  if (!value) return null;
  const [id, hash] = value.split(".");
  return id !== undefined && hash === hashOf(email) ? id : null;
}

function isSecure(c: AppContext): boolean {
  return publicOriginOf(c).startsWith("https:");
}

function hashOf(email: string): string {
  return createHash("sha256").update(email.toLowerCase()).digest("base64url");
}

/** A key of its own: who has a cookie's signature must not have one of a file's address. */
function secretOf(c: AppContext): string {
  return createHmac("sha256", c.env.SIGNING_KEY).update("browsers").digest("base64url");
}
