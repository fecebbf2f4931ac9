import { outputKey } from "../../files/file-keys.ts";
import type { Expired } from "../../storage/job-store.ts";

/** R2 deletes at most this many objects in one call. */
const KEYS_PER_CALL = 1_000;

/**
 * The keys of the files that nobody has once these jobs are erased. A job that was answered from the cache shares the
 * output files of an earlier one: the last of them takes them along.
 *
 * @param holders the jobs that have outputs in a folder
 */
export function keysOf(
  space: string,
  jobs: readonly Expired[],
  holders: (folder: string) => readonly string[],
): string[] {
  const erased = new Set(jobs.map(({ ulid }) => ulid));
  return jobs.flatMap(({ files, outputs: [first, ...others] }) => {
    const inputs = files.map(({ key }) => key);
    const isShared = first !== undefined && holders(first.folder).some((ulid) => !erased.has(ulid));
    if (first === undefined || isShared) return inputs;
    return [...inputs, ...[first, ...others].map((file) => outputKey(space, file))];
  });
}

export async function deleteKeys(bucket: R2Bucket, keys: readonly string[]): Promise<void> {
  for (let at = 0; at < keys.length; at += KEYS_PER_CALL) {
    await bucket.delete(keys.slice(at, at + KEYS_PER_CALL));
  }
}

/** Deletes every object of the bucket whose key begins with `prefix`. */
export async function removeFiles(bucket: R2Bucket, prefix: string): Promise<void> {
  for (;;) {
    const { objects } = await bucket.list({ prefix });
    if (objects.length === 0) return;
    await bucket.delete(objects.map(({ key }) => key));
  }
}
