import { z } from "zod";
import { attachmentSize } from "../protocol/attachment-size.ts";
import type { FrameErrorCode } from "../protocol/codes.ts";
import type { Principal } from "./principal.ts";
import { type TokenSettings, verifyToken } from "./token.ts";

/** Who a socket belongs to, as its attachment keeps it. */
export const sessionPrincipal = z.discriminatedUnion("kind", [
  z.object({ kind: z.literal("operator") }),
  z.object({
    kind: z.literal("user"),
    userId: z.string(),
    expiresAt: z.number(),
    rooms: z.array(z.string()),
    publish: z.array(z.string()),
  }),
]);
export type SessionPrincipal = z.infer<typeof sessionPrincipal>;

/** An attachment has 16 KB for all: what a token may do must leave room for what is followed. */
const RIGHTS_BYTES = 8_192;

export function userIdOf(principal: SessionPrincipal): string | null {
  return principal.kind === "user" ? principal.userId : null;
}

/** The principal as a socket keeps it; `null` for somebody who showed nothing. */
export function socketPrincipalOf(principal: Principal): SessionPrincipal | null {
  if (principal.kind === "anonymous") return null;
  if (principal.kind === "operator") return { kind: "operator" };
  const { kind, userId, expiresAt, rooms, publish } = principal;
  return { kind, userId, expiresAt, rooms: [...rooms], publish: [...publish] };
}

/** `false` where its rights would not fit a socket's attachment. */
export function fitsSession(principal: Principal): boolean {
  if (principal.kind !== "user") return true;
  return attachmentSize([principal.rooms, principal.publish]) <= RIGHTS_BYTES;
}

/** How long before its end a user is told that the token runs out, milliseconds. */
const NOTICE_MS = 30_000;

export const TOKEN_OVER = "The token has expired: connect again with a fresh one.";

/** A socket as its attachment keeps it, as far as its token goes. */
export interface Session {
  attachment: {
    principal: SessionPrincipal;
    /** It was told that its token runs out. */
    noticed: boolean;
  };
}

/** When a token of these next wants something; `null` where none ever does. */
export function tokensDueAt(sessions: readonly Session[]): number | null {
  const due = sessions.flatMap(({ attachment: { principal, noticed } }) => {
    if (principal.kind !== "user") return [];
    return [noticed ? principal.expiresAt : principal.expiresAt - NOTICE_MS];
  });
  return due.length > 0 ? due.reduce((first, at) => Math.min(first, at)) : null;
}

/** Whose token has run out by now, and who is to be told that it soon will. */
export function tokensOver<S extends Session>(
  sessions: readonly S[],
  now: number,
): { ended: S[]; ending: { session: S; expiresAt: number }[] } {
  const ended: S[] = [];
  const ending: { session: S; expiresAt: number }[] = [];
  for (const session of sessions) {
    const { principal, noticed } = session.attachment;
    if (principal.kind !== "user") continue;
    const { expiresAt } = principal;
    if (now >= expiresAt) ended.push(session);
    else if (!noticed && now >= expiresAt - NOTICE_MS) ending.push({ session, expiresAt });
  }
  return { ended, ending };
}

type Renewed =
  | { ok: true; user: Extract<SessionPrincipal, { kind: "user" }> }
  | { ok: false; code: FrameErrorCode; message: string };

/** Checks a fresh token for a socket: it must be of the same user. */
export async function renew(
  settings: TokenSettings,
  principal: SessionPrincipal,
  token: string,
): Promise<Renewed> {
  if (principal.kind !== "user") {
    const message = "This socket has the operator's key: open another for a user.";
    return { ok: false, code: "not_allowed", message };
  }
  const verified = await verifyToken(settings, token);
  if (!verified.ok) {
    const code = verified.passing ? "temporarily_unavailable" : "not_authenticated";
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
  const { rooms, publish, ...user } = verified.user;
  return { ok: true, user: { ...user, rooms: [...rooms], publish: [...publish] } };
}
