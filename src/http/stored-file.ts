import { partOf } from "./byte-range.ts";
import { FILE_POLICY } from "./content-policies.ts";
import type { AppContext } from "./context.ts";
import { ProblemError } from "./problems.ts";

/** What a file is answered as: its type, and whether browsers may show it. */
export interface Presentation {
  type: string;
  disposition: string;
  /** Pages of other origins may show it, and browsers may keep it for an hour. */
  isShared: boolean;
}

/**
 * Answers with a file of the bucket, or with the part of it that is asked for: a client whose connection breaks goes on
 * where it was, and a player jumps to any place.
 *
 * @param present how the file is answered
 */
export async function answerStored(
  c: AppContext,
  key: string,
  present: (file: R2Object) => Presentation,
): Promise<Response> {
  const range = c.req.header("range");
  if (c.req.method === "HEAD") {
    const file = orMissing(await c.env.FILES.head(key));
    return c.body(null, 200, headersOf(file, present(file), file.size));
  }
  return range === undefined ? answerWhole(c, key, present) : answerPart(c, key, range, present);
}

async function answerWhole(
  c: AppContext,
  key: string,
  present: (file: R2Object) => Presentation,
): Promise<Response> {
  const file = orMissing(await c.env.FILES.get(key));
  return c.body(file.body, 200, headersOf(file, present(file), file.size));
}

/** Several ranges are answered with the whole file, and so is a part of a file that is no longer the client's. */
async function answerPart(
  c: AppContext,
  key: string,
  range: string,
  present: (file: R2Object) => Presentation,
): Promise<Response> {
  const known = orMissing(await c.env.FILES.head(key));
  const ifRange = c.req.header("if-range");
  const isSame = ifRange === undefined || ifRange === known.httpEtag;
  const part = isSame ? partOf(range, known.size) : null;
  if (part === null) return answerWhole(c, key, present);
  if (part === "unsatisfiable") {
    const detail = `The file has ${known.size} bytes: there are none in the range that was asked for.`;
    const contentRange = { "content-range": `bytes */${known.size}` };
    throw new ProblemError("range_not_satisfiable", detail, undefined, contentRange);
  }
  const { offset, length } = part;
  const file = orMissing(await c.env.FILES.get(key, { range: { offset, length } }));
  return c.body(file.body, 206, {
    ...headersOf(file, present(file), length),
    "content-range": `bytes ${offset}-${offset + length - 1}/${file.size}`,
  });
}

function orMissing<T extends R2Object>(file: T | null): T {
  if (file) return file;
  throw new ProblemError("file_not_found", "The file no longer exists: its job was erased.");
}

function headersOf(
  file: R2Object,
  { type, disposition, isShared }: Presentation,
  length: number,
): Record<string, string> {
  const { sha256 } = file.checksums;
  const digest = sha256 && Buffer.from(sha256).toString("base64");
  return {
    "content-type": type,
    "content-length": String(length),
    "content-disposition": disposition,
    "content-security-policy": FILE_POLICY,
    "x-content-type-options": "nosniff",
    "cache-control": isShared ? "private, max-age=3600" : "private, no-store",
    "cross-origin-resource-policy": isShared ? "cross-origin" : "same-origin",
    "accept-ranges": "bytes",
    etag: file.httpEtag,
    // Of the whole file, also with a part of it (RFC 9530). Files of an earlier release were stored without it.
    ...(digest ? { "repr-digest": `sha-256=:${digest}:` } : {}),
  };
}
