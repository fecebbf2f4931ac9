import { z } from "zod";
import { text, timestamp } from "./values.ts";

export const ROLES = ["admin", "member"] as const;
/** `admin`: may do what the operator's key may. `member`: has what is theirs. */
export const role = z.enum(ROLES);
export type Role = z.infer<typeof role>;

export const REGISTRATIONS = ["open", "invitation", "closed"] as const;
/** Who may make an account: anybody, those who were invited, or nobody. */
export const registration = z.enum(REGISTRATIONS);
export type Registration = z.infer<typeof registration>;

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

export const pageQuery = z.strictObject({
  cursor: z.string().max(100).default(""),
  limit: z.coerce.number().int().min(1).max(100).default(50),
});
