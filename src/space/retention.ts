import type { SpaceCore } from "./core.ts";

/** Jobs erased in one pass: the alarm comes again for the rest. */
const SWEEP_PAGE = 200;

/** Erases jobs whose time is over; returns the keys of their files, to be deleted after the commit. */
export function sweepExpired(core: SpaceCore, now: number): string[] {
  const ttlMs = core.record.settings.result_ttl_s * 1_000;
  const keys: string[] = [];
  for (const { ulid, completedAt, files } of core.store.oldestEnded(SWEEP_PAGE)) {
    if (completedAt + ttlMs > now) continue;
    core.store.remove(ulid);
    keys.push(...(JSON.parse(files) as { key: string }[]).map(({ key }) => key));
  }
  return keys;
}

/** Deletes every object under a prefix of the bucket. */
export async function removeFiles(bucket: R2Bucket, prefix: string): Promise<void> {
  for (;;) {
    const { objects } = await bucket.list({ prefix });
    if (objects.length === 0) return;
    await bucket.delete(objects.map(({ key }) => key));
  }
}
