import { Hono } from "hono";
import { checkFileUrl } from "../files/signed-url.ts";
import { partOf } from "./byte-range.ts";
import { FILE_POLICY } from "./content-policies.ts";
import type { AppContext, AppEnv } from "./context.ts";
import { ProblemError } from "./problems.ts";

/**
 * `/api/files/<key>`: anyone who has the signed address may fetch the file, or a part of it, until the address
 * expires. A worker whose connection breaks goes on where it was, instead of beginning again.
 */
export const files = new Hono<AppEnv>().get("/:key{.+}", async (c) => {
  const key = c.req.param("key");
  requireValidAddress(c, key);
  const range = c.req.header("range");
  if (c.req.method === "HEAD") {
    const file = orMissing(await c.env.FILES.head(key));
    return c.body(null, 200, { ...headersOf(c, file), "content-length": String(file.size) });
  }
  return range === undefined ? answerWhole(c, key) : answerPart(c, key, range);
});

function requireValidAddress(c: AppContext, key: string): void {
  const { expires = "", signature = "", sha256 } = c.req.query();
  const { SIGNING_KEY, SIGNING_KEY_FORMER } = c.env;
  const signingKeys =
    SIGNING_KEY_FORMER === undefined ? [SIGNING_KEY] : [SIGNING_KEY, SIGNING_KEY_FORMER];
  const found = checkFileUrl(signingKeys, key, expires, signature, Date.now(), sha256);
  if (found === "valid") return;
  const detail =
    found === "expired"
      ? "This address has expired: it was valid until shortly after the deadline of its attempt. A worker that still has the attempt gets another address when it is resumed."
      : "The signature of this address is wrong: use it as the `job` frame gave it.";
  throw new ProblemError("not_allowed", detail);
}

async function answerWhole(c: AppContext, key: string): Promise<Response> {
  const file = orMissing(await c.env.FILES.get(key));
  return c.body(file.body, 200, { ...headersOf(c, file), "content-length": String(file.size) });
}

/** Several ranges are answered with the whole file, and so is a part of a file that is no longer the client's. */
async function answerPart(c: AppContext, key: string, range: string): Promise<Response> {
  const known = orMissing(await c.env.FILES.head(key));
  const ifRange = c.req.header("if-range");
  const isSame = ifRange === undefined || ifRange === known.httpEtag;
  const part = isSame ? partOf(range, known.size) : null;
  if (part === null) return answerWhole(c, key);
  if (part === "unsatisfiable") {
    const detail = `The file has ${known.size} bytes: there are none in the range that was asked for.`;
    const contentRange = { "content-range": `bytes */${known.size}` };
    throw new ProblemError("range_not_satisfiable", detail, undefined, contentRange);
  }
  const { offset, length } = part;
  const file = orMissing(await c.env.FILES.get(key, { range: { offset, length } }));
  return c.body(file.body, 206, {
    ...headersOf(c, file),
    "content-length": String(length),
    "content-range": `bytes ${offset}-${offset + length - 1}/${file.size}`,
  });
}

function orMissing<T extends R2Object>(file: T | null): T {
  if (file) return file;
  throw new ProblemError("file_not_found", "The file no longer exists: its job was erased.");
}

function headersOf(c: AppContext, file: R2Object): Record<string, string> {
  const { sha256 } = file.checksums;
  // The bucket doesn't know that of a file which it was sent in parts; its address has it.
  const known = sha256 ? Buffer.from(sha256) : Buffer.from(c.req.query("sha256") ?? "", "hex");
  const digest = known.toString("base64");
  return {
    "content-type": "application/octet-stream",
    "content-disposition": "attachment",
    "content-security-policy": FILE_POLICY,
    "x-content-type-options": "nosniff",
    "cache-control": "private, no-store",
    "accept-ranges": "bytes",
    etag: file.httpEtag,
    // Of the whole file, also with a part of it (RFC 9530). Files of an earlier release were stored without it.
    ...(digest ? { "repr-digest": `sha-256=:${digest}:` } : {}),
  };
}
