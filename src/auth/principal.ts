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
    }
  | { kind: "anonymous" };

/** The rooms that every user with a token may follow: the one for everyone and their own. */
export function ownRooms(userId: string): string[] {
  return ["global", `user:${userId}`];
}

/**
 * Whether the principal's token lets it follow a room, or a private job of a backend. Public jobs may be followed
 * without this right, and a private space with the operator's key only.
 */
export function maySubscribe(principal: Principal, address: string): boolean {
  if (principal.kind !== "user") return principal.kind === "operator";
  return [...ownRooms(principal.userId), ...principal.rooms].some((pattern) =>
    matches(pattern, address),
  );
}

/** Whether the principal may publish to a room, or report the progress of a job. */
export function mayPublish(principal: Principal, address: string): boolean {
  if (principal.kind !== "user") return principal.kind === "operator";
  return principal.publish.some((pattern) => matches(pattern, address));
}

/** A pattern is an address, a prefix that ends in `:*` (`project:*`), or `*` for everything. */
function matches(pattern: string, address: string): boolean {
  if (pattern === "*" || pattern === address) return true;
  return pattern.endsWith(":*") && address.startsWith(pattern.slice(0, -1));
}
