import type { Caller } from "../auth/caller.ts";
import type { Refusal } from "../objects/reply.ts";
import type { MemberAccess } from "../protocol/members.ts";
import { NO_SUCH_JOB, noSuchSpace, PRIVATE_SPACE } from "./calls.ts";

/** What a space's object knows of who may do what with it. */
export interface SpaceRights {
  name: string;
  /** The id of the owner's account; `null`: the operator. */
  owner: string | null;
  /** What members may, by the id of their account. */
  members: ReadonlyMap<string, MemberAccess>;
  settings: { visibility: "public" | "private" | "shared"; anonymous_use: boolean };
}

const LEVELS = ["none", "see", "use", "manage"] as const;
/** What somebody may do with a space: each includes those before it. */
export type Access = (typeof LEVELS)[number];

export function includes(access: Access, wanted: Access): boolean {
  return LEVELS.indexOf(access) >= LEVELS.indexOf(wanted);
}

function greater(one: Access, other: Access): Access {
  return includes(one, other) ? one : other;
}

/**
 * What a caller may do with a space, whatever the scopes of its key: `manage` is changing it and seeing all of its
 * jobs, `use` is submitting. An expired credential counts as none.
 */
export function accessOf(space: SpaceRights, caller: Caller): Access {
  const { visibility, anonymous_use: forAll } = space.settings;
  const open = visibility === "public" ? (forAll ? "use" : "see") : "none";
  // A key that is for another space, or for no space at all, is as good as nobody; yet it submits nothing.
  if (isForOthers(space.name, caller)) return open === "none" ? "none" : "see";
  if (caller.isAdmin) return "manage";
  if (caller.spaces !== null) {
    const isNamed = caller.spaces.some((pattern) => namesSpace(pattern, space.name));
    return isNamed ? "use" : open;
  }
  if (caller.userId === null) return open;
  const given = caller.userId === space.owner ? "manage" : space.members.get(caller.userId);
  return greater(visibility === "public" ? "use" : "none", given ?? "none");
}

function isForOthers(name: string, caller: Caller): boolean {
  if (caller.onlySpace !== null && caller.onlySpace !== name) return true;
  return !(caller.mayRead || caller.mayWrite || caller.mayManage) && caller.keyId !== null;
}

/** A pattern is a name, a prefix that ends in `*` (`team-*`), or `*` for every space. */
export function namesSpace(pattern: string, name: string): boolean {
  return pattern.endsWith("*") ? name.startsWith(pattern.slice(0, -1)) : pattern === name;
}

/** What somebody wants to do with a space. */
export type Purpose = "see" | "watch" | "submit" | "list" | "manage" | "own";

/** Why a caller may not do that with the space; `null` if they may. A key needs the scope for it as well. */
export function refusalOf(space: SpaceRights, caller: Caller, purpose: Purpose): Refusal | null {
  const access = accessOf(space, caller);
  if (access === "none") return hidden(space.name, caller);
  const isAllowed =
    purpose === "own"
      ? caller.isAdmin || (caller.userId !== null && caller.userId === space.owner)
      : includes(access, NEEDED[purpose]);
  const scope = SCOPES[purpose];
  if (scope !== null && !caller[scope.flag]) return lacks(caller, scope.name);
  // Whoever changes something with a token that has expired must learn that nobody knew them.
  if (caller.expired !== null && !READING.has(purpose)) return unauthenticated(caller.expired);
  const isStranger = caller.userId === null && !caller.isAdmin;
  if (isAllowed && !(isStranger && purpose === "list")) return null;
  if (isForOthers(space.name, caller))
    return { ok: false, code: "not_allowed", detail: OTHER_SPACE };
  if (isStranger) return unauthenticated(ANONYMOUS[purpose]);
  return { ok: false, code: "not_allowed", detail: FORBIDDEN[purpose] };
}

/** What is public stays so for whoever's token has expired. */
const READING: ReadonlySet<Purpose> = new Set(["see", "watch"]);

const NEEDED = { see: "see", watch: "see", submit: "use", list: "use", manage: "manage" } as const;

const READ = { flag: "mayRead", name: "jobs:read" } as const;
const WRITE = { flag: "mayWrite", name: "jobs:write" } as const;
const MANAGE = { flag: "mayManage", name: "spaces:admin" } as const;
const SCOPES = {
  see: null,
  watch: READ,
  submit: WRITE,
  list: READ,
  manage: MANAGE,
  own: MANAGE,
} as const;

const SIGN_IN = "sign in, or send a key or a user's token as `Authorization: Bearer <key>`.";
const MANAGERS = "Only the space's owner and managers may do this";
const ANONYMOUS: Record<Purpose, string> = {
  see: `This space is not public: ${SIGN_IN}`,
  watch: `This space is not public: ${SIGN_IN}`,
  submit: `Only known users may submit to this space: ${SIGN_IN}`,
  list: `Jobs are listed for their owners: ${SIGN_IN}`,
  manage: `${MANAGERS}: ${SIGN_IN}`,
  own: `Only the space's owner may do this: ${SIGN_IN}`,
};
const FORBIDDEN: Record<Purpose, string> = {
  see: "You may not see this space.",
  watch: "You may not see this space.",
  submit: "You may not submit to this space.",
  list: "You may not list this space's jobs.",
  manage: `${MANAGERS}.`,
  own: "Only the space's owner may do this.",
};

const OTHER_SPACE = "This key is for another space.";

function unauthenticated(detail: string): Refusal {
  return { ok: false, code: "not_authenticated", detail };
}

function lacks({ keyId }: Caller, scope: string): Refusal {
  const ofToken =
    scope === MANAGE.name
      ? "A user's token may not do this: sign in, or send a key."
      : `The key that made this token lacks the scope ${scope}: make one with a key that has it.`;
  const detail =
    keyId === null
      ? ofToken
      : `This key lacks the scope ${scope}: make one that has it, or sign in.`;
  return { ok: false, code: "not_allowed", detail };
}

/**
 * The answer of a space that the caller may not even see. Somebody without a credential is told to send one; to
 * everybody else the space isn't there.
 */
function hidden(name: string, caller: Caller): Refusal {
  if (caller.expired !== null) return unauthenticated(caller.expired);
  return caller.userId === null && caller.keyId === null
    ? PRIVATE_SPACE
    : { ...noSuchSpace(name), isHidden: true };
}

/**
 * Whose a job is that a caller submits, or why they may not say so: whoever manages the space may name somebody else.
 *
 * @param named the user that the submit names
 */
export function submitterOf(
  space: SpaceRights,
  caller: Caller,
  named: string | undefined,
): { ok: true; user: string | null } | Refusal {
  if (named === undefined || named === caller.userId) return { ok: true, user: caller.userId };
  if (accessOf(space, caller) === "manage") return { ok: true, user: named };
  const detail =
    "`user`: only the operator and those who manage the space may submit for somebody else.";
  return { ok: false, code: "not_allowed", detail };
}

/** What is known of a job without reading it. */
export interface JobRights {
  /** Whose it is; `null`: whoever may use the space and knows its id. */
  user: string | null;
  /** The hash of the token of the link by which it is shared; `null`: it isn't. */
  share: string | null;
}

/**
 * Why a caller may not see a job, or change it: cancel it, share it, erase it. Nobody learns whether a job exists that
 * isn't theirs: that is the answer for an id that was never given out, too.
 *
 * @param job `null` if there is none
 */
export function jobRefusalOf(
  space: SpaceRights,
  caller: Caller,
  job: JobRights | null,
  purpose: "see" | "change",
): Refusal | null {
  const access = accessOf(space, caller);
  const needed = purpose === "see" ? READ : WRITE;
  const isShared = job !== null && job.share !== null && job.share === caller.share;
  if (isShared && purpose === "see") return null;
  // Whatever job it is, so this says nothing about it.
  if (!caller[needed.flag]) return lacks(caller, needed.name);
  if (purpose === "change" && caller.expired !== null) return unauthenticated(caller.expired);
  if (job !== null && isTheirs(access, caller, job, space, purpose)) return null;
  if (caller.expired !== null) return unauthenticated(caller.expired);
  const isStranger = caller.userId === null && caller.keyId === null;
  return access === "none" && isStranger ? PRIVATE_SPACE : NO_SUCH_JOB;
}

function isTheirs(
  access: Access,
  caller: Caller,
  { user }: JobRights,
  space: SpaceRights,
  purpose: "see" | "change",
): boolean {
  if (access === "manage") return true;
  if (user === null) return includes(access, purpose === "see" ? "see" : "use");
  // Also in a space that is closed to them: a backend made the job for them, or they made it before.
  return user === caller.userId && !isForOthers(space.name, caller);
}
