import type { TabJob } from "./job-state.ts";
import type { RememberedJob } from "./page-state.ts";

/** Most jobs remembered per space, because each one slows a reload; the oldest are dropped first. */
const MAX_REMEMBERED = 50;

/** The part of `sessionStorage` used here; it belongs to one tab and is erased with it. */
export type TabStorage = Pick<Storage, "getItem" | "setItem">;

/**
 * Returns the jobs of a space that this tab remembers, newest first. Their output is not stored: the caller
 * follows each job, and gets its output with the snapshot.
 */
export function recallJobs(storage: TabStorage, space: string): RememberedJob[] {
  try {
    const stored: unknown = JSON.parse(storage.getItem(keyOf(space)) ?? "[]");
    return Array.isArray(stored) ? stored.filter(isRemembered) : [];
  } catch {
    return []; // Storage may be disabled, or contain data from another program.
  }
}

export function rememberJobs(storage: TabStorage, space: string, jobs: TabJob[]): void {
  const remembered = jobs
    .slice(0, MAX_REMEMBERED)
    .map(({ id, label, share }) => (share === null ? { id, label } : { id, label, share }));
  try {
    storage.setItem(keyOf(space), JSON.stringify(remembered));
  } catch {
    // Storage is full or disabled: the page still works, but a reload forgets its jobs.
  }
}

function keyOf(space: string): string {
  return `dialout.jobs.${space}`;
}

function isRemembered(value: unknown): value is RememberedJob {
  if (typeof value !== "object" || value === null) return false;
  const { id, label, share } = value as Partial<RememberedJob>;
  const isLink = share === undefined || typeof share === "string";
  return typeof id === "string" && typeof label === "string" && isLink;
}
