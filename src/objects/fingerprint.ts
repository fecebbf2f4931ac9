import { createHash } from "node:crypto";
import type { Json, JsonObject } from "../protocol/codec.ts";
import { orderedJson } from "../protocol/exact-json.ts";
import type { StoredFile } from "../queue/job.ts";

/**
 * A hash of what a job is given: equal for equal input, files and `more`, whatever the order of their fields.
 * Idempotency keys and the cache compare it (decisions 0016 and 0018).
 */
export function fingerprintOf(input: JsonObject, files: readonly StoredFile[], more: Json): string {
  const contents = files.map(({ field, name, sha256 }) => [field, name, sha256]);
  return createHash("sha256")
    .update(orderedJson([input, contents, more]))
    .digest("base64url");
}
