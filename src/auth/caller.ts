import { z } from "zod";
import { credential, credentialOf } from "./credential.ts";
import { hasJobScope, isAdmin, type Principal } from "./principal.ts";
import type { SessionPrincipal } from "./session.ts";

/** Who asks a space for something, as the Worker has found out. The space's object decides what they may. */
export const caller = z.object({
  /** Whoever has the operator's key, and admins, also with a key: they may do everything, within the key's scopes. */
  isAdmin: z.boolean(),
  /** The user of an account, a key or a user's token; `null`: nobody that is known. */
  userId: z.string().nullable().default(null),
  /** The key that it came with; `null`: it came without one. */
  keyId: z.string().nullable().default(null),
  /** The session or key that it came with; `null`: it came with neither, or with the operator's key. */
  credential: credential.nullable().default(null),
  /** When the session, key or token expires, milliseconds since 1970; `null`: never. */
  expiresAt: z.number().nullable().default(null),
  /** What a key's scopes let it do; everything else may do whatever its holder may. */
  mayRead: z.boolean().default(true),
  mayWrite: z.boolean().default(true),
  mayManage: z.boolean().default(true),
  /** The one space that a key is for; `null`: all. */
  onlySpace: z.string().nullable().default(null),
  /**
   * Patterns of the spaces that a user's token opens. It opens what it names and nothing that its user was given
   * here: whoever makes tokens chose to leave the rest out. `null`: it is no user's token.
   */
  spaces: z.array(z.string()).nullable().default(null),
  /** Why a token that has expired is refused: its sender is anybody, but is told so where that is not enough. */
  expired: z.string().nullable().default(null),
  /** The hash of the link's token by which a job was shared with the sender; `null`: none. */
  share: z.string().nullable().default(null),
  /** The network address; jobs and sockets of strangers are counted by this (decision 0026). */
  address: z.string().default("unknown"),
  /** It is on the machine of the edge: it is not limited, and its webhooks may go anywhere. */
  local: z.boolean().default(false),
});
export type Caller = z.infer<typeof caller>;

/** The edge itself, for what the Worker has allowed already. */
export const EDGE: Caller = caller.parse({ isAdmin: true });

/** Of whom nothing is known. Each request and each socket begins with it, so it is made only once. */
const UNKNOWN: Caller = caller.parse({ isAdmin: false });

/** What is known of a caller by its credential alone. */
export function callerFor(principal: Principal | SessionPrincipal): Caller {
  const known: Caller = { ...UNKNOWN, isAdmin: isAdmin(principal) };
  const credential = credentialOf(principal);
  switch (principal.kind) {
    case "operator":
      return known;
    case "anonymous":
      return { ...known, mayManage: false, expired: principal.expired ?? null };
    case "user": {
      const { userId, expiresAt, spaces = [] } = principal;
      const rights = { ...jobRightsOf(principal), mayManage: false };
      return { ...known, ...rights, userId, expiresAt, spaces: [...spaces] };
    }
    case "account":
      return { ...known, credential, userId: principal.userId, expiresAt: principal.expiresAt };
    case "key": {
      const { userId, keyId, expiresAt, scopes, space: onlySpace } = principal;
      return {
        ...known,
        ...jobRightsOf(principal),
        mayManage: scopes.includes("spaces:admin"),
        isAdmin: principal.role === "admin",
        credential,
        userId,
        keyId,
        expiresAt,
        onlySpace,
      };
    }
  }
}

function jobRightsOf(principal: Principal | SessionPrincipal) {
  return {
    mayRead: hasJobScope(principal, "jobs:read"),
    mayWrite: hasJobScope(principal, "jobs:write"),
  };
}
