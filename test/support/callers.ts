import { type Caller, caller } from "../../src/auth/caller.ts";

/** Somebody without key or token. */
export const ANYBODY: Caller = caller.parse({ isAdmin: false });
/** Whoever has the operator's key. */
export const ADMIN: Caller = caller.parse({ isAdmin: true });
