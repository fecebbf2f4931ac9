import { createHmac } from "node:crypto";

/**
 * The code in the link to the set-up page. It is made of the operator's key, which therefore need not be shown, and
 * is good for nothing but the first admin.
 */
export function setupCode(operatorKey: string): string {
  return createHmac("sha256", operatorKey).update("setup").digest("base64url").slice(0, 32);
}
