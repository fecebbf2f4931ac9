import type { Caller } from "../auth/caller.ts";
import { credentialOf } from "../auth/credential.ts";
import { isAdmin, type Principal } from "../auth/principal.ts";
import { clientAddressOf, isFromThisMachine } from "./client-request.ts";
import type { AppContext } from "./context.ts";
import { headerPrincipalOf, principalOf } from "./principal.ts";
import { ProblemError } from "./problems.ts";

/**
 * Returns who calls a space. A wrong key or token is refused instead of ignored, because its sender expects to
 * be recognised. A user's token gives no rights to spaces: its holder is an ordinary caller.
 */
export async function callerOf(c: AppContext): Promise<Caller> {
  const principal = await principalOf(c);
  return callerAs(c, principal, isAdmin(principal));
}

/**
 * Who opens a socket to a space. It keeps its rights until it closes, so only the operator's key gives it more than
 * anybody's: an admin's may be taken back before that.
 */
export async function socketCallerOf(c: AppContext): Promise<Caller> {
  const principal = await principalOf(c);
  return callerAs(c, principal, principal.kind === "operator");
}

function callerAs(c: AppContext, principal: Principal, isAdmin: boolean): Caller {
  return {
    isAdmin,
    userId: "userId" in principal ? principal.userId : null,
    keyId: principal.kind === "key" ? principal.keyId : null,
    credential: credentialOf(principal),
    expiresAt: "expiresAt" in principal ? principal.expiresAt : null,
    address: clientAddressOf(c),
    local: isFromThisMachine(c),
  };
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
  if (principal.kind === "anonymous") {
    const detail =
      "This needs the operator's key: `Authorization: Bearer <OPERATOR_KEY>`. Admins can sign in instead.";
    throw new ProblemError("not_authenticated", detail);
  }
  requireAdminAs(principal, scope);
  return callerAs(c, principal, true);
}

/** @throws {ProblemError} if it is neither an admin nor an admin's key with the scope */
export function requireAdminAs(principal: Principal, scope?: AdminScope): void {
  if (isAdmin(principal)) return;
  if (principal.kind !== "key" || principal.role !== "admin" || principal.space !== null) {
    throw new ProblemError("not_allowed", "Only admins may do this.");
  }
  if (scope !== undefined && principal.scopes.includes(scope)) return;
  const lacking = scope === undefined ? "No key may do this" : `This key lacks the scope ${scope}`;
  throw new ProblemError("not_allowed", `${lacking}: sign in, or send the operator's key.`);
}
