import { z } from "zod";
import { spaceName, text, timestamp } from "./values.ts";

export const ROLES = ["admin", "member"] as const;
/** `admin`: may do what the operator's key may. `member`: has what is theirs. */
export const role = z.enum(ROLES);
export type Role = z.infer<typeof role>;

export const REGISTRATIONS = ["open", "invitation", "closed"] as const;
/** Who may make an account: anybody, those who were invited, or nobody. */
export const registration = z.enum(REGISTRATIONS);
export type Registration = z.infer<typeof registration>;

/** Who may make spaces: admins, or members as well. */
export const spaceCreation = z.enum(["admins", "members"]);
export type SpaceCreation = z.infer<typeof spaceCreation>;

const email = z.email().max(254);
/** Characters; longer ones would make the edge work long on each attempt. */
const password = z
  .string()
  .min(10, "must have 10 characters or more")
  .max(128, "must have 128 characters or fewer");
const personName = text(80).trim().min(1);

export const signInBody = z.strictObject({ email, password: z.string().max(128) });
const signUp = { name: personName, email, password };
/** `invitation`: the code of an invitation, where registration asks for one. */
export const signUpBody = z.strictObject({ ...signUp, invitation: z.string().max(100).optional() });
/** `key`: the operator's key, or the code in the link that `npm start` prints. */
export const setupBody = z.strictObject({ ...signUp, key: z.string().max(500) });
export const patchMeBody = z.strictObject({ name: personName });
/** All other sessions end, unless `keep_sessions`. */
export const passwordBody = z.strictObject({
  current_password: z.string().max(128),
  new_password: password,
  keep_sessions: z.boolean().default(false),
});

/** An account, as its owner and admins see it. */
export const userResource = z.object({
  id: z.string(),
  name: z.string(),
  email: z.string(),
  role,
  created_at: timestamp,
  /** Since when it can't be used; `null` if it can. */
  disabled_at: timestamp.nullable(),
});
export type UserResource = z.infer<typeof userResource>;

export const sessionResource = z.object({
  id: z.string(),
  /** The session of the request itself. */
  current: z.boolean(),
  address: z.string().nullable(),
  user_agent: z.string().nullable(),
  created_at: timestamp,
  expires_at: timestamp,
});
export type SessionResource = z.infer<typeof sessionResource>;

/** Contains only what changes. */
export const patchUserBody = z
  .strictObject({ role: role.optional(), disabled: z.boolean().optional() })
  .refine((patch) => Object.keys(patch).length > 0, "names nothing to change");
export type UserPatch = z.infer<typeof patchUserBody>;

/** `email`: only an account with this address can be made with it. */
export const inviteBody = z.strictObject({
  email: email.optional(),
  role: role.default("member"),
  expires_in_s: z.int().min(60).max(2_592_000).default(604_800),
});

export const invitationResource = z.object({
  id: z.string(),
  email: z.string().nullable(),
  role,
  created_at: timestamp,
  expires_at: timestamp,
  used_at: timestamp.nullable(),
  /** The code itself; only the answer to the request that made the invitation contains it. */
  code: z.string().optional(),
});
export type InvitationResource = z.infer<typeof invitationResource>;

/**
 * What a key may do; never more than its owner may. `rooms:read` and `rooms:publish` name rooms as the claims of a
 * token do: `rooms:read:project:*`.
 */
export const SCOPES = ["jobs:read", "jobs:write", "spaces:admin", "metrics:read"] as const;
const ROOM_SCOPE = /^rooms:(read|publish):(\*|global|[a-z][a-z0-9_-]{0,30}:(\*|[\w.@|-]{1,128}))$/;
export const scope = z.union([
  z.enum(SCOPES),
  z
    .string()
    .regex(
      ROOM_SCOPE,
      `must be one of ${SCOPES.join(", ")}, or rooms:read:<room> or rooms:publish:<room> with a room such as project:*`,
    ),
]);

export const createKeyBody = z.strictObject({
  name: text(120).trim().min(1),
  scopes: z.array(scope).min(1).max(50),
  /** The one space that it is for; all if not given. */
  space: spaceName.optional(),
  /** `null`: it doesn't expire. */
  expires_in_s: z.int().min(60).max(315_360_000).nullable().default(null),
});
export type CreateKeyBody = z.infer<typeof createKeyBody>;

export const keyResource = z.object({
  id: z.string(),
  name: z.string(),
  /** How it begins, by which its owner knows it. */
  prefix: z.string(),
  scopes: z.array(z.string()),
  space: spaceName.nullable(),
  /** The id of its owner; `null`: the operator. */
  user: z.string().nullable(),
  created_at: timestamp,
  expires_at: timestamp.nullable(),
  /** Accurate to a minute. */
  last_used_at: timestamp.nullable(),
  /** The key itself; only the answer to the request that made it contains it. */
  key: z.string().optional(),
});
export type KeyResource = z.infer<typeof keyResource>;

export const pageQuery = z.strictObject({
  cursor: z.string().max(100).default(""),
  limit: z.coerce.number().int().min(1).max(100).default(50),
});

export const AUDIT_ACTIONS = [
  "setup",
  "user.register",
  "user.sign_in",
  "user.change",
  "user.password",
  "invitation.create",
  "invitation.delete",
  "key.create",
  "key.revoke",
  "space.create",
  "space.change",
  "space.delete",
  "space.drain",
  "space.owner",
  "member.put",
  "member.remove",
  "job.share",
  "job.unshare",
  "job.delete",
  "webhook_secret.create",
  "worker_token.create",
  "worker_token.revoke",
] as const;
export const auditAction = z.enum(AUDIT_ACTIONS);
export type AuditAction = z.infer<typeof auditAction>;

export const auditEntry = z.object({
  id: z.string(),
  at: timestamp,
  actor_kind: z.string(),
  /** The id of the user or key; `null`: the operator, or nobody that is known. */
  actor: z.string().nullable(),
  action: auditAction,
  /** What it was done to, such as `space:demo`. */
  target: z.string(),
  address: z.string(),
  details: z.record(z.string(), z.unknown()),
});
export type AuditEntry = z.infer<typeof auditEntry>;

export const auditQuery = z.strictObject({
  actor: z.string().max(100).optional(),
  action: auditAction.optional(),
  target: z.string().max(300).optional(),
  from: timestamp.optional(),
  until: timestamp.optional(),
  format: z.enum(["json", "csv"]).default("json"),
  cursor: z.string().max(100).default(""),
  limit: z.coerce.number().int().min(1).max(1_000).default(50),
});
