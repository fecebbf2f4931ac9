import type { Context } from "hono";
import { z } from "zod";
import type { Principal } from "../auth/principal.ts";
import { forgetSpace, spaceExists } from "../catalog/known-spaces.ts";
import { type CatalogEntry, SpaceCatalog } from "../catalog/space-catalog.ts";
import type { Env } from "../env.ts";
import type { Refusal, Reply } from "../objects/reply.ts";
import { type SpaceSettings, spaceSettings } from "../protocol/resources.ts";
import { spaceName, userId } from "../protocol/values.ts";
import { NO_SUCH_JOB, noSuchSpace } from "../space/calls.ts";
import type { SpaceObject } from "../space/space-object.ts";
import { ProblemError } from "./problems.ts";

export type AppEnv = {
  Bindings: Env;
  Variables: {
    requestId: string;
    /** Who sends the request, by the token that says so; `null`: by the session. */
    principals?: Map<string | null, Promise<Principal>>;
  };
};
export type AppContext = Context<AppEnv>;
export type SpaceStub = DurableObjectStub<SpaceObject>;

/** The keys that may have signed an address: the one before counts for some time, too (decision 0058). */
export function signingKeysOf({ env }: AppContext): string[] {
  const { SIGNING_KEY, SIGNING_KEY_FORMER } = env;
  return SIGNING_KEY_FORMER === undefined ? [SIGNING_KEY] : [SIGNING_KEY, SIGNING_KEY_FORMER];
}

/** Whether the client of a socket asks for an optional feature, as in `?batch=1`. */
export function hasFlag(c: AppContext, name: "batch" | "acks" | "presence"): boolean {
  return c.req.query(name) === "1";
}

/** The space's name in the path. A malformed name is answered in the same way as one that doesn't exist. */
export function spaceParam(c: AppContext): string {
  const name = spaceName.safeParse(c.req.param("space"));
  if (!name.success) throw missingSpace(c.req.param("space") ?? "");
  return name.data;
}

export function missingSpace(name: string): ProblemError {
  const { code, detail } = noSuchSpace(name);
  return new ProblemError(code, detail);
}

/** The parts of the job's id in the path. */
export function jobParam(c: AppContext): JobId {
  const id = parseJobId(c.req.param("job") ?? "");
  if (id === null) throw new ProblemError(NO_SUCH_JOB.code, NO_SUCH_JOB.detail);
  return id;
}

interface JobId {
  space: string;
  ulid: string;
}

/** The parts of a job's id: `<space>.<ULID>`. The space's name is also its object's. `null` for any other text. */
export function parseJobId(id: string): JobId | null {
  const match = /^([a-z0-9][a-z0-9-]{0,62})\.([0-9A-HJKMNP-TV-Z]{26})$/.exec(id);
  const [, space, ulid] = match ?? [];
  return space === undefined || ulid === undefined ? null : { space, ulid };
}

export function stubOf(c: AppContext, space: string): SpaceStub {
  return c.env.SPACE.getByName(space);
}

/**
 * Calls the object of a space that the catalogue lists. If the catalogue lists the space but the object doesn't know it, its creation was
 * interrupted between the two: the object is created now and called again.
 *
 * @throws {ProblemError} if the object refuses the call
 */
export async function callSpace<T extends { ok: true }>(
  c: AppContext,
  space: string,
  call: (stub: SpaceStub) => PromiseLike<T | Refusal>,
): Promise<T> {
  if (!(await spaceExists(c.env.DB, space))) throw missingSpace(space);
  const stub = stubOf(c, space);
  let reply = await call(stub);
  if (
    !reply.ok &&
    reply.code === "space_not_found" &&
    !reply.isHidden &&
    (await recreateFromCatalogue(c, space, stub))
  ) {
    reply = await call(stub);
  }
  if (!reply.ok) throw refused(reply);
  return reply;
}

/** The problem with which the Worker answers what an object refused. */
export function refused({ code, detail, retryAfterS }: Refusal): ProblemError {
  const headers: Record<string, string> =
    retryAfterS === undefined ? {} : { "retry-after": String(retryAfterS) };
  return new ProblemError(code, detail, undefined, headers);
}

/** Calls a space's object like `callSpace`; returns the JSON text of its answer. */
export async function callSpaceForText(
  c: AppContext,
  space: string,
  call: (stub: SpaceStub) => PromiseLike<Reply>,
): Promise<string> {
  return (await callSpace(c, space, call)).body;
}

/** Calls the object of a job's space. */
export function callJobForText(
  c: AppContext,
  space: string,
  call: (stub: SpaceStub) => PromiseLike<Reply>,
): Promise<string> {
  return maskMissingSpace(callSpaceForText(c, space, call));
}

/** Replaces `space_not_found` by `job_not_found`, for requests that name a job and not its space. */
export async function maskMissingSpace<T>(answer: Promise<T>): Promise<T> {
  try {
    return await answer;
  } catch (error) {
    const isGone = error instanceof ProblemError && error.code === "space_not_found";
    throw isGone ? new ProblemError(NO_SUCH_JOB.code, NO_SUCH_JOB.detail) : error;
  }
}

async function recreateFromCatalogue(
  c: AppContext,
  space: string,
  stub: SpaceStub,
): Promise<boolean> {
  const entry = await new SpaceCatalog(c.env.DB).get(space);
  if (entry) await stub.create(entry.name, entry.settings, false, entry.owner);
  else forgetSpace(space);
  return entry !== null;
}

const owned = z.object({ owner: userId.nullable().default(null) });

/** Reads a space's entry in the catalogue from its JSON text. */
export function parseEntry(name: string, spaceText: string): CatalogEntry {
  const { owner } = owned.parse(JSON.parse(spaceText));
  return { name, settings: parseSettings(spaceText), owner };
}

/** Reads the settings from a space's JSON text. */
export function parseSettings(spaceText: string): SpaceSettings {
  return spaceSettings.strip().parse(JSON.parse(spaceText));
}

/** Answers with a JSON text as it is. */
export function answerJson(c: AppContext, text: string, status: 200 | 201 | 202 = 200): Response {
  return c.body(text, status, { "content-type": "application/json" });
}
