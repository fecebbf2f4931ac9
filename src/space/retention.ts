/** R2 deletes so many objects in one call. */
const KEYS_A_CALL = 1_000;

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
