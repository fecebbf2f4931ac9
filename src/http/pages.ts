import { Hono } from "hono";
import { secureHeaders } from "hono/secure-headers";
import type { AppContext, AppEnv } from "./context.ts";

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
  .get("/", (c) => page(c, "/home"))
  .get("/spaces", (c) => c.redirect("/"))
  .get("/spaces/:space", (c) => page(c, "/space"));

async function page(c: AppContext, path: string): Promise<Response> {
  const asset = await c.env.ASSETS.fetch(new URL(path, c.req.url));
  // A copy, because the headers of a fetched answer can't be changed.
  return new Response(asset.body, asset);
}
