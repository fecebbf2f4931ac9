import type { Role } from "../protocol/accounts.ts";

/** Who makes a request, as the edge has checked it. */
export type Principal =
  | { kind: "operator" }
  | {
      kind: "user";
      userId: string;
      /** When the token expires, milliseconds since 1970. */
      expiresAt: number;
      /** Patterns of the channels that the user may follow. */
      rooms: readonly string[];
      /** Patterns of the rooms and jobs that the user may publish to. */
      publish: readonly string[];
    }
  | {
      kind: "account";
      userId: string;
      role: Role;
      sessionId: string;
      /** When the session expires, milliseconds since 1970. */
      expiresAt: number;
    }
  | { kind: "anonymous" };

/** Who may do everything: whoever has the operator's key, and admins who are signed in. */
export function isAdmin(principal: Principal): boolean {
  return (
    principal.kind === "operator" || (principal.kind === "account" && principal.role === "admin")
  );
}

/** The rooms that every user may follow: the one for everyone and their own. */
export function ownRooms(userId: string): string[] {
  return ["global", `user:${userId}`];
}

/**
 * Whether the principal's token lets it follow a room, a space or a job. Public spaces and jobs may be
 * followed without this right.
 */
export function maySubscribe(principal: Principal, address: string): boolean {
  if (principal.kind === "anonymous" || principal.kind === "operator" || isAdmin(principal)) {
    return principal.kind !== "anonymous";
  }
  const granted = principal.kind === "user" ? principal.rooms : [];
  return [...ownRooms(principal.userId), ...granted].some((pattern) => matches(pattern, address));
}

/** Whether the principal may publish to a room, or report the progress of a job. */
export function mayPublish(principal: Principal, address: string): boolean {
  if (principal.kind !== "user") return isAdmin(principal);
  return principal.publish.some((pattern) => matches(pattern, address));
}

/** A pattern is an address, a prefix that ends in `:*` (`project:*`), or `*` for everything. */
function matches(pattern: string, address: string): boolean {
  if (pattern === "*" || pattern === address) return true;
  return pattern.endsWith(":*") && address.startsWith(pattern.slice(0, -1));
}
