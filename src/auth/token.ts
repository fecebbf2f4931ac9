import { createRemoteJWKSet, errors, type JWTPayload, type JWTVerifyGetKey, jwtVerify } from "jose";
import { z } from "zod";
import type { Principal } from "./principal.ts";

/** How tokens are checked: against a shared secret, or against the public keys at an address. */
export interface TokenSettings {
  JWT_SECRET?: string;
  JWKS_URL?: string;
  JWT_ISSUER?: string;
  JWT_AUDIENCE?: string;
}

type UserPrincipal = Extract<Principal, { kind: "user" }>;
/** `isTemporary`: the keys could not be fetched, so the token may be valid and can be sent again. */
export type Verified =
  | { ok: true; user: UserPrincipal }
  | { ok: false; isTemporary: boolean; reason: string };

/** A list of patterns, as an array or as one text separated by spaces, as OAuth writes scopes. */
const patterns = z
  .union([z.array(z.string().max(200)).max(1_000), z.string().max(20_000)])
  .transform((given) => (typeof given === "string" ? given.split(/\s+/).filter(Boolean) : given))
  .default([]);

/** 2100-01-01, seconds since 1970: a `Date` can't hold a time that is much later. */
const LATEST_EXP = 4_102_444_800;
const EXP = "must be whole seconds since 1970, not beyond the year 2100";

const claims = z.object({
  sub: z.string().regex(/^[\w.@|-]{1,128}$/, "has characters that no user's room can have"),
  exp: z.int(EXP).max(LATEST_EXP, EXP),
  rooms: patterns,
  publish: patterns,
});

/**
 * Algorithms that sign with a private key. HS256 must not be among them: anyone could then sign a token
 * with the public key's text as the shared secret (decision 0022).
 */
const KEY_PAIR_ALGORITHMS = [
  "RS256",
  "RS384",
  "RS512",
  "PS256",
  "PS384",
  "PS512",
  "ES256",
  "ES384",
  "ES512",
  "EdDSA",
];

/** How far the clocks of the token's issuer and of the edge may differ, seconds. */
const CLOCK_TOLERANCE_S = 5;

/**
 * Checks a JWT against `JWT_SECRET` or the keys at `JWKS_URL`. The reason of a refusal never contains
 * anything of the token.
 */
export async function verifyToken(settings: TokenSettings, token: string): Promise<Verified> {
  try {
    const payload = await payloadOf(settings, token);
    if (payload === null) return refused("This edge takes no tokens.");
    const parsed = claims.safeParse(payload);
    if (!parsed.success) return refused(`The token lacks ${lacking(parsed.error)}.`);
    const { sub: userId, exp, rooms, publish } = parsed.data;
    return { ok: true, user: { kind: "user", userId, expiresAt: exp * 1_000, rooms, publish } };
  } catch (error) {
    if (error instanceof errors.JOSEError) return refused(reasonOf(error));
    console.error("a token could not be checked", error);
    return {
      ok: false,
      isTemporary: true,
      reason: "The token could not be checked now: try again.",
    };
  }
}

function refused(reason: string): Verified {
  return { ok: false, isTemporary: false, reason };
}

async function payloadOf(settings: TokenSettings, token: string): Promise<JWTPayload | null> {
  const {
    JWT_SECRET: secret,
    JWKS_URL: url,
    JWT_ISSUER: issuer,
    JWT_AUDIENCE: audience,
  } = settings;
  const checks = {
    clockTolerance: CLOCK_TOLERANCE_S,
    requiredClaims: ["sub", "exp"],
    ...(issuer ? { issuer } : {}),
    ...(audience ? { audience } : {}),
  };
  if (url) {
    const options = { ...checks, algorithms: KEY_PAIR_ALGORITHMS };
    return (await jwtVerify(token, keysAt(url), options)).payload;
  }
  if (!secret) return null;
  const key = new TextEncoder().encode(secret);
  return (await jwtVerify(token, key, { ...checks, algorithms: ["HS256"] })).payload;
}

/** Key sets by address, kept as long as this isolate lives; jose fetches them again for an unknown key. */
const keySets = new Map<string, JWTVerifyGetKey>();

function keysAt(url: string): JWTVerifyGetKey {
  const known = keySets.get(url) ?? orUnavailable(createRemoteJWKSet(new URL(url)));
  keySets.set(url, known);
  return known;
}

/**
 * If a token names none of these keys, the token is wrong. If anything else fails, the keys could not be
 * fetched, which says nothing about the token: that error is no JOSEError, so `verifyToken` reports it as
 * temporary.
 */
function orUnavailable(keys: JWTVerifyGetKey): JWTVerifyGetKey {
  return async (header, token) => {
    try {
      return await keys(header, token);
    } catch (error) {
      const isTokenWrong =
        error instanceof errors.JWKSNoMatchingKey ||
        error instanceof errors.JWKSMultipleMatchingKeys;
      throw isTokenWrong ? error : new Error("the keys at JWKS_URL can't be had", { cause: error });
    }
  };
}

function lacking(error: z.ZodError): string {
  return error.issues
    .map(({ path, message }) => `a good \`${path.join(".")}\`: ${message}`)
    .join("; ");
}

function reasonOf(error: errors.JOSEError): string {
  if (error instanceof errors.JWTExpired) return "The token has expired.";
  if (error instanceof errors.JWTClaimValidationFailed) {
    return `The token's claim \`${error.claim}\` is missing or wrong.`;
  }
  if (error instanceof errors.JOSEAlgNotAllowed) return "The token's algorithm is not allowed.";
  if (error instanceof errors.JWSSignatureVerificationFailed)
    return "The token's signature is wrong.";
  if (error instanceof errors.JWKSNoMatchingKey) return "The token's key is not known.";
  return "This is no valid token.";
}
