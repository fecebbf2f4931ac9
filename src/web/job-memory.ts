import type { TabJob } from "./job-state.ts";
import type { RememberedJob } from "./page-state.ts";

/** More would only slow a reload down; the oldest are forgotten first. */
const MAX_REMEMBERED = 50;

/** The part of `sessionStorage` this needs: a tab's own, gone with the tab. */
export type TabStorage = Pick<Storage, "getItem" | "setItem">;

/** The jobs of this tab, newest first. What they put out is fetched again as a snapshot. */
export function recallJobs(storage: TabStorage, space: string): RememberedJob[] {
  try {
    const stored: unknown = JSON.parse(storage.getItem(keyOf(space)) ?? "[]");
    return Array.isArray(stored) ? stored.filter(isRemembered) : [];
  } catch {
    return []; // Storage may be switched off, or hold what another program wrote.
  }
}

export function rememberJobs(storage: TabStorage, space: string, jobs: TabJob[]): void {
  const remembered = jobs.slice(0, MAX_REMEMBERED).map(({ id, label }) => ({ id, label }));
  try {
    storage.setItem(keyOf(space), JSON.stringify(remembered));
  } catch {
    // Full or switched off: the page works on, only a reload forgets its jobs.
  }
}

function keyOf(space: string): string {
  return `dialout.jobs.${space}`;
}

function isRemembered(value: unknown): value is RememberedJob {
  if (typeof value !== "object" || value === null) return false;
  const { id, label } = value as Partial<RememberedJob>;
  return typeof id === "string" && typeof label === "string";
}
