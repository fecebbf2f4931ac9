import { AsyncLocalStorage } from "node:async_hooks";
import type { Role } from "../protocol/accounts.ts";

/** Why an account may be made: set-up, an invitation, or open registration decided so. */
export interface Admission {
  /** The role of whoever registers with this address; `null`: they may not. */
  roleFor: (email: string) => Role | null | Promise<Role | null>;
  /** The account that was made under it. */
  madeId?: string;
  /** The account that was signed in under it. */
  signedInId?: string;
}

/** The admission under which the current call makes an account. */
export const admissions = new AsyncLocalStorage<Admission>();
