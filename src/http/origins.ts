import type { MiddlewareHandler } from "hono";
import { cors } from "hono/cors";
import { corsOriginsOf } from "../env.ts";
import { publicOriginOf } from "./client-request.ts";
import type { AppContext, AppEnv } from "./context.ts";
import { ProblemError } from "./problems.ts";
import { isReading } from "./session.ts";

const HEADERS = {
  allowHeaders: [
    "authorization",
    "content-type",
    "content-encoding",
    "idempotency-key",
    "prefer",
    "last-event-id",
    "range",
    "if-range",
    "job-share",
    "repr-digest",
  ],
  exposeHeaders: [
    "location",
    "x-request-id",
    "preference-applied",
    "idempotency-replayed",
    "retry-after",
    "allow",
    "accept-encoding",
    "accept-ranges",
    "content-range",
    "etag",
    "repr-digest",
  ],
  maxAge: 86_400,
};

/**
 * By default pages of any origin may call the API: it takes a session's cookie from its own pages only, so no other
 * page can act for its visitor (H9).
 */
const anyOrigin = cors({ ...HEADERS, origin: "*" });

/** Where the operator has named origins, pages of others can't read what the API answers (H9d). */
const namedOrigins = cors({
  ...HEADERS,
  origin: (origin, c: AppContext) => (corsOriginsOf(c.env)?.has(origin) ? origin : null),
});

/** Answers browsers that ask which pages may call the API. */
export const crossOrigin: MiddlewareHandler<AppEnv> = (c, next) =>
  corsOriginsOf(c.env) === null ? anyOrigin(c, next) : namedOrigins(c, next);

/**
 * Refuses what a page of an origin that the operator has not named would change, and its sockets: browsers send some
 * of these requests without asking first. Programs name no origin.
 */
export async function requireNamedOrigin(c: AppContext, next: () => Promise<void>): Promise<void> {
  const origin = c.req.header("origin");
  if (origin !== undefined && !isReading(c) && !isAllowed(c, origin)) {
    const detail =
      "Pages of this origin may not call this edge: its setting `CORS_ORIGINS` names those that may.";
    throw new ProblemError("not_allowed", detail);
  }
  await next();
}

function isAllowed(c: AppContext, origin: string): boolean {
  const named = corsOriginsOf(c.env);
  return named === null || named.has(origin) || origin === publicOriginOf(c);
}
