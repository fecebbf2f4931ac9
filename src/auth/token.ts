import { createRemoteJWKSet, errors, type JWTPayload, type JWTVerifyGetKey, jwtVerify } from "jose";
import { z } from "zod";
import { JOB_SCOPES, type Principal } from "./principal.ts";

/** How tokens are checked: against a shared secret, or against the public keys at an address. */
export interface TokenSettings {
  JWT_SECRET?: string;
  /** The secret from before a change, which tokens may still be signed with. */
  JWT_SECRET_FORMER?: string;
  JWKS_URL?: string;
  JWT_ISSUER?: string;
  JWT_AUDIENCE?: string;
}

type UserPrincipal = Extract<Principal, { kind: "user" }>;
/**
 * `isTemporary`: the keys could not be fetched, so the token may be valid and can be sent again. `isExpired`: it was
 * a good token until then.
 */
export type Verified =
  | { ok: true; user: UserPrincipal }
  | { ok: false; isTemporary: boolean; reason: string; isExpired?: true };

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
  spaces: patterns.refine(
    (named) => named.every((pattern) => SPACE_PATTERN.test(pattern)),
    "each must be a space's name, a prefix that ends in `*` such as `team-*`, or `*`",
  ),
  without: z.array(z.enum(JOB_SCOPES)).max(JOB_SCOPES.length).optional(),
});

/** A space's name; with a `*` at its end, every name that begins so. */
const SPACE_PATTERN = /^(?:[a-z0-9][a-z0-9-]{0,62})?\*?$/;

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

const SECRET_ALGORITHMS = ["HS256"];

/** How far the clocks of the token's issuer and of the edge may differ, seconds. */
const CLOCK_TOLERANCE_S = 5;

/**
 * Checks a JWT against `JWT_SECRET` or the keys at `JWKS_URL`. The reason of a refusal says how far the token's
 * times are off, and contains nothing else of the token.
 */
export async function verifyToken(settings: TokenSettings, token: string): Promise<Verified> {
  try {
    const payload = await payloadOf(settings, token);
    if (payload === null) return refused("This edge takes no tokens.");
    const parsed = claims.safeParse(payload);
    if (!parsed.success) return refused(`The token lacks ${lacking(parsed.error)}.`);
    const { sub: userId, exp, ...rights } = parsed.data;
    return { ok: true, user: { kind: "user", userId, expiresAt: exp * 1_000, ...rights } };
  } catch (error) {
    if (error instanceof errors.JOSEError) {
      const refusal = refused(reasonOf(error, settings, Date.now()));
      // Its signature is checked before its times.
      return error instanceof errors.JWTExpired ? { ...refusal, isExpired: true } : refusal;
    }
    console.error("a token could not be checked", error);
    return {
      ok: false,
      isTemporary: true,
      reason: "The token could not be checked now: try again.",
    };
  }
}

function refused(reason: string): Extract<Verified, { ok: false }> {
  return { ok: false, isTemporary: false, reason };
}

async function payloadOf(settings: TokenSettings, token: string): Promise<JWTPayload | null> {
  const {
    JWT_SECRET: secret,
    JWT_SECRET_FORMER: former,
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
  const options = { ...checks, algorithms: SECRET_ALGORITHMS };
  const payloadBy = async (text: string) =>
    (await jwtVerify(token, new TextEncoder().encode(text), options)).payload;
  if (!former) return payloadBy(secret);
  return payloadBy(secret).catch((error: unknown) => {
    if (error instanceof errors.JWSSignatureVerificationFailed) return payloadBy(former);
    throw error;
  });
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

function reasonOf(error: errors.JOSEError, settings: TokenSettings, now: number): string {
  if (error instanceof errors.JWTExpired) {
    const { exp } = error.payload;
    const ago = exp === undefined ? "" : `, ${inWords(now / 1_000 - exp)} ago`;
    return `The token has expired${ago}: get a fresh one.`;
  }
  if (error instanceof errors.JWTClaimValidationFailed) return claimReason(error, now);
  if (error instanceof errors.JOSEAlgNotAllowed) {
    const allowed = settings.JWKS_URL ? KEY_PAIR_ALGORITHMS : SECRET_ALGORITHMS;
    return `The token is signed with an algorithm that is not allowed here. Allowed: ${allowed.join(", ")}.`;
  }
  if (error instanceof errors.JWSSignatureVerificationFailed) {
    const key = settings.JWKS_URL ? "the keys at JWKS_URL" : "JWT_SECRET";
    return `The token's signature is wrong: it was not made with ${key} of this edge.`;
  }
  if (error instanceof errors.JWKSNoMatchingKey) {
    return "The token's key is not known: the keys at JWKS_URL have none with its `kid` and algorithm.";
  }
  return "This is no valid token: it is neither the operator's key nor a user's token (a JWT).";
}

/** The setting of the edge that says what a claim must be. */
const SETTINGS = new Map([
  ["iss", "JWT_ISSUER"],
  ["aud", "JWT_AUDIENCE"],
]);

function claimReason(
  { claim, reason, payload }: errors.JWTClaimValidationFailed,
  now: number,
): string {
  const setting = SETTINGS.get(claim);
  const expected = setting ? `, which must be what the edge's setting ${setting} says` : "";
  if (reason === "missing") return `The token lacks the claim \`${claim}\`${expected}.`;
  if (reason === "invalid") {
    return `The token's claim \`${claim}\` must be a number, in seconds since 1970.`;
  }
  if (claim === "nbf" && payload.nbf !== undefined) {
    const wait = inWords(payload.nbf - now / 1_000);
    return `The token is not valid yet: its claim \`nbf\` is ${wait} ahead. Wait, or check the clock of the server that issues tokens.`;
  }
  return `The token's claim \`${claim}\` is wrong${expected}.`;
}

function inWords(seconds: number): string {
  if (seconds < 120) return `${Math.max(1, Math.round(seconds))} s`;
  if (seconds < 7_200) return `${Math.round(seconds / 60)} min`;
  return seconds < 172_800
    ? `${Math.round(seconds / 3_600)} h`
    : `${Math.round(seconds / 86_400)} days`;
}
