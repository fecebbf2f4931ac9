import { Hono } from "hono";
import { z } from "zod";
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
import { callerOf, requireAdmin } from "./access.ts";
import { note } from "./audit.ts";
import { readJson } from "./body.ts";
import {
  type AppContext,
  type AppEnv,
  answerJson,
  callSpaceForText,
  missingSpace,
  parseSettings,
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
    const page = await catalog.list({ all: caller.isAdmin, after: cursor, limit: limit + 1 });
    const entries = page.slice(0, limit);
    // The catalogue's rows are copies; the object decides whether the caller may see its space (decision 0004).
    const descriptions = await Promise.allSettled(
      entries.map(({ name }) => callSpaceForText(c, name, (stub) => stub.describe(caller))),
    );
    const bodies = descriptions.flatMap((description) =>
      description.status === "fulfilled" ? [description.value] : [],
    );
    const next = page.length > limit ? (entries.at(-1)?.name ?? null) : null;
    return answerJson(c, `{"spaces":[${bodies.join()}],"next_cursor":${JSON.stringify(next)}}`);
  })
  .post("/", async (c) => {
    const caller = await requireAdmin(c, "spaces:admin");
    const body = validate(createSpaceBody, await readJson(c, LIMITS.jsonBodyBytes));
    const { name, ...chosen } = body;
    const settings = spaceSettings.parse({ ...DEFAULT_SETTINGS, ...chosen });
    const isNew = await new SpaceCatalog(c.env.DB).add({ name, settings });
    if (!isNew) {
      throw new ProblemError(
        "space_exists",
        `A space named ${name} already exists: choose another name.`,
      );
    }
    await stubOf(c, name).create(name, settings, true);
    await note(c, "space.create", `space:${name}`);
    c.header("location", `/api/spaces/${name}`);
    return answerJson(c, await callSpaceForText(c, name, (stub) => stub.describe(caller)), 201);
  })
  .get("/:space", async (c) => {
    const caller = await callerOf(c);
    return answerJson(c, await callSpaceForText(c, spaceParam(c), (stub) => stub.describe(caller)));
  })
  .patch("/:space", async (c) => {
    const caller = await requireAdmin(c, "spaces:admin");
    const name = spaceParam(c);
    const patch = validate(patchSpaceBody, await readJson(c, LIMITS.jsonBodyBytes));
    const text = await callSpaceForText(c, name, (stub) => stub.change(caller, patch));
    const settings = parseSettings(text);
    await new SpaceCatalog(c.env.DB).update({ name, settings });
    await note(c, "space.change", `space:${name}`, { settings: Object.keys(patch) });
    return answerJson(c, text);
  })
  .delete("/:space", async (c) => {
    await requireAdmin(c, "spaces:admin");
    const name = spaceParam(c);
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
    const space = await requireSpace(c);
    const { name } = validate(createTokenBody, await readJson(c, LIMITS.jsonBodyBytes));
    const minted = await new WorkerTokens(c.env.DB).mint(space, name);
    await note(c, "worker_token.create", `space:${space}`, { token: minted.id, name });
    return c.json(minted, 201);
  })
  .post("/:space/drain", async (c) => {
    const space = await requireSpace(c);
    const reason = "The operator is draining the space.";
    await note(c, "space.drain", `space:${space}`);
    return answerJson(c, await callSpaceForText(c, space, (stub) => stub.drain(reason)));
  })
  .get("/:space/webhook-secret", async (c) => {
    const space = await requireSpace(c);
    return answerJson(c, await callSpaceForText(c, space, (stub) => stub.webhookSecret(false)));
  })
  .post("/:space/webhook-secret", async (c) => {
    const space = await requireSpace(c);
    const secret = await callSpaceForText(c, space, (stub) => stub.webhookSecret(true));
    await note(c, "webhook_secret.create", `space:${space}`);
    return answerJson(c, secret, 201);
  })
  .get("/:space/tokens", async (c) => {
    const space = await requireSpace(c);
    return c.json({ tokens: await new WorkerTokens(c.env.DB).list(space) });
  })
  .delete("/:space/tokens/:id", async (c) => {
    const space = await requireSpace(c);
    const id = c.req.param("id");
    // First the connection: if this is interrupted after it, the token is still listed, and can be revoked again.
    await stubOf(c, space).dropToken(id);
    if (!(await new WorkerTokens(c.env.DB).revoke(space, id))) {
      throw new ProblemError(
        "token_not_found",
        "This space has no token with that id; `GET /api/spaces/<space>/tokens` lists those it has.",
      );
    }
    await note(c, "worker_token.revoke", `space:${space}`, { token: id });
    return c.body(null, 204);
  });

async function requireSpace(c: AppContext): Promise<string> {
  await requireAdmin(c, "spaces:admin");
  const name = spaceParam(c);
  if (await new SpaceCatalog(c.env.DB).get(name)) return name;
  throw missingSpace(name);
}
