import { Buffer } from "node:buffer";
import type { ProblemCode } from "../protocol/codes.ts";
import { displayName } from "../protocol/file-name.ts";
import { LIMITS } from "../protocol/limits.ts";
import { spaceName } from "../protocol/values.ts";
import type { UploadSpec } from "../space/uploads/upload-calls.ts";
import type { Upload } from "../storage/upload-store.ts";
import type { AppContext } from "./context.ts";
import { fileTypeOf } from "./file-type.ts";
import { ProblemError, validate } from "./problems.ts";

/** The version of tus that is spoken here (https://tus.io/protocols/resumable-upload). */
const VERSION = "1.0.0";
export const OFFSET_TYPE = "application/offset+octet-stream";
/** The algorithms of `Upload-Checksum`, by the names that Node.js has for them. */
const ALGORITHMS = ["sha1", "sha256"] as const;

/** Says with every answer that this is tus, and what of it is spoken here to whoever asks. */
export async function tusHeaders(c: AppContext, next: () => Promise<void>): Promise<void> {
  await next();
  c.header("tus-resumable", VERSION);
  if (c.req.method !== "OPTIONS" && c.res.status !== 412) return;
  c.header("tus-version", VERSION);
  c.header("tus-extension", "creation,creation-with-upload,expiration,termination,checksum");
  c.header("tus-checksum-algorithm", ALGORITHMS.join());
  c.header("tus-max-size", String(LIMITS.resumableBytes));
}

/** @throws {ProblemError} if the request is of another version of tus, or of none */
export function requireVersion(c: AppContext): void {
  if (c.req.header("tus-resumable") === VERSION) return;
  throw new ProblemError(
    "tus_version",
    `Send \`Tus-Resumable: ${VERSION}\`: it is the version of tus spoken here.`,
  );
}

/** What a request that makes an upload says of it. */
export function readCreation(c: AppContext): { space: string; spec: UploadSpec } {
  const metadata = readMetadata(c.req.header("upload-metadata") ?? "");
  const space = validate(spaceName, metadata.get("space") ?? "", "`space` in `Upload-Metadata`");
  const spec = {
    length: readLength(c.req.header("upload-length")),
    name: displayName(metadata.get("filename") ?? ""),
    contentType: fileTypeOf(metadata.get("filetype") ?? null),
    field: metadata.get("field") ?? null,
  };
  return { space, spec };
}

function readLength(header: string | undefined): number {
  if (header === undefined || !/^\d{1,15}$/.test(header)) {
    throw invalid("`Upload-Length` must be the size of the file in bytes.");
  }
  const length = Number(header);
  if (length <= LIMITS.resumableBytes) return length;
  const detail = `The file has ${length} bytes; an upload may have ${LIMITS.resumableBytes}.`;
  throw new ProblemError("payload_too_large", detail);
}

/** `Upload-Offset`, bytes. */
export function readOffset(c: AppContext): number {
  const header = c.req.header("upload-offset") ?? "";
  if (/^\d{1,15}$/.test(header)) return Number(header);
  throw invalid("`Upload-Offset` must say how many bytes of the upload are stored.");
}

/** A list such as `filename d29ybGQ=,is_public`: names, each with its value in Base64. */
function readMetadata(header: string): ReadonlyMap<string, string> {
  const metadata = new Map<string, string>();
  for (const pair of header.split(",").map((text) => text.trim())) {
    if (pair === "") continue;
    const [name = "", value = "", ...more] = pair.split(/\s+/);
    const isValid = /^[A-Za-z0-9+/_-]*={0,2}$/.test(value) && more.length === 0;
    if (!isValid || metadata.has(name)) {
      throw invalid("`Upload-Metadata` must be a list of names, each with its value in Base64.");
    }
    metadata.set(name, Buffer.from(value, "base64").toString("utf8"));
  }
  return metadata;
}

/** What a client's checksum of the bytes of one request must be. */
export interface ExpectedChecksum {
  algorithm: (typeof ALGORITHMS)[number];
  digest: Buffer;
}

/** `Upload-Checksum`; `null` if none was sent. */
export function readChecksum(c: AppContext): ExpectedChecksum | null {
  const header = c.req.header("upload-checksum");
  if (header === undefined) return null;
  const [name = "", digest = ""] = header.trim().split(/\s+/);
  const algorithm = ALGORITHMS.find((known) => known === name);
  if (algorithm !== undefined) return { algorithm, digest: Buffer.from(digest, "base64") };
  throw invalid(`\`Upload-Checksum\` must begin with one of ${ALGORITHMS.join(", ")}.`);
}

/** The headers that tell where an upload is. */
export function placeOf(space: string, upload: Upload): Record<string, string> {
  const metadata = { space, filename: upload.name, filetype: upload.contentType };
  const pairs = Object.entries(metadata).map(
    ([name, value]) => `${name} ${Buffer.from(value).toString("base64")}`,
  );
  return {
    "upload-offset": String(upload.received),
    "upload-length": String(upload.length),
    "upload-metadata": pairs.join(),
    ...(upload.ulid === null ? { "upload-expires": new Date(upload.expiresAt).toUTCString() } : {}),
    "cache-control": "no-store",
  };
}

function invalid(detail: string): ProblemError {
  const code: ProblemCode = "invalid_request";
  return new ProblemError(code, detail);
}
