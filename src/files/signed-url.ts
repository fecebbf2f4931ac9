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

/** Whether an address was made by `signedFileUrl` with one of these secrets, and is still valid at `now`. */
export function checkFileUrl(
  secrets: readonly string[],
  key: string,
  expires: string,
  signature: string,
  now: number,
): "valid" | "expired" | "forged" {
  if (!/^\d{1,12}$/.test(expires)) return "forged";
  const given = Buffer.from(signature);
  const isOurs = secrets.some((secret) => {
    const expected = Buffer.from(sign(secret, key, expires));
    return expected.length === given.length && timingSafeEqual(expected, given);
  });
  if (!isOurs) return "forged";
  return Number(expires) * 1_000 < now ? "expired" : "valid";
}

function sign(secret: string, key: string, expires: string): string {
  return createHmac("sha256", secret).update(`file\n${key}\n${expires}`).digest("base64url");
}
