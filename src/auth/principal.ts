import type { Role } from "../protocol/accounts.ts";

/** The scopes of jobs. A key has them if it names them, a user's token unless it says otherwise. */
export const JOB_SCOPES = ["jobs:read", "jobs:write"] as const;
export type JobScope = (typeof JOB_SCOPES)[number];

/** Who makes a request, as the edge has checked it. */
export type Principal =
  | { kind: "operator" }
  | {
      kind: "user";
      userId: string;
      /** When the token expires, milliseconds since 1970. */
      expiresAt: number;
      /** Patterns of the rooms and jobs that the user may follow. */
      rooms: readonly string[];
      /** Patterns of the rooms and jobs that the user may publish to. */
      publish: readonly string[];
      /** Patterns of the spaces that the user may use. */
      spaces?: readonly string[] | undefined;
      /** What else a token lets its user do with jobs, and this one doesn't: a key without these scopes made it. */
      without?: readonly JobScope[] | undefined;
    }
  | {
      kind: "account";
      userId: string;
      role: Role;
      sessionId: string;
      /** When the session expires, milliseconds since 1970. */
      expiresAt: number;
    }
  | {
      kind: "key";
      keyId: string;
      /** Its owner; `null`: the operator. */
      userId: string | null;
      /** The owner's role: a key may do what its scopes name, and never more than its owner. */
      role: Role;
      scopes: readonly string[];
      /** The one space that it is for; `null`: all. */
      space: string | null;
      /** When it expires, milliseconds since 1970; `null`: never. */
      expiresAt: number | null;
    }
  | {
      kind: "anonymous";
      /** Why the token that was sent is refused where it matters: it has expired. */
      expired?: string;
    };

/** Who may do everything: whoever has the operator's key, and admins who are signed in. */
export function isAdmin(principal: Principal): boolean {
  return (
    principal.kind === "operator" || (principal.kind === "account" && principal.role === "admin")
  );
}

/** The user whose own jobs without a space the principal may read; `null`: nobody's. */
export function jobReaderOf(principal: Principal): string | null {
  if (principal.kind === "operator" || principal.kind === "anonymous") return null;
  const isForOneSpace = principal.kind === "key" && principal.space !== null;
  return isForOneSpace || !hasJobScope(principal, "jobs:read") ? null : principal.userId;
}

/** Whether the principal may do that with jobs: its key or token may lack the scope. */
export function hasJobScope(principal: Principal, scope: JobScope): boolean {
  if (principal.kind === "key") return principal.scopes.includes(scope);
  return principal.kind !== "user" || !principal.without?.includes(scope);
}

/** The rooms that every user may follow: the one for everyone and their own. */
export function ownRooms(userId: string): string[] {
  return ["global", `user:${userId}`];
}

/**
 * Whether the principal's token lets it follow a room, or a private job of a backend. Public jobs may be followed
 * without this right, and a private space with the operator's key only.
 */
export function maySubscribe(principal: Principal, address: string): boolean {
  switch (principal.kind) {
    case "operator":
      return true;
    case "anonymous":
      return false;
    case "user":
      return (
        isOwnRoom(principal.userId, address) ||
        principal.rooms.some((pattern) => matches(pattern, address))
      );
    case "account":
      return principal.role === "admin" || isOwnRoom(principal.userId, address);
    case "key":
      return (
        hasRoomScope(principal, "read", address) &&
        (principal.role === "admin" || isOwnRoom(principal.userId, address))
      );
  }
}

function isOwnRoom(userId: string | null, address: string): boolean {
  return userId !== null && ownRooms(userId).includes(address);
}

/** Whether the principal may publish to a room, or report the progress of a job. */
export function mayPublish(principal: Principal, address: string): boolean {
  if (principal.kind === "key") {
    return principal.role === "admin" && hasRoomScope(principal, "publish", address);
  }
  if (principal.kind !== "user") return isAdmin(principal);
  return principal.publish.some((pattern) => matches(pattern, address));
}

type Key = Extract<Principal, { kind: "key" }>;

/**
 * Whether one of the key's scopes covers a room, or a job that a backend reports. Neither belongs to a space, so a key
 * for one space covers none.
 */
function hasRoomScope({ scopes, space }: Key, right: "read" | "publish", address: string): boolean {
  if (space !== null) return false;
  const isJob = address.startsWith("job:");
  if (isJob && scopes.includes(right === "read" ? "jobs:read" : "jobs:write")) return true;
  const prefix = `rooms:${right}:`;
  return scopes.some(
    (scope) => scope.startsWith(prefix) && matches(scope.slice(prefix.length), address),
  );
}

/** A pattern is an address, a prefix that ends in `:*` (`project:*`), or `*` for everything. */
export function matches(pattern: string, address: string): boolean {
  if (pattern === "*" || pattern === address) return true;
  return pattern.endsWith(":*") && address.startsWith(pattern.slice(0, -1));
}
