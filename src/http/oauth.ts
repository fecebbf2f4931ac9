import { Hono } from "hono";
import { deleteCookie, getCookie, setCookie } from "hono/cookie";
import { type Admission, admissions } from "../accounts/admission.ts";
import { accountsAt, PROVIDER_ID } from "../accounts/better-auth.ts";
import { Invitations } from "../accounts/invitations.ts";
import { oauthBody } from "../protocol/accounts.ts";
import { LIMITS } from "../protocol/limits.ts";
import { orProblem, providerNameOf, registrationOf, setCookies } from "./accounts.ts";
import { noteOf } from "./audit.ts";
import { readJson } from "./body.ts";
import { publicOriginOf } from "./client-request.ts";
import type { AppContext, AppEnv } from "./context.ts";
import { ProblemError, validate } from "./problems.ts";
import { accountHeaders, noStore, requireOwnPage } from "./session.ts";
import { limitSignIns } from "./sign-in-limits.ts";

/** The cookie with an invitation while its owner is at the provider. */
const INVITATION = "dialout.invitation";
const AT_PROVIDER_S = 600;

/** `/api/auth/oauth` and its callback: signing in with the provider of OpenID Connect that the operator has chosen. */
export const oauth = new Hono<AppEnv>()
  .use("/oauth", noStore)
  .use("/callback/*", noStore)
  .post("/oauth", async (c) => {
    requireOwnPage(c);
    await limitSignIns(c);
    const body = validate(oauthBody, await readJson(c, LIMITS.accountBodyBytes));
    const { api } = await providerOf(c);
    const { headers, response } = await orProblem(() =>
      api.signInSocial({
        body: {
          provider: PROVIDER_ID,
          callbackURL: body.next,
          errorCallbackURL: "/sign-in",
          disableRedirect: true,
        },
        headers: accountHeaders(c),
        returnHeaders: true,
      }),
    );
    setCookies(c, headers);
    if (body.invitation !== undefined) keepInvitation(c, body.invitation);
    return c.json({ url: response.url });
  })
  .get(`/callback/${PROVIDER_ID}`, async (c) => {
    await limitSignIns(c);
    const { api } = await providerOf(c);
    const admission = admissionOf(c);
    const answer = await admissions.run(admission, () =>
      api.callbackOAuth({
        method: "GET",
        params: { id: PROVIDER_ID },
        query: c.req.query(),
        headers: accountHeaders(c),
        asResponse: true,
      }),
    );
    await admission.close();
    setCookies(c, answer.headers);
    deleteCookie(c, INVITATION, { path: "/api/auth" });
    const { signedInId, madeId } = admission;
    const isSignedIn = answer.headers
      .getSetCookie()
      .some((cookie) => /session_token=[^;]/.test(cookie));
    if (isSignedIn && signedInId !== undefined) {
      const action = madeId === signedInId ? "user.register" : "user.sign_in";
      await noteOf(c, { kind: "account", id: signedInId }, action, `user:${signedInId}`);
    }
    return c.redirect(answer.headers.get("location") ?? "/sign-in?error=unknown");
  });

/** @throws {ProblemError} if the operator has chosen none */
async function providerOf(c: AppContext) {
  if (providerNameOf(c.env) !== null) return accountsAt(c.env, publicOriginOf(c), true);
  throw new ProblemError("not_found", "There is no other service to sign in with: use a password.");
}

/** Registration by a provider is open, by invitation or closed as any other. */
function admissionOf(c: AppContext): Admission & { close: () => Promise<void> } {
  const invitations = new Invitations(c.env.DB);
  const code = getCookie(c, INVITATION);
  let takenId: string | null = null;
  const admission: Admission & { close: () => Promise<void> } = {
    roleFor: async (email) => {
      const registration = registrationOf(c);
      if (registration === "closed") return null;
      if (code === undefined) return registration === "open" ? "member" : null;
      const taken = await invitations.take(code, email);
      takenId = taken?.id ?? null;
      return taken?.role ?? null;
    },
    /** Gives an invitation back with which no account was made. */
    close: async () => {
      if (takenId !== null && admission.madeId === undefined) await invitations.giveBack(takenId);
    },
  };
  return admission;
}

function keepInvitation(c: AppContext, code: string): void {
  setCookie(c, INVITATION, code, {
    path: "/api/auth",
    httpOnly: true,
    sameSite: "Lax",
    secure: publicOriginOf(c).startsWith("https://"),
    maxAge: AT_PROVIDER_S,
  });
}
