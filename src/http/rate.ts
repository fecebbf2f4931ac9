import type { Caller } from "../auth/caller.ts";
import { countedAs } from "../objects/allowances.ts";
import { tooManySubmits } from "../space/calls.ts";
import { type AppContext, refused } from "./context.ts";

/**
 * Limits how often one address, user or key may submit, with the platform's counters. They count approximately and for
 * each location apart: enough against a flood, but not a quota (decision 0026). The operator has no limit,
 * nor has this machine itself on one's own server.
 */
export async function limitRate(c: AppContext, caller: Caller): Promise<void> {
  if (caller.isAdmin || caller.local) return;
  const { success } = await c.env.SUBMITS.limit({ key: countedAs(caller) });
  if (!success) throw refused(tooManySubmits(caller));
}
