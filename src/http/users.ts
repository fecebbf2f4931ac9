import { Hono } from "hono";
import { Invitations } from "../accounts/invitations.ts";
import { Users } from "../accounts/users.ts";
import { userHolder } from "../auth/credential.ts";
import { inviteBody, pageQuery, patchUserBody, userId } from "../protocol/accounts.ts";
import { LIMITS } from "../protocol/limits.ts";
import { requireAdmin } from "./access.ts";
import { note } from "./audit.ts";
import { readJson } from "./body.ts";
import type { AppContext, AppEnv } from "./context.ts";
import { eraseUser, exportUser, listJobsOf } from "./erasure.ts";
import { pageOf } from "./paging.ts";
import { principalOf } from "./principal.ts";
import { ProblemError, validate } from "./problems.ts";
import { takeBack } from "./take-back.ts";

/** `/api/users`: all accounts, for admins. */
export const users = new Hono<AppEnv>()
  .get("/", async (c) => {
    await requireAdmin(c);
    const { cursor, limit } = validate(pageQuery, c.req.query());
    const found = await new Users(c.env.DB).list({ after: cursor, limit: limit + 1 });
    const { entries, next } = pageOf(found, limit);
    return c.json({ users: entries, next_cursor: next });
  })
  .patch("/:id", async (c) => {
    await requireAdmin(c);
    const patch = validate(patchUserBody, await readJson(c, LIMITS.accountBodyBytes));
    const id = c.req.param("id");
    const user = await takeBack(c, userHolder(id), () => new Users(c.env.DB).change(id, patch));
    if (user === null) throw new ProblemError("user_not_found", "There is no user with that id.");
    if (user === "last_admin") {
      const detail = "This is the last admin: make another one first.";
      throw new ProblemError("last_admin", detail);
    }
    await note(c, "user.change", `user:${user.id}`, patch);
    return c.json({ user });
  })
  .get("/:id/jobs", async (c) => {
    await requireAdmin(c);
    return listJobsOf(c, userParam(c));
  })
  .get("/:id/export", async (c) => {
    await requireAdmin(c);
    return exportUser(c, userParam(c));
  })
  .delete("/:id", async (c) => {
    await requireAdmin(c);
    await eraseUser(c, userParam(c));
    return c.body(null, 204);
  });

/** The user's id in the path: of an account, or one that only tokens name. */
function userParam(c: AppContext): string {
  return validate(userId, c.req.param("id"), "The user's id");
}

/** `/api/invitations`: who may make an account, for admins. */
export const invitations = new Hono<AppEnv>()
  .get("/", async (c) => {
    await requireAdmin(c);
    const { cursor, limit } = validate(pageQuery, c.req.query());
    const found = await new Invitations(c.env.DB).list({ before: cursor, limit: limit + 1 });
    const { entries, next } = pageOf(found, limit);
    return c.json({ invitations: entries, next_cursor: next });
  })
  .post("/", async (c) => {
    await requireAdmin(c);
    const body = validate(inviteBody, await readJson(c, LIMITS.accountBodyBytes));
    const principal = await principalOf(c);
    const by = principal.kind === "account" ? principal.userId : null;
    const made = await new Invitations(c.env.DB).make(body, by);
    await note(c, "invitation.create", `invitation:${made.id}`, { role: made.role });
    return c.json(made, 201);
  })
  .delete("/:id", async (c) => {
    await requireAdmin(c);
    const id = c.req.param("id");
    if (await new Invitations(c.env.DB).remove(id)) {
      await note(c, "invitation.delete", `invitation:${id}`);
      return c.body(null, 204);
    }
    throw new ProblemError("invitation_not_found", "There is no invitation with that id.");
  });
