import { SignJWT } from "jose";
import type { MintTokenBody } from "../protocol/accounts.ts";
import {
  hasJobScope,
  isAdmin,
  JOB_SCOPES,
  type JobScope,
  matches,
  ownRooms,
  type Principal,
} from "./principal.ts";
import type { TokenSettings } from "./token.ts";

type Asker = Extract<Principal, { kind: "operator" | "account" | "key" }>;

/** What a token that was asked for will say, or why there is none. */
export type Grant =
  | {
      ok: true;
      userId: string;
      rooms: string[];
      publish: string[];
      spaces: string[];
      /** What the asker may not do with jobs, so that the token may not either. */
      without: JobScope[];
    }
  | { ok: false; reason: string };

/**
 * Decides which token somebody may make. It never gives a right that they don't have: every token lets its user follow
 * `global` and `user:<user>`, too, so a key must cover these.
 */
export function grantToken(asker: Asker, body: MintTokenBody): Grant {
  const own = asker.kind === "operator" ? null : asker.userId;
  const userId = body.user ?? own;
  if (userId === null) return refused("Say for whom the token is: `user`.");
  if (userId !== own && !mayNameOthers(asker)) {
    return refused("You can make tokens for yourself only: leave `user` out.");
  }
  const { rooms = [], publish = [], spaces = [] } = body;
  const followed = followable(asker);
  const lacking = [...ownRooms(userId), ...rooms].find((room) => !isCovered(room, followed));
  if (lacking !== undefined) {
    const scope =
      asker.kind === "key" ? ` A key needs the scope rooms:read:${lacking} for that.` : "";
    return refused(`You may not follow ${lacking}, which the token could.${scope}`);
  }
  const unpublishable = publish.find((room) => !isCovered(room, publishable(asker)));
  if (unpublishable !== undefined) {
    return refused(`You may not publish to ${unpublishable}, so no token of yours may.`);
  }
  if (spaces.length > 0 && !mayNameSpaces(asker)) {
    return refused("Only admins make tokens that name spaces: leave `spaces` out.");
  }
  const without = JOB_SCOPES.filter((scope) => !hasJobScope(asker, scope));
  return { ok: true, userId, rooms, publish, spaces, without };
}

function mayNameOthers(asker: Asker): boolean {
  return isAdmin(asker) || (asker.kind === "key" && asker.role === "admin");
}

function mayNameSpaces(asker: Asker): boolean {
  if (asker.kind !== "key") return isAdmin(asker);
  return asker.role === "admin" && asker.space === null && asker.scopes.includes("spaces:admin");
}

/** What the asker may follow: it must be in each of these lists of patterns. */
function followable(asker: Asker): string[][] {
  if (isAdmin(asker)) return [["*"]];
  const own = asker.kind === "operator" || asker.userId === null ? [] : ownRooms(asker.userId);
  if (asker.kind !== "key") return [own];
  const named = scopesOf(asker, "rooms:read:");
  return asker.role === "admin" ? [named] : [named, own];
}

/** The same for publishing. */
function publishable(asker: Asker): string[][] {
  if (isAdmin(asker)) return [["*"]];
  if (asker.kind !== "key" || asker.role !== "admin") return [[]];
  return [scopesOf(asker, "rooms:publish:")];
}

/** A key for one space covers no room, since rooms belong to none. */
function scopesOf({ scopes, space }: Extract<Asker, { kind: "key" }>, prefix: string): string[] {
  if (space !== null) return [];
  return scopes.filter((scope) => scope.startsWith(prefix)).map((s) => s.slice(prefix.length));
}

/** Whether each list has a pattern that takes everything that `wanted` takes. */
function isCovered(wanted: string, lists: readonly string[][]): boolean {
  return lists.every((patterns) => patterns.some((pattern) => matches(pattern, wanted)));
}

function refused(reason: string): Grant {
  return { ok: false, reason };
}

/** Signs a token as `verifyToken` takes it. @param expiresAt seconds since 1970 */
export async function signToken(
  settings: Required<Pick<TokenSettings, "JWT_SECRET">> & TokenSettings,
  { userId, rooms, publish, spaces, without }: Extract<Grant, { ok: true }>,
  expiresAt: number,
): Promise<string> {
  const { JWT_SECRET: secret, JWT_ISSUER: issuer, JWT_AUDIENCE: audience } = settings;
  const limits = {
    ...(spaces.length > 0 ? { spaces } : {}),
    ...(without.length > 0 ? { without } : {}),
  };
  const token = new SignJWT({ rooms, publish, ...limits })
    .setProtectedHeader({ alg: "HS256" })
    .setSubject(userId)
    .setIssuedAt()
    .setExpirationTime(expiresAt);
  if (issuer) token.setIssuer(issuer);
  if (audience) token.setAudience(audience);
  return token.sign(new TextEncoder().encode(secret));
}
