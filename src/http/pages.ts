import { Hono } from "hono";
import { callerOf } from "./access.ts";
import { type AppContext, type AppEnv, callSpaceForText, spaceParam } from "./context.ts";
import { withoutEndSlashes } from "./end-slashes.ts";
import { ProblemError } from "./problems.ts";

/** One page: they differ in their form. */
const SIGN_IN_PAGES = ["/sign-in", "/register", "/setup"];
const ACCOUNT_PAGES = [...SIGN_IN_PAGES, "/account", "/admin"];
const SETTINGS_PAGE = "/spaces/:space/settings";
/** Not under `/spaces/`: a space may have any word as its name, `new` as well. */
const NEW_SPACE_PAGE = "/new";

/** The pages for people. They are static and get what they show from the API. */
export const pages = new Hono<AppEnv>()
  .on("GET", ["/spaces", "/spaces/:space", ...ACCOUNT_PAGES], withoutSlash)
  .get("/", (c) => page(c, "/home"))
  .on("GET", SIGN_IN_PAGES, (c) => page(c, "/sign-in"))
  .get("/account", (c) => page(c, "/account"))
  .get("/admin", (c) => page(c, "/admin"))
  .get("/spaces", (c) => c.redirect("/"))
  .on("GET", [NEW_SPACE_PAGE, SETTINGS_PAGE], withoutSlash)
  .get(NEW_SPACE_PAGE, (c) => page(c, "/new-space"))
  .get(SETTINGS_PAGE, async (c) => page(c, "/space-settings", (await isRefused(c)) ? 404 : 200))
  .get("/spaces/:space", async (c) => page(c, "/space", (await isRefused(c)) ? 404 : 200));

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

async function page(c: AppContext, path: string, status: 200 | 404 = 200): Promise<Response> {
  const asset = await c.env.ASSETS.fetch(new URL(path, c.req.url));
  // A copy, because the headers of a fetched answer can't be changed.
  return asset.ok
    ? new Response(asset.body, { headers: asset.headers, status })
    : new Response(asset.body, asset);
}

/**
 * Whether the space is missing or its visitor may not see it; both are answered in the same way. The page itself is
 * sent in any case: it says what is wrong, and does so too if the space can't be reached now.
 */
async function isRefused(c: AppContext): Promise<boolean> {
  try {
    const caller = await callerOf(c);
    await callSpaceForText(c, spaceParam(c), (stub) => stub.describe(caller));
    return false;
  } catch (error) {
    return error instanceof ProblemError && error.code !== "temporarily_unavailable";
  }
}
