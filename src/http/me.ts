import { Hono } from "hono";
import { Users } from "../accounts/users.ts";
import { userHolder } from "../auth/credential.ts";
import { jobReaderOf } from "../auth/principal.ts";
import { eraseMeBody, passwordBody, patchMeBody, type UserResource } from "../protocol/accounts.ts";
import { LIMITS } from "../protocol/limits.ts";
import { orProblem, setCookies } from "./accounts.ts";
import { noteOf } from "./audit.ts";
import { readJson } from "./body.ts";
import type { AppContext, AppEnv } from "./context.ts";
import { eraseUser, exportUser, listJobsOf } from "./erasure.ts";
import { headerPrincipalOf } from "./principal.ts";
import { ProblemError, validate } from "./problems.ts";
import {
  accountHeaders,
  accountOf,
  accountsOf,
  isFromOwnPage,
  newCookieOf,
  noStore,
  requireAccount,
} from "./session.ts";
import { limitPasswords } from "./sign-in-limits.ts";
import { takeBack } from "./take-back.ts";

/** `/api/me`: the account that is signed in, and its sessions. */
export const me = new Hono<AppEnv>()
  .use(noStore)
  .get("/", async (c) => {
    if (!isFromOwnPage(c)) return c.json({ user: null });
    const { api } = await accountsOf(c);
    const { headers, response } = await api.getSession({
      headers: accountHeaders(c),
      returnHeaders: true,
    });
    setCookies(c, headers);
    // 200 also for nobody: a page asks this to find out, and a 401 would stand in its console as an error.
    const account = accountOf(response);
    if (response === null || account === null) return c.json({ user: null });
    const cookie =
      headers.getSetCookie().length > 0 ? null : await newCookieOf(c, account.expiresAt);
    if (cookie !== null) c.header("set-cookie", cookie, { append: true });
    // What came with the session is all that is shown: every page asks for it.
    const { id, name, email, createdAt } = response.user;
    const created_at = new Date(createdAt).toISOString();
    const user: UserResource = {
      id,
      name,
      email,
      role: account.role,
      created_at,
      disabled_at: null,
    };
    return c.json({ user });
  })
  .patch("/", async (c) => {
    const { userId } = await requireAccount(c);
    const body = validate(patchMeBody, await readJson(c, LIMITS.accountBodyBytes));
    const { api } = await accountsOf(c);
    await orProblem(() => api.updateUser({ body, headers: accountHeaders(c) }));
    return c.json({ user: await new Users(c.env.DB).get(userId) });
  })
  .post("/password", async (c) => {
    const { userId, sessionId } = await requireAccount(c);
    await limitPasswords(c, sessionId);
    const sent = validate(passwordBody, await readJson(c, LIMITS.accountBodyBytes));
    const body = {
      currentPassword: sent.current_password,
      newPassword: sent.new_password,
      revokeOtherSessions: !sent.keep_sessions,
    };
    const { api } = await accountsOf(c);
    const { headers } = await takeBack(c, userHolder(userId), () =>
      orProblem(() =>
        api.changePassword({ body, headers: accountHeaders(c), returnHeaders: true }),
      ),
    );
    setCookies(c, headers);
    await noteOf(c, { kind: "account", id: userId }, "user.password", `user:${userId}`);
    return c.body(null, 204);
  })
  .get("/jobs", async (c) => listJobsOf(c, await requireUser(c)))
  .get("/export", async (c) => exportUser(c, (await requireAccount(c)).userId))
  .delete("/", async (c) => {
    const { userId, sessionId } = await requireAccount(c);
    await limitPasswords(c, sessionId);
    const body = validate(eraseMeBody, await readJson(c, LIMITS.accountBodyBytes));
    const { api } = await accountsOf(c);
    await orProblem(() => api.verifyPassword({ body, headers: accountHeaders(c) }));
    await eraseUser(c, userId);
    return c.body(null, 204);
  })
  .get("/sessions", async (c) => {
    const { userId, sessionId } = await requireAccount(c);
    return c.json({ sessions: await new Users(c.env.DB).sessions(userId, sessionId) });
  })
  .delete("/sessions", async (c) => {
    const { userId, sessionId } = await requireAccount(c);
    await takeBack(c, userHolder(userId), () =>
      new Users(c.env.DB).endOtherSessions(userId, sessionId),
    );
    return c.body(null, 204);
  })
  .delete("/sessions/:id", async (c) => {
    const { userId } = await requireAccount(c);
    const end = () => new Users(c.env.DB).endSession(userId, c.req.param("id"));
    if (await takeBack(c, userHolder(userId), end)) return c.body(null, 204);
    throw new ProblemError("session_not_found", "You have no session with that id.");
  });

/**
 * Returns whose jobs the sender may list as their own.
 *
 * @throws {ProblemError} if it is nobody that is known, or a key that may not read jobs
 */
async function requireUser(c: AppContext): Promise<string> {
  const principal = await headerPrincipalOf(c);
  const userId = "userId" in principal ? principal.userId : null;
  if (userId === null) {
    const detail = "Sign in, or send a user's token or a key of an account.";
    throw new ProblemError("not_authenticated", detail);
  }
  if (jobReaderOf(principal) !== null) return userId;
  const sent = principal.kind === "key" ? "key" : "token";
  const detail = `This ${sent} may not list jobs of all spaces: it needs the scope jobs:read for all.`;
  throw new ProblemError("not_allowed", detail);
}
