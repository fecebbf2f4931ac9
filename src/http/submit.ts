import { createHash } from "node:crypto";
import { ulid } from "ulid";
import type { JsonObject } from "../protocol/codec.ts";
import { parseJson } from "../protocol/codec.ts";
import { LIMITS } from "../protocol/limits.ts";
import {
  idempotencyKey,
  jobOptions,
  type SubmitJobBody,
  submitJobBody,
} from "../protocol/resources.ts";
import { admitInput } from "../queue/admission.ts";
import type { StoredFile } from "../queue/job.ts";
import type { Caller, SubmitCall, SubmitReply } from "../space/calls.ts";
import { readBytes, readJson } from "./body.ts";
import { type AppContext, callSpace, callSpaceForText, settingsIn } from "./context.ts";
import { checked, ProblemError } from "./problems.ts";

/** An accepted job. */
export interface Accepted {
  ulid: string;
  /** The job as JSON text. */
  text: string;
  /** Its idempotency key was used for it before. */
  isRepeat: boolean;
  /** It is to be canceled when the submitter leaves the stream that answers it. */
  leaving: boolean;
}

/** Takes a submit, JSON or multipart, to its space. */
export async function submitJob(c: AppContext, space: string, caller: Caller): Promise<Accepted> {
  const isForm = /^multipart\/form-data\s*;/i.test(c.req.header("content-type") ?? "");
  if (!isForm) {
    const body = checked(submitJobBody, await readJson(c, LIMITS.jsonBodyBytes));
    return submitBody(c, space, caller, body, []);
  }
  const settings = settingsIn(await callSpaceForText(c, space, (stub) => stub.describe(caller)));
  const { body, uploads } = await readForm(c);
  const fields = uploads.map(({ field }) => field);
  // Asked before anything is stored; the object asks again when the job arrives.
  const admission = admitInput(settings, body.input, fields);
  if (!admission.ok) throw new ProblemError(admission.code, admission.message);
  const files = await storeFiles(c, space, uploads);
  try {
    const accepted = await submitBody(c, space, caller, body, files);
    if (accepted.isRepeat) await removeStored(c, files);
    return accepted;
  } catch (error) {
    // Only a refusal is certain; after any other failure the job may be there, and need them.
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
): Promise<Accepted> {
  const leaving = body.cancel_on_disconnect === true;
  const call = callOf(body, files, c.req.header("idempotency-key"));
  const [reply] = await submitCalls(c, space, caller, [call]);
  if (!reply) throw new Error("a submit was not answered");
  if (!reply.ok) throw new ProblemError(reply.code, reply.detail);
  return { ulid: reply.ulid, text: reply.body, isRepeat: reply.isRepeat, leaving };
}

/** Submits to a space's object, which is made where only the catalogue knows of it. */
export async function submitCalls(
  c: AppContext,
  space: string,
  caller: Caller,
  calls: SubmitCall[],
): Promise<SubmitReply[]> {
  const { replies } = await callSpace(c, space, async (stub) => {
    const replies: SubmitReply[] = await stub.submit(caller, calls);
    const [first] = replies;
    const isGone = first && !first.ok && first.code === "space_not_found";
    return isGone ? first : { ok: true as const, replies };
  });
  return replies;
}

/** A body as the object takes it. What waits is the request, so that leaving is the Worker's to tell. */
export function callOf(
  body: SubmitJobBody,
  files: StoredFile[],
  key: string | undefined,
): SubmitCall {
  const { input, cancel_on_disconnect: _, ...options } = body;
  const asked =
    key === undefined ? {} : { idempotency_key: checked(idempotencyKey, key, "`Idempotency-Key`") };
  return { input: JSON.stringify(input), files, options: { ...options, ...asked } };
}

/** `Prefer: wait` and `wait=N`, seconds; `null` where it asks for no wait. */
export function preferredWait(prefer: string | undefined): number | null {
  const match = /(?:^|,)\s*wait(?:\s*=\s*(\d{1,6}))?\s*(?:,|;|$)/i.exec(prefer ?? "");
  if (!match) return null;
  return Math.min(
    match[1] === undefined ? LIMITS.waitSeconds : Number(match[1]),
    LIMITS.waitSeconds,
  );
}

interface Upload {
  field: string;
  file: File;
}

/**
 * Text parts: `input` is a JSON object, options are those of the JSON body, with `requires` as a list with
 * commas and `webhook` as its URL; the rest are inputs.
 */
async function readForm(c: AppContext): Promise<{ body: SubmitJobBody; uploads: Upload[] }> {
  const bytes = await readBytes(c, LIMITS.uploadBytes);
  const headers = { "content-type": c.req.header("content-type") ?? "" };
  let form: FormData;
  try {
    form = await new Response(bytes, { headers }).formData();
  } catch {
    throw new ProblemError(
      "invalid_multipart",
      "The form could not be read: is its boundary right?",
    );
  }
  const uploads: Upload[] = [];
  let input: JsonObject = {};
  const options: JsonObject = {};
  for (const [field, value] of form.entries()) {
    if (typeof value !== "string") uploads.push({ field, file: value });
    else if (field === "input") input = { ...input, ...readInput(value) };
    else if (field === "requires") options.requires = value.split(",").map((one) => one.trim());
    else if (TEXT_OPTIONS.has(field)) options[field] = value;
    else if (Object.hasOwn(jobOptions, field)) options[field] = scalar(value);
    else input[field] = value;
  }
  if (uploads.length > LIMITS.filesPerJob) {
    throw new ProblemError("invalid_request", `A job takes ${LIMITS.filesPerJob} files at most.`);
  }
  return { body: checked(submitJobBody, { ...options, input }), uploads };
}

const TEXT_OPTIONS: ReadonlySet<string> = new Set(["idempotency_key", "webhook"]);

function readInput(text: string): JsonObject {
  const parsed = parseJson(text, LIMITS.inputDepth);
  const value = parsed.ok ? parsed.value : null;
  if (typeof value === "object" && value !== null && !Array.isArray(value)) return value;
  const why = parsed.ok ? "" : ` ${parsed.message}`;
  throw new ProblemError("invalid_request", `The form part \`input\` must be a JSON object.${why}`);
}

function scalar(text: string): string | number | boolean {
  if (text === "true" || text === "false") return text === "true";
  return text.trim() === "" || Number.isNaN(Number(text)) ? text : Number(text);
}

async function storeFiles(c: AppContext, space: string, uploads: Upload[]): Promise<StoredFile[]> {
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

/** The last part of a file name, without control characters: it is shown, never used as a path. */
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
