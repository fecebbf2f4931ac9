import { createHash, timingSafeEqual } from "node:crypto";

/** The secret of an `Authorization: Bearer` header. */
export function bearerOf(header: string | undefined): string | null {
  return /^Bearer +(\S+)$/i.exec(header ?? "")?.[1] ?? null;
}

/** Compares hashes in constant time, so that timing reveals neither the key's length nor its content. */
export function isOperatorKey(given: string | null, key: string): boolean {
  return given !== null && timingSafeEqual(digest(given), digest(key));
}

function digest(text: string): Buffer {
  return createHash("sha256").update(text).digest();
}
