import { z } from "zod";
import { credential } from "./credential.ts";

/** Who asks a space for something, as the Worker has found out. The space's object decides what they may. */
export const caller = z.object({
  /** Whoever has the operator's key, and admins: they may do everything. */
  isAdmin: z.boolean(),
  /** The user of an account, a key or a user's token; `null`: nobody that is known. */
  userId: z.string().nullable().default(null),
  /** The key that it came with; `null`: it came without one. */
  keyId: z.string().nullable().default(null),
  /** The session or key that it came with; `null`: it came with neither, or with the operator's key. */
  credential: credential.nullable().default(null),
  /** When the session, key or token expires, milliseconds since 1970; `null`: never. */
  expiresAt: z.number().nullable().default(null),
  /** The network address; jobs and sockets of strangers are counted by this (decision 0026). */
  address: z.string().default("unknown"),
  /** It is on the machine of the edge: it is not limited, and its webhooks may go anywhere. */
  local: z.boolean().default(false),
});
export type Caller = z.infer<typeof caller>;

/** The edge itself, for what the Worker has allowed already. */
export const EDGE: Caller = caller.parse({ isAdmin: true });
