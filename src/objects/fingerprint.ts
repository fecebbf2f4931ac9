import { createHash } from "node:crypto";
import type { Json, JsonObject } from "../protocol/codec.ts";
import { isExactNumber } from "../protocol/exact-json.ts";
import type { StoredFile } from "../queue/job.ts";

/**
 * A hash of what a job is given: equal for equal input, files and `more`, whatever the order of their fields.
 * Idempotency keys and the cache compare it (decisions 0016 and 0018).
 */
export function fingerprintOf(input: JsonObject, files: readonly StoredFile[], more: Json): string {
  const contents = files.map(({ field, name, sha256 }) => [field, name, sha256]);
  return createHash("sha256")
    .update(ordered([input, contents, more]))
    .digest("base64url");
}

function ordered(value: Json): string {
  if (typeof value !== "object" || value === null || isExactNumber(value)) {
    return JSON.stringify(value);
  }
  if (Array.isArray(value)) return `[${value.map(ordered).join()}]`;
  const names = Object.keys(value).sort();
  return `{${names.map((name) => `${JSON.stringify(name)}:${ordered(value[name] ?? null)}`).join()}}`;
}
