import { DialoutError } from "./errors.ts";

/**
 * Writes what the caller gave as JSON. Objects of `JSON.rawJSON` are written with every digit.
 *
 * @throws {DialoutError} `invalid_request` if it can't be JSON
 */
export function encodeJson(value: unknown): string {
  try {
    return JSON.stringify(value, refuseBigint);
  } catch (cause) {
    if (cause instanceof DialoutError) throw cause;
    const why = cause instanceof Error ? cause.message : String(cause);
    throw new DialoutError("invalid_request", `This can't be sent as JSON: ${why}`, { cause });
  }
}

function refuseBigint(name: string, value: unknown): unknown {
  if (typeof value !== "bigint") return value;
  const message =
    `\`${name}\` is a bigint, which JSON.stringify can't write: use JSON.rawJSON(String(value)) to send a ` +
    "number with all its digits (Node.js 22 or newer, and current browsers), or send it as text.";
  throw new DialoutError("invalid_request", message);
}
