import { createHmac, randomBytes, timingSafeEqual } from "node:crypto";
import type { Principal } from "../auth/principal.ts";
import type { AppContext } from "./context.ts";

/** Somebody who is signed in. */
export type Session = Extract<Principal, { kind: "account" }>;

/** Makes a token that only pages can read which may read this session's answers. It is good as long as the session. */
export function newCsrfToken(c: AppContext, session: Session): string {
  const salt = randomBytes(12).toString("base64url");
  return `${salt}.${sign(c, session, salt)}`;
}

export function isCsrfTokenOf(c: AppContext, session: Session, token: string): boolean {
  const [salt = "", signature = ""] = token.split(".");
  const expected = Buffer.from(sign(c, session, salt));
  const given = Buffer.from(signature);
  return expected.length === given.length && timingSafeEqual(expected, given);
}

/** The salt makes each token another text, so that it can't be guessed from the length of compressed answers. */
function sign(c: AppContext, { sessionId }: Session, salt: string): string {
  return createHmac("sha256", c.env.SIGNING_KEY)
    .update(`csrf\n${sessionId}\n${salt}`)
    .digest("base64url");
}
