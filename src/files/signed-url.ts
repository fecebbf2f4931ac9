import { createHmac, timingSafeEqual } from "node:crypto";

/**
 * An address under `/api/files/` that lets anyone who has it read one file.
 *
 * @param expiresAt until when, milliseconds since 1970
 * @param sha256 hexadecimal digits; only of a file whose checksum the bucket doesn't know
 */
export function signedFileUrl(
  secret: string,
  origin: string,
  key: string,
  expiresAt: number,
  sha256?: string,
): string {
  const expires = String(Math.ceil(expiresAt / 1_000));
  const path = key.split("/").map(encodeURIComponent).join("/");
  const signature = sign(secret, key, expires, sha256);
  const digest = sha256 === undefined ? "" : `&sha256=${sha256}`;
  return `${origin}/api/files/${path}?expires=${expires}${digest}&signature=${signature}`;
}

/** Whether an address was made by `signedFileUrl` with one of these secrets, and is still valid at `now`. */
export function checkFileUrl(
  secrets: readonly string[],
  key: string,
  expires: string,
  signature: string,
  now: number,
  sha256?: string,
): "valid" | "expired" | "forged" {
  if (!/^\d{1,12}$/.test(expires)) return "forged";
  const given = Buffer.from(signature);
  const isOurs = secrets.some((secret) => {
    const expected = Buffer.from(sign(secret, key, expires, sha256));
    return expected.length === given.length && timingSafeEqual(expected, given);
  });
  if (!isOurs) return "forged";
  return Number(expires) * 1_000 < now ? "expired" : "valid";
}

function sign(secret: string, key: string, expires: string, sha256?: string): string {
  const signed = ["file", key, expires, ...(sha256 === undefined ? [] : [sha256])];
  return createHmac("sha256", secret).update(signed.join("\n")).digest("base64url");
}
