import { Hono } from "hono";
import { secureHeaders } from "hono/secure-headers";
import type { AppContext, AppEnv } from "./context.ts";
import { withoutEndSlashes } from "./end-slashes.ts";

const contentSecurityPolicy = {
  defaultSrc: ["'self'"],
  imgSrc: ["'self'", "data:", "blob:"],
  connectSrc: ["'self'"],
  objectSrc: ["'none'"],
  baseUri: ["'none'"],
  frameAncestors: ["'none'"],
};

/** The pages for people. They are static and get what they show from the API. */
export const pages = new Hono<AppEnv>()
  .use(secureHeaders({ contentSecurityPolicy }))
  .on("GET", ["/spaces", "/spaces/:space"], withoutSlash)
  .get("/", (c) => page(c, "/home"))
  .get("/spaces", (c) => c.redirect("/"))
  .get("/spaces/:space", (c) => page(c, "/space"));

/** A page has one address. The redirect names no host: the request's is whatever its sender says. */
async function withoutSlash(
  c: AppContext,
  next: () => Promise<void>,
): Promise<Response | undefined> {
  const { pathname, search } = new URL(c.req.url);
  if (pathname.endsWith("/")) return c.redirect(withoutEndSlashes(pathname) + search, 301);
  await next();
  return undefined;
}

async function page(c: AppContext, path: string): Promise<Response> {
  const asset = await c.env.ASSETS.fetch(new URL(path, c.req.url));
  // A copy, because the headers of a fetched answer can't be changed.
  return new Response(asset.body, asset);
}
