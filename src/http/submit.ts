import { createHash } from "node:crypto";
import { ulid } from "ulid";
import type { ProblemCode } from "../protocol/codes.ts";
import { displayName } from "../protocol/file-name.ts";
import { LIMITS } from "../protocol/limits.ts";
import { idempotencyKey, type SubmitJobBody, submitJobBody } from "../protocol/resources.ts";
import { admitInput } from "../queue/admission.ts";
import type { StoredFile } from "../queue/job.ts";
import { type Caller, PRIVATE_SPACE, type SubmitCall, type SubmitReply } from "../space/calls.ts";
import { readBytes, readJson } from "./body.ts";
import { clientAddressOf, isFromThisMachine } from "./client-request.ts";
import { type AppContext, callSpace, callSpaceForText, parseSettings, refused } from "./context.ts";
import { type FormPart, readForm } from "./form.ts";
import { parseParameters } from "./header-parameters.ts";
import { ProblemError, validate } from "./problems.ts";
import { submitOf } from "./submit-form.ts";

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
  const settings = parseSettings(await callSpaceForText(c, space, (stub) => stub.describe(caller)));
  const parts = readForm(await readBytes(c, LIMITS.uploadBytes), type);
  const { body, files: uploads } = submitOf(parts);
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
  const submitter = { ...caller, local: isFromThisMachine(c), address: clientAddressOf(c) };
  const { replies } = await callSpace(c, space, async (stub) => {
    const replies: SubmitReply[] = await stub.submit(submitter, calls, count);
    const [first] = replies;
    // The whole call was refused: every reply says so. `callSpace` creates the object if only that is missing.
    const isRefused = first && !first.ok && REFUSES_ALL.has(first.code);
    return isRefused ? first : { ok: true as const, replies };
  });
  return replies;
}

/** A space that is missing, that the caller may not use, or that it sends too much, refuses all jobs alike. */
const REFUSES_ALL: ReadonlySet<string> = new Set<ProblemCode>([
  "space_not_found",
  "rate_limited",
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

async function storeFiles(
  c: AppContext,
  space: string,
  uploads: readonly FormPart[],
): Promise<StoredFile[]> {
  const folder = `spaces/${space}/inputs/${ulid()}`;
  return Promise.all(
    uploads.map(async ({ field, fileName, type, bytes }, index) => {
      const key = `${folder}/${index}`;
      await c.env.FILES.put(key, bytes);
      return {
        field,
        name: displayName(fileName ?? ""),
        content_type: fileType(type),
        size: bytes.length,
        sha256: createHash("sha256").update(bytes).digest("hex"),
        key,
      };
    }),
  );
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
