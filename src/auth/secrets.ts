import { createHash, randomBytes } from "node:crypto";

/** Makes a secret. Its prefix says what it is, so that scanners of leaked secrets can know one. */
export function newSecret(prefix: string, bytes: number): string {
  return prefix + randomBytes(bytes).toString("base64url");
}

/**
 * A secret as a table stores it. Those of `newSecret` have 192 random bits or more and can't be guessed, so a plain
 * hash without salt is enough.
 */
export function secretHash(secret: string): string {
  return createHash("sha256").update(secret).digest("hex");
}
