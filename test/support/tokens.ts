import { type JWTPayload, SignJWT } from "jose";

/** Makes a user's token as the operator's account system would. */
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
