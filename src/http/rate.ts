import type { Caller } from "../space/calls.ts";
import type { AppContext } from "./context.ts";
import { ProblemError } from "./problems.ts";

/**
 * Bounds how fast one address submits, by the platform's counters: per location and approximate, which is
 * enough against a flood and no quota. The operator is not bound.
 */
export async function limitRate(c: AppContext, caller: Caller): Promise<void> {
  if (caller.operator || c.env.LOCAL === "true") return;
  const key = c.req.header("cf-connecting-ip") ?? "unknown";
  const { success } = await c.env.SUBMITS.limit({ key });
  if (success) return;
  throw new ProblemError(
    "rate_limited",
    "Too many submits from your address: try again in a minute.",
  );
}
