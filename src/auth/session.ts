import { z } from "zod";
import { role } from "../protocol/accounts.ts";
import { attachmentSize } from "../protocol/attachment-size.ts";
import type { FrameErrorCode } from "../protocol/codes.ts";
import { JOB_SCOPES, type Principal } from "./principal.ts";
import { type TokenSettings, verifyToken } from "./token.ts";

/** The principal that a socket belongs to, as the socket's attachment stores it. */
export const sessionPrincipal = z.discriminatedUnion("kind", [
  z.object({ kind: z.literal("operator") }),
  z.object({
    kind: z.literal("user"),
    userId: z.string(),
    expiresAt: z.number(),
    rooms: z.array(z.string()),
    publish: z.array(z.string()),
    spaces: z.array(z.string()).optional(),
    without: z.array(z.enum(JOB_SCOPES)).optional(),
  }),
  z.object({
    kind: z.literal("account"),
    userId: z.string(),
    role,
    sessionId: z.string(),
    expiresAt: z.number(),
  }),
  z.object({
    kind: z.literal("key"),
    keyId: z.string(),
    userId: z.string().nullable(),
    role,
    scopes: z.array(z.string()),
    space: z.string().nullable(),
    expiresAt: z.number().nullable(),
  }),
]);
export type SessionPrincipal = z.infer<typeof sessionPrincipal>;

/** An attachment holds 16 KB: the rights of the token must leave room for the list of subscriptions. */
const RIGHTS_BYTES = 8_192;

export function userIdOf(principal: SessionPrincipal): string | null {
  return principal.kind === "operator" ? null : principal.userId;
}

/** The principal as a socket's attachment stores it; `null` for an anonymous one. */
export function socketPrincipalOf(principal: Principal): SessionPrincipal | null {
  if (principal.kind === "anonymous") return null;
  if (principal.kind === "key") return { ...principal, scopes: [...principal.scopes] };
  if (principal.kind === "account") return { ...principal };
  if (principal.kind === "operator") return { kind: "operator" };
  return storable(principal);
}

/**
 * Whether the principal's token, session or key has expired. The alarm that closes its socket may be late, so look before you tell
 * the client anything that needs a right.
 */
export function isExpired(principal: SessionPrincipal, now: number): boolean {
  const expiresAt = expiryOf(principal);
  return expiresAt !== null && now >= expiresAt;
}

/** When the principal's token, session or key expires, milliseconds since 1970; `null`: never. */
export function expiryOf(principal: SessionPrincipal): number | null {
  return principal.kind === "operator" ? null : principal.expiresAt;
}

/** Whether the principal's rights fit into a socket's attachment. */
export function fitsSession(principal: Principal): boolean {
  if (principal.kind !== "user") return true;
  const { rooms, publish, spaces = [] } = principal;
  return attachmentSize([rooms, publish, ...spaces]) <= RIGHTS_BYTES;
}

/** How long before a token expires its socket is warned, milliseconds. */
const NOTICE_MS = 30_000;

export const TOKEN_EXPIRED = "The token has expired: connect again with a fresh one.";

/** A socket whose token can expire. */
export interface TokenSocket {
  attachment: {
    principal: SessionPrincipal;
    /** The client was warned that its token is about to expire. */
    noticed: boolean;
  };
}

/**
 * When the next of these sockets has to be warned or closed, milliseconds since 1970; `null` if none of
 * them has a token that expires.
 */
export function tokensDueAt(sessions: readonly TokenSocket[]): number | null {
  const due = sessions.flatMap(({ attachment: { principal, noticed } }) => {
    const expiresAt = expiryOf(principal);
    if (expiresAt === null) return [];
    return [noticed ? expiresAt : expiresAt - NOTICE_MS];
  });
  return due.length > 0 ? due.reduce((first, at) => Math.min(first, at)) : null;
}

/** The sockets whose token has expired at `now`, and those to warn because it soon will. */
export function findExpiringTokens<S extends TokenSocket>(
  sessions: readonly S[],
  now: number,
): { expired: S[]; expiring: { session: S; expiresAt: number }[] } {
  const expired: S[] = [];
  const expiring: { session: S; expiresAt: number }[] = [];
  for (const session of sessions) {
    const { principal, noticed } = session.attachment;
    const expiresAt = expiryOf(principal);
    if (expiresAt === null) continue;
    if (now >= expiresAt) expired.push(session);
    else if (!noticed && now >= expiresAt - NOTICE_MS) expiring.push({ session, expiresAt });
  }
  return { expired, expiring };
}

type Renewal =
  | { ok: true; user: UserSession }
  | { ok: false; code: FrameErrorCode; message: string };

/** Checks a fresh token for a socket that is open already; the token must belong to the same user. */
export async function renewPrincipal(
  settings: TokenSettings,
  principal: SessionPrincipal,
  token: string,
): Promise<Renewal> {
  if (principal.kind !== "user") {
    const message = "This socket was not opened with a user's token: open another for one.";
    return { ok: false, code: "not_allowed", message };
  }
  const verified = await verifyToken(settings, token);
  if (!verified.ok) {
    const code = verified.isTemporary ? "temporarily_unavailable" : "not_authenticated";
    return { ok: false, code, message: verified.reason };
  }
  if (principal.userId !== verified.user.userId) {
    const message = "The token is another user's: open another socket for them.";
    return { ok: false, code: "not_allowed", message };
  }
  if (!fitsSession(verified.user)) {
    const message = "The token's rights are too many for a socket: use patterns.";
    return { ok: false, code: "not_allowed", message };
  }
  return { ok: true, user: storable(verified.user) };
}

type UserSession = Extract<SessionPrincipal, { kind: "user" }>;

function storable(user: Extract<Principal, { kind: "user" }>): UserSession {
  const { kind, userId, expiresAt, rooms, publish, spaces = [], without = [] } = user;
  const rights = { rooms: [...rooms], publish: [...publish] };
  const opened = spaces.length > 0 ? { spaces: [...spaces] } : {};
  const limited = without.length > 0 ? { without: [...without] } : {};
  return { kind, userId, expiresAt, ...rights, ...opened, ...limited };
}
