import { wholeFileIn } from "../../files/file-keys.ts";
import type { Upload } from "../../storage/upload-store.ts";

/**
 * Removes whatever the bucket has of an upload: its parts, its tail, the file itself.
 *
 * @throws if it can't be removed now
 */
export async function removeUploadFiles(bucket: R2Bucket, upload: Upload): Promise<void> {
  await abortParts(bucket, upload);
  const { objects } = await bucket.list({ prefix: `${upload.folder}/` });
  if (objects.length > 0) await bucket.delete(objects.map(({ key }) => key));
}

/** An upload in parts that is complete, or gone, can't be aborted. The bucket itself forgets one after a week. */
export async function abortParts(
  bucket: R2Bucket,
  { folder, multipart, sha256 }: Upload,
): Promise<void> {
  if (multipart === null || sha256 !== null) return;
  try {
    await bucket.resumeMultipartUpload(wholeFileIn(folder), multipart).abort();
  } catch (error) {
    console.warn("an upload in parts could not be aborted", error);
  }
}
