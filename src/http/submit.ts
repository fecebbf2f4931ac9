import { createHash } from "node:crypto";
import type { Caller } from "../auth/caller.ts";
import { newUploadFolder } from "../files/file-keys.ts";
import { byteLength } from "../protocol/codec.ts";
import { displayName } from "../protocol/file-name.ts";
import { LIMITS } from "../protocol/limits.ts";
import { idempotencyKey, type SubmitJobBody, submitJobBody } from "../protocol/resources.ts";
import { userId } from "../protocol/values.ts";
import { admitInput, admitSize } from "../queue/admission.ts";
import type { StoredFile } from "../queue/job.ts";
import type { SubmitCall, SubmitReply } from "../space/calls.ts";
import { readBytes, readJson } from "./body.ts";
import { type AppContext, callSpace, callSpaceForText, parseSettings, refused } from "./context.ts";
import { beginSweeps } from "./file-sweeps.ts";
import { type FormPart, readForm } from "./form.ts";
import { parseParameters } from "./header-parameters.ts";
import { ProblemError, validate } from "./problems.ts";
import { type FormSubmit, submitOf } from "./submit-form.ts";

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

const EXPECTED =
  "Send JSON, with `Content-Type: application/json`, or a form with files, as `multipart/form-data`.";

/** Submits the job in the request's body, JSON or multipart, to its space. */
export async function submitJob(
  c: AppContext,
  space: string,
  caller: Caller,
): Promise<AcceptedJob> {
  const type = c.req.header("content-type") ?? "";
  if (!/^multipart\/form-data\s*(?:;|$)/i.test(type.trim())) {
    const body = validate(submitJobBody, await readJson(c, LIMITS.jsonBodyBytes, EXPECTED));
    return submitBody(c, space, caller, body, []);
  }
  const read = async () => {
    const form = submitOf(readForm(await readBytes(c, LIMITS.uploadBytes), type));
    // A part named `user` is a field of the input, as it always was.
    const user = c.req.query("user");
    if (user === undefined) return form;
    return { ...form, body: { ...form.body, user: validate(userId, user, "`?user=`") } };
  };
  return submitForm(c, space, caller, read);
}

/** Submits a job that comes as a form. @param read reads the form, once it is known that the caller may submit it */
export async function submitForm(
  c: AppContext,
  space: string,
  caller: Caller,
  read: () => Promise<FormSubmit>,
): Promise<AcceptedJob> {
  const described = callSpaceForText(c, space, (stub) => stub.describe(caller, "submit"));
  const settings = parseSettings(await described);
  const { body, files: uploads } = await read();
  const fields = uploads.map(({ field }) => field);
  // Checked before any file is stored; the object checks again when the job arrives.
  const admission = admitInput(settings, body.input, fields);
  if (!admission.ok) throw new ProblemError(admission.code, admission.message);
  const files = await storeFiles(c, space, uploads);
  try {
    const accepted = await submitBody(c, space, caller, body, files);
    if (accepted.isRepeat) await removeStored(c, keysOf(files));
    return accepted;
  } catch (error) {
    // After a refusal there is no job. After any other error it may exist and need its files (decision 0017).
    if (error instanceof ProblemError) await removeStored(c, keysOf(files));
    throw error;
  }
}

/** Removes files that no job has. If that fails, they are removed by the next sweep (decision 0045). */
async function removeStored(c: AppContext, keys: string[]): Promise<void> {
  if (keys.length === 0) return;
  try {
    await c.env.FILES.delete(keys);
  } catch (error) {
    console.error("files without a job could not be removed", error);
  }
}

function keysOf(files: readonly StoredFile[]): string[] {
  return files.map(({ key }) => key);
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
  if (!reply.ok) throw refused(reply);
  return { ulid: reply.ulid, text: reply.body, isRepeat: reply.isRepeat, cancelOnDisconnect };
}

/**
 * Submits jobs to a space's object; returns one reply for each, in order.
 *
 * @param count how many jobs the caller sent, with those that are refused already
 */
export async function submitCalls(
  c: AppContext,
  space: string,
  caller: Caller,
  calls: SubmitCall[],
  count: number = calls.length,
): Promise<SubmitReply[]> {
  type Replies = { ok: true; replies: SubmitReply[] };
  const { replies } = await callSpace<Replies>(c, space, async (stub) => {
    const replies: SubmitReply[] = await stub.submit(caller, calls, count);
    const [first] = replies;
    // A space that is missing, that the caller may not use, or that it sends too much, refuses all jobs alike.
    // `callSpace` creates the object if only that is missing.
    if (first !== undefined && !first.ok && (first.isOfAll || first.code === "space_not_found")) {
      return first;
    }
    return { ok: true, replies };
  });
  return replies;
}

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
  const text = JSON.stringify(input);
  // The object checks this too, but a text that is too large needn't be sent to it and read there.
  const admission = admitSize(byteLength(text));
  if (!admission.ok) throw new ProblemError(admission.code, admission.message);
  return { input: text, files, options: { ...options, ...keyOption } };
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

async function storeFiles(
  c: AppContext,
  space: string,
  uploads: readonly FormPart[],
): Promise<StoredFile[]> {
  await beginSweeps(c.env);
  const folder = newUploadFolder(space);
  const stored = await Promise.allSettled(
    uploads.map((upload, index) => storeFile(c, `${folder}/${index}`, upload)),
  );
  const failed = stored.find((outcome) => outcome.status === "rejected");
  const files = stored.flatMap((outcome) =>
    outcome.status === "fulfilled" ? [outcome.value] : [],
  );
  if (!failed) return files;
  await removeStored(c, keysOf(files));
  throw failed.reason;
}

async function storeFile(
  c: AppContext,
  key: string,
  { field, fileName, type, bytes }: FormPart,
): Promise<StoredFile> {
  const sha256 = createHash("sha256").update(bytes).digest("hex");
  // The bucket checks the sum, and gives it to whoever fetches the file.
  await c.env.FILES.put(key, bytes, { sha256 });
  return {
    field,
    name: displayName(fileName ?? ""),
    content_type: fileType(type),
    size: bytes.length,
    sha256,
    key,
  };
}

/**
 * The file's type as it was sent, with parameters such as those of `audio/webm;codecs=opus`; without them if
 * they are malformed.
 */
function fileType(sent: string | null): string {
  const [essence = ""] = (sent ?? "").split(";", 1);
  if (!/^[\w.+!#$&^-]{1,127}\/[\w.+!#$&^-]{1,127}$/.test(essence.trim())) {
    return "application/octet-stream";
  }
  const isWhole = sent !== null && /^[\x20-\x7e]{1,255}$/.test(sent) && parseParameters(sent);
  return isWhole ? sent : essence.trim();
}
