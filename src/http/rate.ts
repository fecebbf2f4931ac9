import type { Caller } from "../auth/caller.ts";
import { TOO_MANY_SUBMITS } from "../space/calls.ts";
import type { AppContext } from "./context.ts";
import { ProblemError } from "./problems.ts";

/**
 * Limits how often one address may submit, with the platform's counters. They count approximately and for
 * each location apart: enough against a flood, but not a quota (decision 0026). The operator has no limit,
 * nor has this machine itself on one's own server.
 */
export async function limitRate(c: AppContext, caller: Caller): Promise<void> {
  if (caller.isAdmin || caller.local) return;
  const { success } = await c.env.SUBMITS.limit({ key: caller.address });
  if (success) return;
  throw new ProblemError(TOO_MANY_SUBMITS.code, TOO_MANY_SUBMITS.detail);
}
