import type { Context } from "hono";
import { bearerOf, isOperatorKey } from "../auth/operator.ts";
import { SpaceCatalog } from "../catalog/space-catalog.ts";
import type { Env } from "../env.ts";
import type { Refusal, Reply } from "../objects/reply.ts";
import { type SpaceSettings, spaceSettings } from "../protocol/resources.ts";
import { spaceName } from "../protocol/values.ts";
import type { Caller } from "../space/calls.ts";
import type { SpaceObject } from "../space/space-object.ts";
import { principalOf } from "./principal.ts";
import { ProblemError } from "./problems.ts";

export type AppEnv = { Bindings: Env; Variables: { requestId: string } };
export type AppContext = Context<AppEnv>;
export type SpaceStub = DurableObjectStub<SpaceObject>;

/**
 * A wrong key or token is refused, not taken for none: its sender means to be somebody. Who has a user's
 * token is here what anyone is.
 */
export async function callerOf(c: AppContext): Promise<Caller> {
  const principal = await principalOf(c);
  return { operator: principal.kind === "operator" };
}

export function requireOperator(c: AppContext): Caller {
  const given = bearerOf(c.req.header("authorization"));
  if (isOperatorKey(given, c.env.OPERATOR_KEY)) return { operator: true };
  throw new ProblemError(
    "not_authenticated",
    given === null
      ? "This needs the operator's key: `Authorization: Bearer <OPERATOR_KEY>`."
      : "The key in `Authorization` is not the operator's.",
  );
}

/** What a socket's client wants to do or hear beside the usual. */
export function hasFlag(c: AppContext, what: "batch" | "acks" | "presence"): boolean {
  return c.req.query(what) === "1";
}

/** The space a path names; a name no space can have is answered like one that none has. */
export function spaceParam(c: AppContext): string {
  const name = spaceName.safeParse(c.req.param("space"));
  if (!name.success) throw new ProblemError("space_not_found", "There is no such space.");
  return name.data;
}

/** The parts of a job's id: it names its space, and so its object. */
export function jobParam(c: AppContext): { space: string; ulid: string } {
  const match = /^([a-z0-9][a-z0-9-]{0,62})\.([0-9A-HJKMNP-TV-Z]{26})$/.exec(
    c.req.param("job") ?? "",
  );
  if (match?.[1] === undefined || match[2] === undefined) {
    throw new ProblemError("job_not_found", "There is no such job.");
  }
  return { space: match[1], ulid: match[2] };
}

export function stubOf(c: AppContext, space: string): SpaceStub {
  return c.env.SPACE.getByName(space);
}

/**
 * Asks a space's object. One that the catalogue has and the object does not know was cut off while it
 * was made: it is made now.
 */
export async function callSpace<T extends { ok: true }>(
  c: AppContext,
  space: string,
  call: (stub: SpaceStub) => PromiseLike<T | Refusal>,
): Promise<T> {
  const stub = stubOf(c, space);
  let reply = await call(stub);
  if (
    !reply.ok &&
    reply.code === "space_not_found" &&
    (await recreateFromCatalogue(c, space, stub))
  ) {
    reply = await call(stub);
  }
  if (!reply.ok) throw new ProblemError(reply.code, reply.detail);
  return reply;
}

/** The JSON text that a space's object answers with. */
export async function callSpaceForText(
  c: AppContext,
  space: string,
  call: (stub: SpaceStub) => PromiseLike<Reply>,
): Promise<string> {
  return (await callSpace(c, space, call)).body;
}

/** Asks the object a job's id names. */
export function callJobForText(
  c: AppContext,
  space: string,
  call: (stub: SpaceStub) => PromiseLike<Reply>,
): Promise<string> {
  return hidingTheSpace(callSpaceForText(c, space, call));
}

/** To whoever holds a job's id, a space that is gone is a job that is. */
export async function hidingTheSpace<T>(answer: Promise<T>): Promise<T> {
  try {
    return await answer;
  } catch (error) {
    const isGone = error instanceof ProblemError && error.code === "space_not_found";
    throw isGone ? new ProblemError("job_not_found", "There is no such job.") : error;
  }
}

async function recreateFromCatalogue(
  c: AppContext,
  space: string,
  stub: SpaceStub,
): Promise<boolean> {
  const entry = await new SpaceCatalog(c.env.DB).get(space);
  if (entry) await stub.create(entry.name, entry.settings, false);
  return entry !== null;
}

/** The settings in a space's JSON text. */
export function settingsIn(spaceText: string): SpaceSettings {
  return spaceSettings.strip().parse(JSON.parse(spaceText));
}

/** A JSON text that is ready to go out. */
export function jsonText(c: AppContext, text: string, status: 200 | 201 | 202 = 200): Response {
  return c.body(text, status, { "content-type": "application/json" });
}
