import { type Caller, callerFor } from "../auth/caller.ts";
import { isAdmin, type Principal } from "../auth/principal.ts";
import { secretHash } from "../auth/secrets.ts";
import { fitsSession } from "../auth/session.ts";
import { clientAddressOf, isFromThisMachine } from "./client-request.ts";
import type { AppContext } from "./context.ts";
import { headerPrincipalOf, readerOf } from "./principal.ts";
import { ProblemError } from "./problems.ts";

/**
 * Returns who calls a space. A wrong key or token is refused instead of ignored, because its sender expects to
 * be recognised. One that has expired is not refused here: the space is told, and refuses what is not for anybody.
 */
export async function callerOf(c: AppContext): Promise<Caller> {
  return callerAs(c, await readerOf(c));
}

/** Who opens a socket to a space: the same, with the same rights, which it loses at once where they are taken back. */
export async function socketCallerOf(c: AppContext): Promise<Caller> {
  const principal = await readerOf(c);
  if (fitsSession(principal)) return callerAs(c, principal);
  throw new ProblemError(
    "not_allowed",
    "The token's rights are too many for a socket: use patterns.",
  );
}

/** Who shares or erases a job. What is in the address is not looked at: addresses are logged and shared. */
export async function changerOf(c: AppContext): Promise<Caller> {
  return callerAs(c, await headerPrincipalOf(c));
}

const NEEDS_KEY =
  "This needs the operator's key: `Authorization: Bearer <OPERATOR_KEY>`. Whoever may do it can sign in instead, or send a key.";

/**
 * Who asks for what only known users may. Which of them may, the space decides.
 *
 * @throws {ProblemError} if nobody is known
 */
export async function knownCallerOf(c: AppContext): Promise<Caller> {
  const principal = await headerPrincipalOf(c);
  if (principal.kind === "anonymous") throw new ProblemError("not_authenticated", NEEDS_KEY);
  return callerAs(c, principal);
}

/** Who manages spaces: no user's token does, and no key without the scope. */
export async function managerOf(c: AppContext): Promise<Caller> {
  const caller = await knownCallerOf(c);
  if (caller.mayManage) return caller;
  const detail =
    caller.keyId === null
      ? "No user's token may do this: sign in, or send a key."
      : "This key lacks the scope spaces:admin: make one that has it, or sign in.";
  throw new ProblemError("not_allowed", detail);
}

/** The header with the token of a link to a job; `?share=` for what can't set headers, such as sockets. */
const SHARE_HEADER = "job-share";

function callerAs(c: AppContext, principal: Principal): Caller {
  const share = c.req.header(SHARE_HEADER) ?? c.req.query("share");
  return {
    ...callerFor(principal),
    share: share === undefined ? null : secretHash(share),
    address: clientAddressOf(c),
    local: isFromThisMachine(c),
  };
}

/** The scopes that let an admin's key do what admins do. */
type AdminScope = "metrics:read";

/**
 * @param scope the one that lets an admin's key do this; without one no key may
 * @throws {ProblemError} if the sender is neither the operator nor an admin. What is in the address is not
 * looked at: addresses are logged and shared.
 */
export async function requireAdmin(c: AppContext, scope?: AdminScope): Promise<Caller> {
  const principal = await headerPrincipalOf(c);
  if (isAdmin(principal)) return callerAs(c, principal);
  if (principal.kind === "anonymous") {
    const detail =
      "This needs the operator's key: `Authorization: Bearer <OPERATOR_KEY>`. Admins can sign in instead.";
    throw new ProblemError("not_authenticated", detail);
  }
  if (principal.kind !== "key" || principal.role !== "admin" || principal.space !== null) {
    throw new ProblemError("not_allowed", "Only admins may do this.");
  }
  if (scope !== undefined && principal.scopes.includes(scope)) return callerAs(c, principal);
  const lacking = scope === undefined ? "No key may do this" : `This key lacks the scope ${scope}`;
  throw new ProblemError("not_allowed", `${lacking}: sign in, or send the operator's key.`);
}

/**
 * Returns who makes a space, which is theirs then.
 *
 * @throws {ProblemError} if the sender may not make spaces
 */
export async function requireSpaceMaker(c: AppContext): Promise<Caller> {
  const caller = await managerOf(c);
  if (caller.isAdmin || c.env.SPACE_CREATION === "members") return caller;
  throw new ProblemError("not_allowed", "Only admins may make spaces here.");
}

/** @throws {ProblemError} if the maker's key is for another space */
export function checkMaker({ onlySpace }: Caller, name: string): void {
  if (onlySpace === null || onlySpace === name) return;
  throw new ProblemError("not_allowed", `This key is for the space ${onlySpace} alone.`);
}
