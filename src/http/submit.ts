import { ulid } from "ulid";
import type { JsonObject } from "../protocol/codec.ts";
import { parseJson } from "../protocol/codec.ts";
import { LIMITS } from "../protocol/limits.ts";
import { jobOptions, type SubmitJobBody, submitJobBody } from "../protocol/resources.ts";
import { admitInput } from "../queue/admission.ts";
import type { StoredFile } from "../queue/job.ts";
import type { Caller } from "../space/space-object.ts";
import { readBytes, readJson } from "./body.ts";
import { type AppContext, ask, stubOf } from "./context.ts";
import { checked, ProblemError } from "./problems.ts";

/** Takes a submit, JSON or multipart, to its space; the accepted job as JSON text. */
export async function submitJob(c: AppContext, space: string, caller: Caller): Promise<string> {
  const isForm = /^multipart\/form-data\s*;/i.test(c.req.header("content-type") ?? "");
  if (!isForm) {
    const body = checked(submitJobBody, await readJson(c, LIMITS.jsonBodyBytes));
    return submitBody(c, space, caller, body, []);
  }
  const { body, uploads } = await readForm(c);
  await checkSwitches(c, space, caller, body.input, uploads);
  const files = await storeFiles(c, space, uploads);
  try {
    return await submitBody(c, space, caller, body, files);
  } catch (error) {
    await c.env.FILES.delete(files.map(({ key }) => key));
    throw error;
  }
}

function submitBody(
  c: AppContext,
  space: string,
  caller: Caller,
  { input, ...options }: SubmitJobBody,
  files: StoredFile[],
): Promise<string> {
  return ask(c, space, async (stub) => {
    const [reply] = await stub.submit(caller, [{ input: JSON.stringify(input), files, options }]);
    if (!reply) throw new Error("a submit was not answered");
    return reply;
  });
}

interface Upload {
  field: string;
  file: File;
}

/** Text parts: `input` is a JSON object, options are those of the JSON body, the rest are inputs. */
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
    else if (Object.hasOwn(jobOptions, field)) options[field] = scalar(value);
    else input[field] = value;
  }
  if (uploads.length > LIMITS.filesPerJob) {
    throw new ProblemError("invalid_request", `A job takes ${LIMITS.filesPerJob} files at most.`);
  }
  return { body: checked(submitJobBody, { ...options, input }), uploads };
}

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

/** Asked before anything is stored; the object checks again when the job arrives. */
async function checkSwitches(
  c: AppContext,
  space: string,
  caller: Caller,
  input: JsonObject,
  uploads: Upload[],
): Promise<void> {
  await ask(c, space, (stub) => stub.describe(caller));
  const settings = await stubOf(c, space).settings(caller);
  if (!settings) throw new ProblemError("space_not_found", "There is no such space.");
  const fields = uploads.map(({ field }) => field);
  const admission = admitInput(settings, input, fields);
  if (!admission.ok) throw new ProblemError(admission.code, admission.message);
}

async function storeFiles(c: AppContext, space: string, uploads: Upload[]): Promise<StoredFile[]> {
  const folder = `spaces/${space}/inputs/${ulid()}`;
  return Promise.all(
    uploads.map(async ({ field, file }, index) => {
      const key = `${folder}/${index}`;
      await c.env.FILES.put(key, await file.arrayBuffer());
      return {
        field: field.slice(0, 60),
        name: safeName(file.name),
        content_type: safeType(file.type),
        size: file.size,
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
