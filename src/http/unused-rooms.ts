import type { Principal } from "../auth/principal.ts";
import { Allowances } from "../objects/allowances.ts";
import { KnownNames } from "../objects/known-names.ts";
import { hostOf } from "../room/host.ts";
import { ProblemError } from "./problems.ts";

/**
 * How often a user may read of rooms that nobody uses: so many times at once, and each second in the long run. Each
 * read starts the object of its room for some seconds (decision 0043).
 */
const reads = new Allowances({ burst: 60, perSecond: 1 });

const used = new KnownNames();

/** @throws {ProblemError} if this user has read of too many rooms that nobody uses, and this may be one more */
export function limitUnused(principal: Principal, room: string, now: number): void {
  if (principal.kind !== "user" || isBounded(room) || used.has(room)) return;
  if (reads.take(principal.userId, 1, now) === 0) return;
  const detail = "Too many reads of rooms that nobody uses: try again in a minute.";
  throw new ProblemError("rate_limited", detail);
}

/** The room is used after all, so this read does not count. */
export function noteUsed(principal: Principal, room: string, now: number): void {
  if (principal.kind !== "user" || isBounded(room) || used.has(room)) return;
  used.add(room);
  reads.take(principal.userId, -1, now);
}

/** Users' own rooms share a few objects, however many are asked for. */
function isBounded(room: string): boolean {
  return hostOf(room) !== room;
}
