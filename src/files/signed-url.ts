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

/** How long the address of an output file holds at least, and at most twice as long, milliseconds. */
const OUTPUT_URL_MS = 3_600_000;

/**
 * The path under which anyone who has it may read an output file. It changes once an hour only, so that a page which is
 * sent it again and again loads the file once.
 */
export function signedOutputUrl(secret: string, key: string, now: number): string {
  const hour = Math.ceil(now / OUTPUT_URL_MS);
  return signedFileUrl(secret, "", key, (hour + 1) * OUTPUT_URL_MS);
}

/** The part of an upload's address that shows that the edge gave it to this worker of the space. */
export function uploadGrant(secret: string, space: string, workerId: string): string {
  const signature = signGrant(secret, space, workerId);
  return `worker=${encodeURIComponent(workerId)}&signature=${signature}`;
}

/** Whether `uploadGrant` made this signature with one of these secrets. */
export function isUploadGrant(
  secrets: readonly string[],
  space: string,
  workerId: string,
  signature: string,
): boolean {
  return secrets.some((secret) => isEqual(signature, signGrant(secret, space, workerId)));
}

function signGrant(secret: string, space: string, workerId: string): string {
  return createHmac("sha256", secret).update(`upload\n${space}\n${workerId}`).digest("base64url");
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
  const isOurs = secrets.some((secret) => isEqual(signature, sign(secret, key, expires)));
  if (!isOurs) return "forged";
  return Number(expires) * 1_000 < now ? "expired" : "valid";
}

function isEqual(signature: string, expected: string): boolean {
  const [given, made] = [Buffer.from(signature), Buffer.from(expected)];
  return given.length === made.length && timingSafeEqual(given, made);
}

function sign(secret: string, key: string, expires: string): string {
  return createHmac("sha256", secret).update(`file\n${key}\n${expires}`).digest("base64url");
}
