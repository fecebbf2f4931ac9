import type { JobStore } from "../storage/job-store.ts";

/** Jobs erased in one pass: the alarm comes again for the rest. */
const SWEEP_PAGE = 200;
/** R2 deletes so many objects in one call. */
const KEYS_A_CALL = 1_000;

/** The oldest jobs that ended before `instant`, and where their files are. */
export function endedBefore(store: JobStore, instant: number): { ulid: string; keys: string[] }[] {
  return store
    .oldestEnded(SWEEP_PAGE)
    .filter(({ completedAt }) => completedAt <= instant)
    .map(({ ulid, files }) => {
      const stored = JSON.parse(files) as { key: string }[];
      return { ulid, keys: stored.map(({ key }) => key) };
    });
}

export async function deleteFiles(bucket: R2Bucket, keys: readonly string[]): Promise<void> {
  for (let at = 0; at < keys.length; at += KEYS_A_CALL) {
    await bucket.delete(keys.slice(at, at + KEYS_A_CALL));
  }
}

/** Deletes every object under a prefix of the bucket. */
export async function removeFiles(bucket: R2Bucket, prefix: string): Promise<void> {
  for (;;) {
    const { objects } = await bucket.list({ prefix });
    if (objects.length === 0) return;
    await bucket.delete(objects.map(({ key }) => key));
  }
}
