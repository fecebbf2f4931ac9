/** Who asks, as far as the edge has checked it. */
export type Principal =
  | { kind: "operator" }
  | {
      kind: "user";
      userId: string;
      /** When the token runs out, milliseconds since 1970. */
      expiresAt: number;
      /** Patterns of what it may follow, and of what it may publish to. */
      rooms: readonly string[];
      publish: readonly string[];
    }
  | { kind: "anonymous" };

/** Everyone with a token may follow what is for everyone, and what is for oneself. */
export function ownRooms(userId: string): string[] {
  return ["global", `user:${userId}`];
}

/** Whether the principal may follow a room, a space or a job by its address; what is open to all aside. */
export function maySubscribe(principal: Principal, address: string): boolean {
  if (principal.kind !== "user") return principal.kind === "operator";
  return [...ownRooms(principal.userId), ...principal.rooms].some((one) => matches(one, address));
}

/** Whether the principal may publish to a room, or report a job. */
export function mayPublish(principal: Principal, address: string): boolean {
  if (principal.kind !== "user") return principal.kind === "operator";
  return principal.publish.some((one) => matches(one, address));
}

/** A pattern is an address, or ends in `*`: `project:*`, or `*` for everything. */
function matches(pattern: string, address: string): boolean {
  if (pattern === "*" || pattern === address) return true;
  return pattern.endsWith(":*") && address.startsWith(pattern.slice(0, -1));
}
