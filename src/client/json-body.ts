import { whyUnsendable } from "../protocol/unsendable.ts";
import { DialoutError } from "./errors.ts";

/**
 * Writes what the caller gave as JSON. Objects of `JSON.rawJSON` and numbers of lossless-json are written with
 * every digit.
 *
 * @throws {DialoutError} `invalid_request` if it can't be JSON
 */
export function encodeJson(value: unknown): string {
  try {
    return JSON.stringify(value, writable);
  } catch (cause) {
    if (cause instanceof DialoutError) throw cause;
    const why = cause instanceof Error ? cause.message : String(cause);
    throw new DialoutError("invalid_request", `This can't be sent as JSON: ${why}`, { cause });
  }
}

/** The value as `JSON.stringify` can write it without losing anything. */
function writable(name: string, value: unknown): unknown {
  const hasRaw = "rawJSON" in JSON;
  if (hasRaw && isLossless(value)) return JSON.rawJSON(String(value));
  const why = isLossless(value) ? LOSSLESS : whyUnsendable(value);
  if (why === null) return value;
  throw new DialoutError("invalid_request", `\`${name}\` ${why}.`);
}

const LOSSLESS =
  "is a LosslessNumber, which this engine can't write with all its digits: send it as text, or use Node.js 22 or newer";

/** Whether it is a number as lossless-json reads it, which a client's `parseJson` may have made. */
function isLossless(value: unknown): boolean {
  if (typeof value !== "object" || value === null || !("isLosslessNumber" in value)) return false;
  return Object.getPrototypeOf(value) !== Object.prototype;
}
