import { type JWTPayload, SignJWT } from "jose";

/** A user's token as whoever runs the accounts would issue it. */
export function tokenOf(
  secret: string,
  userId: string | undefined,
  claims: JWTPayload = {},
  expiresInS = 3_600,
): Promise<string> {
  const payload = { exp: Math.floor(Date.now() / 1_000) + expiresInS, ...claims };
  const token = new SignJWT(payload).setProtectedHeader({ alg: "HS256" });
  if (userId !== undefined) token.setSubject(userId);
  return token.sign(new TextEncoder().encode(secret));
}
