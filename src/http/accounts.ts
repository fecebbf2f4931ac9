import { APIError } from "better-auth/api";
import { Hono } from "hono";
import { admissions } from "../accounts/admission.ts";
import { Invitations } from "../accounts/invitations.ts";
import { isSetupKey, Setup } from "../accounts/setup.ts";
import { Users } from "../accounts/users.ts";
import { userHolder } from "../auth/credential.ts";
import { SpaceCatalog } from "../catalog/space-catalog.ts";
import type { Env } from "../env.ts";
import { type Role, setupBody, signInBody, signUpBody } from "../protocol/accounts.ts";
import { LIMITS } from "../protocol/limits.ts";
import { noteOf } from "./audit.ts";
import { readJson } from "./body.ts";
import { type AppContext, type AppEnv, stubOf } from "./context.ts";
import { ProblemError, validate } from "./problems.ts";
import { accountHeaders, accountsOf, noStore, requireOwnPage, sessionOf } from "./session.ts";
import { limitSignIn, limitSignIns, rememberBrowser } from "./sign-in-limits.ts";
import { takeBack } from "./take-back.ts";

/** `/api/auth`: set-up, registration, and sessions. */
export const accounts = new Hono<AppEnv>()
  .use(noStore)
  .get("/", async (c) => {
    const needsSetup = !(await new Users(c.env.DB).haveAdmin());
    return c.json({
      registration: registrationOf(c),
      needs_setup: needsSetup,
      space_creation: c.env.SPACE_CREATION ?? "admins",
      oauth: providerNameOf(c.env),
    });
  })
  .post("/setup", async (c) => {
    await limitSignIns(c);
    const { key, ...person } = validate(setupBody, await readJson(c, LIMITS.accountBodyBytes));
    if (!isSetupKey(key, c.env)) {
      const detail =
        "This is not the key for the set-up: it is the operator's key, or the code in the link that `npm start` prints.";
      throw new ProblemError("not_allowed", detail);
    }
    const setup = new Setup(c.env.DB);
    if (!(await setup.claim())) {
      const detail = "This edge has an admin already: sign in, or ask them for an invitation.";
      throw new ProblemError("already_set_up", detail);
    }
    try {
      const answer = await signUp(c, "setup", person, "admin");
      await adoptSpaces(c);
      return answer;
    } finally {
      // With an admin there, nobody can claim it again; without one, others may.
      await setup.release();
    }
  })
  .post("/sign-up", async (c) => {
    await limitSignIns(c);
    const body = validate(signUpBody, await readJson(c, LIMITS.accountBodyBytes));
    const { invitation, ...person } = body;
    if (registrationOf(c) === "open" && invitation === undefined) {
      return signUp(c, "user.register", person, "member");
    }
    return signUpInvited(c, person, invitation);
  })
  .post("/sign-in", async (c) => {
    const body = validate(signInBody, await readJson(c, LIMITS.accountBodyBytes));
    await limitSignIn(c, body.email);
    const { api } = await accountsOf(c);
    return answerSession(c, "user.sign_in", () =>
      api.signInEmail({ body, headers: accountHeaders(c), returnHeaders: true }),
    );
  })
  .post("/sign-out", async (c) => {
    requireOwnPage(c);
    const { api } = await accountsOf(c);
    const signOut = () => api.signOut({ headers: accountHeaders(c), returnHeaders: true });
    const session = await sessionOf(c);
    const { headers } =
      session.kind === "account"
        ? await takeBack(c, userHolder(session.userId), signOut)
        : await signOut();
    setCookies(c, headers);
    return c.body(null, 204);
  });

/** How many spaces are told at once whose they are now. */
const TOLD_AT_ONCE = 20;

/** The spaces that were made before there were accounts belong to the first admin. */
async function adoptSpaces(c: AppContext): Promise<void> {
  try {
    const owner = await new Users(c.env.DB).firstAdmin();
    if (owner === null) return;
    const names = await new SpaceCatalog(c.env.DB).adoptAll(owner);
    for (let at = 0; at < names.length; at += TOLD_AT_ONCE) {
      const some = names.slice(at, at + TOLD_AT_ONCE);
      await Promise.all(some.map((name) => stubOf(c, name).adopt(owner)));
    }
  } catch (error) {
    // The admin may do everything with them all the same.
    console.error("the spaces could not all be given to the first admin", error);
  }
}

interface Person {
  name: string;
  email: string;
  password: string;
}

async function signUpInvited(
  c: AppContext,
  person: Person,
  code: string | undefined,
): Promise<Response> {
  if (registrationOf(c) === "closed") {
    throw new ProblemError("not_allowed", "Nobody can register here: registration is closed.");
  }
  if (code === undefined) {
    throw new ProblemError("not_allowed", "Registering here takes an invitation: ask an admin.");
  }
  const invitations = new Invitations(c.env.DB);
  const taken = await invitations.take(code, person.email);
  if (taken === null) {
    const detail =
      "This invitation is not good: it is wrong, used, expired, or for another email address.";
    throw new ProblemError("not_allowed", detail);
  }
  try {
    return await signUp(c, "user.register", person, taken.role);
  } catch (error) {
    await invitations.giveBack(taken.id);
    throw error;
  }
}

/** Makes an account and signs it in. */
async function signUp(
  c: AppContext,
  action: "setup" | "user.register",
  body: Person,
  role: Role,
): Promise<Response> {
  const { api } = await accountsOf(c);
  return answerSession(c, action, () =>
    admissions.run({ roleFor: () => role }, () =>
      api.signUpEmail({ body, headers: accountHeaders(c), returnHeaders: true }),
    ),
  );
}

/** Answers with the account that is signed in from now on, and with the cookie of its session. */
async function answerSession(
  c: AppContext,
  action: "setup" | "user.register" | "user.sign_in",
  signIn: () => Promise<{ headers: Headers; response: { user: { id: string } } }>,
): Promise<Response> {
  requireOwnPageIfSaid(c);
  const { headers, response } = await orProblem(signIn);
  setCookies(c, headers);
  const user = await new Users(c.env.DB).get(response.user.id);
  if (user === null) throw new Error("an account is gone that was just used");
  await rememberBrowser(c, user.email);
  await noteOf(c, { kind: "account", id: user.id }, action, `user:${user.id}`);
  return c.json({ user }, action === "user.sign_in" ? 200 : 201);
}

/** A page of another origin must not sign its visitor in to an account of its choice. Programs say no origin. */
function requireOwnPageIfSaid(c: AppContext): void {
  if (c.req.header("origin") !== undefined) requireOwnPage(c);
}

export function setCookies(c: AppContext, headers: Headers): void {
  for (const cookie of headers.getSetCookie()) c.header("set-cookie", cookie, { append: true });
}

const CODES = {
  400: "invalid_request",
  401: "not_authenticated",
  403: "not_allowed",
  422: "invalid_request",
} as const;

/** Calls Better Auth; what it refuses becomes a problem with its own words. */
export async function orProblem<T>(call: () => Promise<T>): Promise<T> {
  try {
    return await call();
  } catch (error) {
    if (!(error instanceof APIError)) throw error;
    const code = Object.entries(CODES).find(([status]) => error.statusCode === Number(status))?.[1];
    if (code === undefined) throw error;
    throw new ProblemError(code, `${error.body?.message ?? error.message}.`.replace(/\.\.$/, "."));
  }
}

/** What the button for the provider says; `null` if there is none. */
export function providerNameOf({ OAUTH_ISSUER, OAUTH_CLIENT_ID, OAUTH_NAME }: Env): string | null {
  if (!OAUTH_ISSUER || !OAUTH_CLIENT_ID) return null;
  return OAUTH_NAME ?? new URL(OAUTH_ISSUER).host;
}

export function registrationOf(c: AppContext) {
  return c.env.REGISTRATION ?? "invitation";
}
