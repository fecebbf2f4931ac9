import { createHmac, timingSafeEqual } from "node:crypto";

/**
 * The secret that signs the cookies of sessions. It is derived from `SIGNING_KEY`: who has a cookie's signature must
 * not have one of a file's address.
 */
export function sessionSecret(signingKey: string): string {
  return createHmac("sha256", signingKey).update("sessions").digest("base64url");
}

/** The name of the session's cookie; over TLS it has a prefix. */
const SESSION_COOKIE = /^(?:__Secure-)?dialout\.session_token$/;

/**
 * Signs a session's cookie anew that was signed with the former key, in the way of Better Auth: `<token>.<HMAC>`,
 * percent-encoded. Every other cookie is returned as it is.
 *
 * @param cookie such as `dialout.session_token=…`
 */
export function signAnew(cookie: string, signingKey: string, formerKey: string): string {
  const equals = cookie.indexOf("=");
  const name = cookie.slice(0, equals);
  if (!SESSION_COOKIE.test(name)) return cookie;
  const value = decoded(cookie.slice(equals + 1));
  const dot = value.lastIndexOf(".");
  const [token, signature] = [value.slice(0, dot), value.slice(dot + 1)];
  if (dot < 1 || !isEqual(signature, sign(token, formerKey))) return cookie;
  return `${name}=${encodeURIComponent(`${token}.${sign(token, signingKey)}`)}`;
}

function sign(token: string, signingKey: string): string {
  return createHmac("sha256", sessionSecret(signingKey)).update(token).digest("base64");
}

function isEqual(given: string, expected: string): boolean {
  const [a, b] = [Buffer.from(given), Buffer.from(expected)];
  return a.length === b.length && timingSafeEqual(a, b);
}

function decoded(text: string): string {
  try {
    return decodeURIComponent(text);
  } catch {
    return text;
  }
}
