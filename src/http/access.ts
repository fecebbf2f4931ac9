import { isAdmin } from "../auth/principal.ts";
import type { Caller } from "../space/calls.ts";
import type { AppContext } from "./context.ts";
import { headerPrincipalOf, principalOf } from "./principal.ts";
import { ProblemError } from "./problems.ts";

/**
 * Returns who calls a space. A wrong key or token is refused instead of ignored, because its sender expects to
 * be recognised. A user's token gives no rights to spaces: its holder is an ordinary caller.
 */
export async function callerOf(c: AppContext): Promise<Caller> {
  return { operator: isAdmin(await principalOf(c)) };
}

/**
 * Who opens a socket to a space. It keeps its rights until it closes, so only the operator's key gives it more than
 * anybody's: an admin's may be taken back before that.
 */
export async function socketCallerOf(c: AppContext): Promise<Caller> {
  return { operator: (await principalOf(c)).kind === "operator" };
}

/** The scopes that let an admin's key do what admins do. */
type AdminScope = "spaces:admin" | "jobs:read" | "metrics:read";

/**
 * @param scope the one that lets an admin's key do this; without one no key may
 * @throws {ProblemError} if the sender is neither the operator nor an admin. What is in the address is not
 * looked at: addresses are logged and shared.
 */
export async function requireAdmin(c: AppContext, scope?: AdminScope): Promise<Caller> {
  const principal = await headerPrincipalOf(c);
  if (isAdmin(principal)) return { operator: true };
  if (principal.kind === "anonymous") {
    const detail =
      "This needs the operator's key: `Authorization: Bearer <OPERATOR_KEY>`. Admins can sign in instead.";
    throw new ProblemError("not_authenticated", detail);
  }
  if (principal.kind !== "key" || principal.role !== "admin" || principal.space !== null) {
    throw new ProblemError("not_allowed", "Only admins may do this.");
  }
  if (scope !== undefined && principal.scopes.includes(scope)) return { operator: true };
  const lacking = scope === undefined ? "No key may do this" : `This key lacks the scope ${scope}`;
  throw new ProblemError("not_allowed", `${lacking}: sign in, or send the operator's key.`);
}
