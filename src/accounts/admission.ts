import { AsyncLocalStorage } from "node:async_hooks";
import type { Role } from "../protocol/accounts.ts";

/** Why an account may be made: set-up, an invitation, or open registration decided so. */
export interface Admission {
  role: Role;
}

/** The admission under which the current call makes an account. */
export const admissions = new AsyncLocalStorage<Admission>();
