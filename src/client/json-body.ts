import { DialoutError } from "./errors.ts";

/**
 * Writes what the caller gave as JSON. Objects of `JSON.rawJSON` and numbers of lossless-json are written with
 * every digit.
 *
 * @throws {DialoutError} `invalid_request` if it can't be JSON
 */
export function encodeJson(value: unknown): string {
  try {
    return JSON.stringify(value, withDigits);
  } catch (cause) {
    if (cause instanceof DialoutError) throw cause;
    const why = cause instanceof Error ? cause.message : String(cause);
    throw new DialoutError("invalid_request", `This can't be sent as JSON: ${why}`, { cause });
  }
}

function withDigits(name: string, value: unknown): unknown {
  const isBigint = typeof value === "bigint";
  if (!isBigint && !isLossless(value)) return value;
  if (!isBigint && "rawJSON" in JSON) return JSON.rawJSON(String(value));
  const message =
    `\`${name}\` is a ${isBigint ? "bigint" : "LosslessNumber"}, which JSON.stringify can't write: use JSON.rawJSON(String(value)) to send a ` +
    "number with all its digits (Node.js 22 or newer, and current browsers), or send it as text.";
  throw new DialoutError("invalid_request", message);
}

/** Whether it is a number as lossless-json reads it, which a client's `parseJson` may have made. */
function isLossless(value: unknown): boolean {
  if (typeof value !== "object" || value === null || !("isLosslessNumber" in value)) return false;
  return Object.getPrototypeOf(value) !== Object.prototype;
}
