import { createHash } from "node:crypto";
import { ulid } from "ulid";
import type { JsonObject } from "../protocol/codec.ts";
import { parseJson } from "../protocol/codec.ts";
import type { ProblemCode } from "../protocol/codes.ts";
import { parseExact } from "../protocol/exact-json.ts";
import { LIMITS } from "../protocol/limits.ts";
import {
  idempotencyKey,
  jobOptions,
  type SubmitJobBody,
  submitJobBody,
} from "../protocol/resources.ts";
import { admitInput } from "../queue/admission.ts";
import type { StoredFile } from "../queue/job.ts";
import {
  type Caller,
  NO_SUCH_SPACE,
  PRIVATE_SPACE,
  type SubmitCall,
  type SubmitReply,
} from "../space/calls.ts";
import { readBytes, readJson } from "./body.ts";
import { type AppContext, callSpace, callSpaceForText, parseSettings } from "./context.ts";
import { ProblemError, validate } from "./problems.ts";

/** A job that its space has accepted and stored. */
export interface AcceptedJob {
  ulid: string;
  /** The job as JSON text. */
  text: string;
  /** An earlier submit with the same idempotency key made this job. */
  isRepeat: boolean;
  /** Whether to cancel it if the submitter leaves the stream that answers the submit (decision 0019). */
  cancelOnDisconnect: boolean;
}

/** Submits the job in the request's body, JSON or multipart, to its space. */
export async function submitJob(
  c: AppContext,
  space: string,
  caller: Caller,
): Promise<AcceptedJob> {
  const isForm = /^multipart\/form-data\s*;/i.test(c.req.header("content-type") ?? "");
  if (!isForm) {
    const body = validate(submitJobBody, await readJson(c, LIMITS.jsonBodyBytes));
    return submitBody(c, space, caller, body, []);
  }
  const settings = parseSettings(await callSpaceForText(c, space, (stub) => stub.describe(caller)));
  const { body, uploads } = await readForm(c);
  const fields = uploads.map(({ field }) => field);
  // Checked before any file is stored; the object checks again when the job arrives.
  const admission = admitInput(settings, body.input, fields);
  if (!admission.ok) throw new ProblemError(admission.code, admission.message);
  const files = await storeFiles(c, space, uploads);
  try {
    const accepted = await submitBody(c, space, caller, body, files);
    if (accepted.isRepeat) await removeStored(c, files);
    return accepted;
  } catch (error) {
    // After a refusal there is no job. After any other error it may exist and need its files (decision 0017).
    if (error instanceof ProblemError) await removeStored(c, files);
    throw error;
  }
}

async function removeStored(c: AppContext, files: StoredFile[]): Promise<void> {
  if (files.length > 0) await c.env.FILES.delete(files.map(({ key }) => key));
}

async function submitBody(
  c: AppContext,
  space: string,
  caller: Caller,
  body: SubmitJobBody,
  files: StoredFile[],
): Promise<AcceptedJob> {
  const cancelOnDisconnect = body.cancel_on_disconnect === true;
  const call = submitCallOf(body, files, c.req.header("idempotency-key"));
  const [reply] = await submitCalls(c, space, caller, [call]);
  if (!reply) throw new Error("a submit was not answered");
  if (!reply.ok) throw new ProblemError(reply.code, reply.detail);
  return { ulid: reply.ulid, text: reply.body, isRepeat: reply.isRepeat, cancelOnDisconnect };
}

/** Submits jobs to a space's object; returns one reply for each, in order. */
export async function submitCalls(
  c: AppContext,
  space: string,
  caller: Caller,
  calls: SubmitCall[],
): Promise<SubmitReply[]> {
  const { replies } = await callSpace(c, space, async (stub) => {
    const replies: SubmitReply[] = await stub.submit(caller, calls);
    const [first] = replies;
    // The whole call was refused: every reply says so. `callSpace` creates the object if only that is missing.
    const isRefused = first && !first.ok && REFUSES_ALL.has(first.code);
    return isRefused ? first : { ok: true as const, replies };
  });
  return replies;
}

/** A space that is missing, or that the caller may not use, refuses all jobs alike. */
const REFUSES_ALL: ReadonlySet<string> = new Set<ProblemCode>([
  NO_SUCH_SPACE.code,
  PRIVATE_SPACE.code,
]);

/**
 * A submit's body in the form that the object expects. `cancel_on_disconnect` is left out: over HTTP only the
 * Worker sees whether the submitter leaves.
 */
export function submitCallOf(
  body: SubmitJobBody,
  files: StoredFile[],
  key: string | undefined,
): SubmitCall {
  const { input, cancel_on_disconnect: _, ...options } = body;
  const keyOption =
    key === undefined
      ? {}
      : { idempotency_key: validate(idempotencyKey, key, "`Idempotency-Key`") };
  return { input: JSON.stringify(input), files, options: { ...options, ...keyOption } };
}

/** Reads `wait` or `wait=N` from a `Prefer` header; returns seconds, `null` if it has neither. */
export function preferredWait(prefer: string | undefined): number | null {
  const match = /(?:^|,)\s*wait(?:\s*=\s*(\d{1,6}))?\s*(?:,|;|$)/i.exec(prefer ?? "");
  if (!match) return null;
  return Math.min(
    match[1] === undefined ? LIMITS.waitSeconds : Number(match[1]),
    LIMITS.waitSeconds,
  );
}

interface FormFile {
  field: string;
  file: File;
}

/**
 * Reads a form. The text part `input` is a JSON object. A part with the name of an option sets that option:
 * `requires` is a list separated by commas, `webhook` a URL. Any other text part is a field of the input.
 */
async function readForm(c: AppContext): Promise<{ body: SubmitJobBody; uploads: FormFile[] }> {
  const bytes = await readBytes(c, LIMITS.uploadBytes);
  const headers = { "content-type": c.req.header("content-type") ?? "" };
  let form: FormData;
  try {
    form = await new Response(bytes, { headers }).formData();
  } catch {
    throw new ProblemError("invalid_multipart", "The form could not be read: check its boundary.");
  }
  const uploads: FormFile[] = [];
  let input: JsonObject = {};
  const options: JsonObject = {};
  for (const [field, value] of form.entries()) {
    if (typeof value !== "string") uploads.push({ field, file: value });
    else if (field === "input") input = { ...input, ...readInput(value) };
    else if (field === "requires") options.requires = value.split(",").map((word) => word.trim());
    else if (TEXT_OPTIONS.has(field)) options[field] = value;
    else if (Object.hasOwn(jobOptions, field)) options[field] = scalar(value);
    else input[field] = value;
  }
  if (uploads.length > LIMITS.filesPerJob) {
    throw new ProblemError(
      "invalid_request",
      `A job may have ${LIMITS.filesPerJob} files at most.`,
    );
  }
  return { body: validate(submitJobBody, { ...options, input }), uploads };
}

const TEXT_OPTIONS: ReadonlySet<string> = new Set(["idempotency_key", "webhook"]);

function readInput(text: string): JsonObject {
  const parsed = parseJson(text, LIMITS.inputDepth, parseExact);
  const value = parsed.ok ? parsed.value : null;
  if (typeof value === "object" && value !== null && !Array.isArray(value)) return value;
  const why = parsed.ok ? "" : ` ${parsed.message}`;
  throw new ProblemError("invalid_request", `The form part \`input\` must be a JSON object.${why}`);
}

function scalar(text: string): string | number | boolean {
  if (text === "true" || text === "false") return text === "true";
  return text.trim() === "" || Number.isNaN(Number(text)) ? text : Number(text);
}

async function storeFiles(
  c: AppContext,
  space: string,
  uploads: FormFile[],
): Promise<StoredFile[]> {
  const folder = `spaces/${space}/inputs/${ulid()}`;
  return Promise.all(
    uploads.map(async ({ field, file }, index) => {
      const key = `${folder}/${index}`;
      const bytes = await file.arrayBuffer();
      await c.env.FILES.put(key, bytes);
      return {
        field: field.slice(0, 60),
        name: safeName(file.name),
        content_type: safeType(file.type),
        size: file.size,
        sha256: createHash("sha256").update(new Uint8Array(bytes)).digest("hex"),
        key,
      };
    }),
  );
}

/** The last part of a file's name, without control characters; for display, never to be used as a path. */
export function safeName(name: string): string {
  const last = name.split(/[/\\]/).at(-1) ?? "";
  const clean = last
    .replace(/[\p{Cc}\p{Cf}]/gu, "")
    .slice(0, 120)
    .trim();
  return clean === "" || clean === "." || clean === ".." ? "file" : clean;
}

function safeType(type: string): string {
  return /^[\w.+-]{1,60}\/[\w.+-]{1,60}$/.test(type) ? type : "application/octet-stream";
}
