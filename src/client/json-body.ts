import { whyUnsendable } from "../protocol/unsendable.ts";
import { DialoutError } from "./errors.ts";

/**
 * Writes what the caller gave as JSON. Objects of `JSON.rawJSON` are written with every digit.
 *
 * @throws {DialoutError} `invalid_request` if it can't be JSON
 */
export function encodeJson(value: unknown): string {
  try {
    return JSON.stringify(value, refuseUnsendable);
  } catch (cause) {
    if (cause instanceof DialoutError) throw cause;
    const why = cause instanceof Error ? cause.message : String(cause);
    throw new DialoutError("invalid_request", `This can't be sent as JSON: ${why}`, { cause });
  }
}

function refuseUnsendable(name: string, value: unknown): unknown {
  const why = whyUnsendable(value);
  if (why === null) return value;
  throw new DialoutError("invalid_request", `\`${name}\` ${why}.`);
}
