import { Hono } from "hono";
import { ApiKeys } from "../accounts/api-keys.ts";
import { holderOfKey } from "../auth/credential.ts";
import { type CreateKeyBody, createKeyBody, pageQuery } from "../protocol/accounts.ts";
import { LIMITS } from "../protocol/limits.ts";
import { note } from "./audit.ts";
import { readJson } from "./body.ts";
import type { AppContext, AppEnv } from "./context.ts";
import { pageOf } from "./paging.ts";
import { principalOf } from "./principal.ts";
import { ProblemError, validate } from "./problems.ts";
import { takeBack } from "./take-back.ts";

/** `/api/keys`: the keys of whoever asks, which they give to their programs. */
export const keys = new Hono<AppEnv>()
  .get("/", async (c) => {
    const { owner } = await requireOwner(c);
    const { cursor, limit } = validate(pageQuery, c.req.query());
    const found = await new ApiKeys(c.env.DB).list(owner, { before: cursor, limit: limit + 1 });
    const { entries, next } = pageOf(found, limit);
    return c.json({ keys: entries, next_cursor: next });
  })
  .post("/", async (c) => {
    const { owner, isAdmin } = await requireOwner(c);
    const body = validate(createKeyBody, await readJson(c, LIMITS.accountBodyBytes));
    if (!isAdmin) refuseAdminScopes(body);
    const keys = new ApiKeys(c.env.DB);
    if (owner !== null && (await keys.count(owner)) >= LIMITS.keysPerUser) {
      const detail = `You have ${LIMITS.keysPerUser} keys, which is the most: revoke some first.`;
      throw new ProblemError("not_allowed", detail);
    }
    const made = await keys.make(body, owner);
    const { name, scopes, space } = made;
    await note(c, "key.create", `key:${made.id}`, { name, scopes, space });
    return c.json(made, 201);
  })
  .delete("/:id", async (c) => {
    const { owner } = await requireOwner(c);
    const id = c.req.param("id");
    const revoke = () => new ApiKeys(c.env.DB).revoke(owner, id);
    if (await takeBack(c, holderOfKey(owner, id), revoke)) {
      await note(c, "key.revoke", `key:${id}`);
      return c.body(null, 204);
    }
    throw new ProblemError("key_not_found", "You have no key with that id.");
  });

/**
 * Whose keys a request is about. A key can't make keys: who has stolen one could stay when it is revoked.
 *
 * @throws {ProblemError} if it is neither somebody who is signed in nor the operator
 */
async function requireOwner(c: AppContext): Promise<{ owner: string | null; isAdmin: boolean }> {
  const principal = await principalOf(c);
  if (principal.kind === "operator") return { owner: null, isAdmin: true };
  if (principal.kind === "account") {
    return { owner: principal.userId, isAdmin: principal.role === "admin" };
  }
  if (principal.kind === "anonymous") {
    throw new ProblemError("not_authenticated", "Sign in first: `POST /api/auth/sign-in`.");
  }
  throw new ProblemError("not_allowed", "Keys are made by people who are signed in.");
}

/** @throws {ProblemError} if a member asks for what only an admin's key could use */
function refuseAdminScopes({ scopes }: CreateKeyBody): void {
  const refused = scopes.find((scope) => /^(metrics:|rooms:publish:)/.test(scope));
  if (refused === undefined) return;
  throw new ProblemError("not_allowed", `Only an admin's key can have the scope ${refused}.`);
}
