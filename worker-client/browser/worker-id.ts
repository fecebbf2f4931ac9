import { defaultWorkerId } from "../worker-options.ts";

/** How long the former page of a tab may take to end when it is reloaded, milliseconds. */
const RELOAD_MS = 2_000;
const NEVER = new Promise<void>(() => {});
/** The ids whose locks this page has. */
const own = new Set<string>();

/**
 * The id of this tab's worker for a space. It is the same when the tab is reloaded, so that the edge takes back at once
 * what the page held before (W25). A tab that was duplicated has the same storage, but must not have the same id
 * (W6a): a lock, which only one page can hold, tells the two apart.
 */
export async function tabWorkerId(space: string): Promise<string> {
  const key = `dialout-worker:${space}`;
  const kept = readStorage(key);
  if (kept !== null && (await takeLock(kept))) return kept;
  const id = defaultWorkerId();
  await takeLock(id);
  try {
    sessionStorage.setItem(key, id);
  } catch {
    // Without storage a reload is another worker.
  }
  return id;
}

function readStorage(key: string): string | null {
  try {
    return sessionStorage.getItem(key);
  } catch {
    return null;
  }
}

/** Takes the lock for as long as the page lives; `false` if another page keeps it. */
function takeLock(id: string): Promise<boolean> {
  const locks: LockManager | undefined = globalThis.navigator?.locks;
  // Pages that came over plain HTTP from another machine have no locks.
  if (locks === undefined || own.has(id)) return Promise.resolve(true);
  const signal = AbortSignal.timeout(RELOAD_MS);
  return new Promise((resolve) => {
    locks
      .request(`dialout-worker:${id}`, { signal }, () => {
        own.add(id);
        resolve(true);
        return NEVER;
      })
      .catch(() => resolve(false));
  });
}
