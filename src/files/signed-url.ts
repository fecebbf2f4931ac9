import { createHmac, timingSafeEqual } from "node:crypto";

/**
 * An address under `/api/files/` that lets anyone who has it read one file.
 *
 * @param expiresAt until when, milliseconds since 1970
 */
export function signedFileUrl(
  secret: string,
  origin: string,
  key: string,
  expiresAt: number,
): string {
  const expires = String(Math.ceil(expiresAt / 1_000));
  const path = key.split("/").map(encodeURIComponent).join("/");
  const signature = sign(secret, key, expires);
  return `${origin}/api/files/${path}?expires=${expires}&signature=${signature}`;
}

export function isSignatureValid(
  secret: string,
  key: string,
  expires: string,
  signature: string,
  now: number,
): boolean {
  if (!/^\d{1,12}$/.test(expires) || Number(expires) * 1_000 < now) return false;
  const expected = Buffer.from(sign(secret, key, expires));
  const given = Buffer.from(signature);
  return expected.length === given.length && timingSafeEqual(expected, given);
}

function sign(secret: string, key: string, expires: string): string {
  return createHmac("sha256", secret).update(`file\n${key}\n${expires}`).digest("base64url");
}
