import { type Caller, TOO_MANY_SUBMITS } from "../space/calls.ts";
import type { AppContext } from "./context.ts";
import { ProblemError } from "./problems.ts";

/**
 * Bounds how fast one address submits, by the platform's counters: per location and approximate, which is
 * enough against a flood and no quota. The operator is not bound.
 */
export async function limitRate(c: AppContext, caller: Caller): Promise<void> {
  if (caller.operator || c.env.LOCAL === "true") return;
  const { success } = await c.env.SUBMITS.limit({ key: clientAddressOf(c) });
  if (success) return;
  throw new ProblemError(TOO_MANY_SUBMITS.code, TOO_MANY_SUBMITS.detail);
}

/** By what submits are counted; those over sockets count together with these. */
export function clientAddressOf(c: AppContext): string {
  return c.req.header("cf-connecting-ip") ?? "unknown";
}
