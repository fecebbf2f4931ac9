import { z } from "zod";
import { userId } from "./values.ts";

/** `use`: may see the space, submit, and see their own jobs. `manage`: may change the space and see all of its jobs. */
export const memberAccess = z.enum(["use", "manage"]);
export type MemberAccess = z.infer<typeof memberAccess>;

export const putMemberBody = z.strictObject({ access: memberAccess });

export const memberResource = z.object({
  user: userId,
  /** `null`: the account is gone. */
  name: z.string().nullable(),
  access: memberAccess,
});
export type MemberResource = z.infer<typeof memberResource>;

/** What a space's object tells of its members, for the Worker to add their names. */
export const memberList = z.object({
  owner: userId.nullable(),
  members: z.array(z.object({ user: userId, access: memberAccess })),
});
