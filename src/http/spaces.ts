import { Hono } from "hono";
import { z } from "zod";
import { Users } from "../accounts/users.ts";
import type { Caller } from "../auth/caller.ts";
import { forgetSpace } from "../catalog/known-spaces.ts";
import { SpaceCatalog } from "../catalog/space-catalog.ts";
import { WorkerTokens } from "../catalog/worker-tokens.ts";
import { LIMITS } from "../protocol/limits.ts";
import {
  createSpaceBody,
  createTokenBody,
  DEFAULT_SETTINGS,
  patchSpaceBody,
  spaceSettings,
} from "../protocol/resources.ts";
import type { Purpose } from "../space/access.ts";
import { callerOf, checkMaker, managerOf, requireSpaceMaker } from "./access.ts";
import { note } from "./audit.ts";
import { readJson } from "./body.ts";
import {
  type AppContext,
  type AppEnv,
  answerJson,
  callSpaceForText,
  missingSpace,
  parseEntry,
  spaceParam,
  stubOf,
} from "./context.ts";
import { ProblemError, validate } from "./problems.ts";

const listQuery = z.strictObject({
  cursor: z.string().max(63).default(""),
  limit: z.coerce.number().int().min(1).max(100).default(50),
});

/** `/api/spaces`: the catalogue, and the worker tokens of each space. */
export const spaces = new Hono<AppEnv>()
  .get("/", async (c) => {
    const caller = await callerOf(c);
    const { cursor, limit } = validate(listQuery, c.req.query());
    const catalog = new SpaceCatalog(c.env.DB);
    const { isAdmin: all, userId, spaces } = caller;
    const page = await catalog.list({ all, userId, spaces, after: cursor, limit: limit + 1 });
    const entries = page.slice(0, limit);
    // The catalogue's rows are copies; the object decides whether the caller may see its space (decision 0004).
    const descriptions = await Promise.allSettled(
      entries.map(({ name }) =>
        callSpaceForText(c, name, (stub) => stub.describe(caller, "see", true)),
      ),
    );
    const bodies = descriptions.flatMap((description) =>
      description.status === "fulfilled" ? [description.value] : [],
    );
    const next = page.length > limit ? (entries.at(-1)?.name ?? null) : null;
    return answerJson(c, `{"spaces":[${bodies.join()}],"next_cursor":${JSON.stringify(next)}}`);
  })
  .post("/", async (c) => {
    const maker = await requireSpaceMaker(c);
    const body = validate(createSpaceBody, await readJson(c, LIMITS.jsonBodyBytes));
    const { name, ...chosen } = body;
    checkMaker(maker, name);
    const { userId: owner } = maker;
    const settings = spaceSettings.parse({ ...DEFAULT_SETTINGS, ...chosen });
    const most = maker.isAdmin ? null : mostSpacesOf(c);
    const added = await new SpaceCatalog(c.env.DB).add({ name, settings, owner }, most);
    if (added === "exists") {
      throw new ProblemError(
        "space_exists",
        `A space named ${name} already exists: choose another name.`,
      );
    }
    if (added === "too_many") throw tooManySpaces(`You own ${most} spaces`);
    await stubOf(c, name).create(name, settings, true, owner);
    await note(c, "space.create", `space:${name}`);
    c.header("location", `/api/spaces/${name}`);
    return answerJson(c, await callSpaceForText(c, name, (stub) => stub.describe(maker)), 201);
  })
  .get("/:space", async (c) => {
    const caller = await callerOf(c);
    return answerJson(c, await callSpaceForText(c, spaceParam(c), (stub) => stub.describe(caller)));
  })
  .patch("/:space", async (c) => {
    const { caller, name } = await requireRight(c, "manage");
    const patch = validate(patchSpaceBody, await readJson(c, LIMITS.jsonBodyBytes));
    if (patch.owner !== undefined) await checkNewOwner(c, caller, name, patch.owner);
    const text = await callSpaceForText(c, name, (stub) => stub.change(caller, patch));
    await new SpaceCatalog(c.env.DB).update(parseEntry(name, text));
    const { owner, ...settings } = patch;
    const changed = Object.keys(settings);
    if (changed.length > 0) await note(c, "space.change", `space:${name}`, { settings: changed });
    if (owner !== undefined) await note(c, "space.owner", `space:${name}`, { owner });
    return answerJson(c, text);
  })
  .delete("/:space", async (c) => {
    const name = await requireOwner(c);
    // The catalogue first: as long as it lists the space, any request creates the object again. If this is
    // interrupted after the first step, a second DELETE finishes it.
    const catalog = new SpaceCatalog(c.env.DB);
    if (!(await catalog.beginDelete(name))) throw missingSpace(name);
    forgetSpace(name);
    await stubOf(c, name).destroy(name);
    await catalog.endDelete(name);
    await note(c, "space.delete", `space:${name}`);
    return c.body(null, 204);
  })
  .post("/:space/tokens", async (c) => {
    const { name: space } = await requireRight(c, "manage");
    const { name } = validate(createTokenBody, await readJson(c, LIMITS.jsonBodyBytes));
    const minted = await new WorkerTokens(c.env.DB).mint(space, name);
    await note(c, "worker_token.create", `space:${space}`, { token: minted.id, name });
    return c.json(minted, 201);
  })
  .post("/:space/drain", async (c) => {
    const { caller, name } = await requireRight(c, "manage");
    const reason = "The operator is draining the space.";
    await note(c, "space.drain", `space:${name}`);
    return answerJson(c, await callSpaceForText(c, name, (stub) => stub.drain(caller, reason)));
  })
  .get("/:space/webhook-secret", async (c) => {
    const { caller, name } = await requireRight(c, "manage");
    const secret = await callSpaceForText(c, name, (stub) => stub.webhookSecret(caller, false));
    return answerJson(c, secret);
  })
  .post("/:space/webhook-secret", async (c) => {
    const { caller, name } = await requireRight(c, "manage");
    const secret = await callSpaceForText(c, name, (stub) => stub.webhookSecret(caller, true));
    await note(c, "webhook_secret.create", `space:${name}`);
    return answerJson(c, secret, 201);
  })
  .get("/:space/tokens", async (c) => {
    const { name: space } = await requireRight(c, "manage");
    return c.json({ tokens: await new WorkerTokens(c.env.DB).list(space) });
  })
  .delete("/:space/tokens/:id", async (c) => {
    const { name: space } = await requireRight(c, "manage");
    const id = c.req.param("id");
    const tokens = new WorkerTokens(c.env.DB);
    const isKnown = await tokens.has(space, id);
    // First the connection: if this is interrupted after it, the token is still listed, and can be revoked again.
    if (isKnown) await stubOf(c, space).dropToken(id);
    if (!isKnown || !(await tokens.revoke(space, id))) {
      throw new ProblemError(
        "token_not_found",
        "This space has no token with that id; `GET /api/spaces/<space>/tokens` lists those it has.",
      );
    }
    await note(c, "worker_token.revoke", `space:${space}`, { token: id });
    return c.body(null, 204);
  });

/**
 * Who asks, and the space in the address.
 *
 * @throws {ProblemError} if the space's object does not let the caller do that
 */
export async function requireRight(
  c: AppContext,
  purpose: Purpose,
): Promise<{ caller: Caller; name: string }> {
  const caller = await managerOf(c);
  const name = spaceParam(c);
  await callSpaceForText(c, name, (stub) => stub.authorize(caller, purpose));
  return { caller, name };
}

/** A deletion that was cut off has erased the object: then the catalogue alone knows the space, and admins end it. */
async function requireOwner(c: AppContext): Promise<string> {
  const caller = await managerOf(c);
  const name = spaceParam(c);
  if (caller.isAdmin && caller.mayManage && caller.onlySpace === null) return name;
  await callSpaceForText(c, name, (stub) => stub.authorize(caller, "own"));
  return name;
}

/** @throws {ProblemError} if the space can't be handed over to this account */
async function checkNewOwner(
  c: AppContext,
  caller: Caller,
  name: string,
  owner: string | null,
): Promise<void> {
  await callSpaceForText(c, name, (stub) => stub.authorize(caller, "own"));
  if (owner === null) {
    if (caller.isAdmin) return;
    throw new ProblemError("not_allowed", "Only admins may give a space to the operator.");
  }
  const user = await new Users(c.env.DB).find(owner);
  if (user?.id !== owner)
    throw new ProblemError("user_not_found", "There is no user with that id.");
  if (caller.isAdmin || user.role === "admin") return;
  const most = mostSpacesOf(c);
  if ((await new SpaceCatalog(c.env.DB).countOf(owner)) < most) return;
  throw tooManySpaces(`They own ${most} spaces`);
}

function mostSpacesOf(c: AppContext): number {
  return Number(c.env.MAX_SPACES_PER_USER ?? DEFAULT_MAX_SPACES);
}

/** Each space is an object with a queue and files of its own. */
const DEFAULT_MAX_SPACES = 20;

function tooManySpaces(what: string): ProblemError {
  const detail = `${what}, which is the most here: delete one first, or ask an admin.`;
  return new ProblemError("limit_reached", detail);
}
