import { Hono } from "hono";
import { isSignatureValid } from "../files/signed-url.ts";
import type { AppEnv } from "./context.ts";
import { ProblemError } from "./problems.ts";

/** `/api/files/<key>`: anyone who has the signed address may fetch the file until the address expires. */
export const files = new Hono<AppEnv>().get("/:key{.+}", async (c) => {
  const key = c.req.param("key");
  const { expires = "", signature = "" } = c.req.query();
  if (!isSignatureValid(c.env.SIGNING_KEY, key, expires, signature, Date.now())) {
    throw new ProblemError(
      "not_allowed",
      "The signature of this address is wrong, or it has expired: use it as the `job` frame gave it, while the attempt runs.",
    );
  }
  const file = await c.env.FILES.get(key);
  if (!file) {
    throw new ProblemError("file_not_found", "The file no longer exists: its job was erased.");
  }
  return c.body(file.body, 200, {
    "content-type": "application/octet-stream",
    "content-disposition": "attachment",
    "content-length": String(file.size),
    "x-content-type-options": "nosniff",
    "cache-control": "private, no-store",
  });
});
