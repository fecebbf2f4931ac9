import { createHash, timingSafeEqual } from "node:crypto";

/** The secret of an `Authorization: Bearer` header. */
export function bearerOf(header: string | undefined): string | null {
  return /^Bearer +(\S+)$/i.exec(header ?? "")?.[1] ?? null;
}

/** The operator's key, and the one from before a change if that is taken beside it. */
export interface OperatorKeys {
  OPERATOR_KEY: string;
  OPERATOR_KEY_FORMER?: string | undefined;
}

export function operatorKeys({ OPERATOR_KEY, OPERATOR_KEY_FORMER }: OperatorKeys): string[] {
  return OPERATOR_KEY_FORMER === undefined ? [OPERATOR_KEY] : [OPERATOR_KEY, OPERATOR_KEY_FORMER];
}

export function isOperatorKey(given: string | null, keys: OperatorKeys): boolean {
  return given !== null && isOneOf(given, operatorKeys(keys));
}

/** Compares hashes in constant time, so that timing reveals neither the length nor the content of any of them. */
export function isOneOf(given: string, expected: readonly string[]): boolean {
  const equal = expected.filter((text) => timingSafeEqual(digest(given), digest(text)));
  return equal.length > 0;
}

function digest(text: string): Buffer {
  return createHash("sha256").update(text).digest();
}
