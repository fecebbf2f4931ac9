import { z } from "zod";
import type { Caller } from "../auth/caller.ts";
import { byteLength } from "../protocol/codec.ts";
import { LIMITS } from "../protocol/limits.ts";
import {
  idempotencyKey,
  type SubmitJobBody,
  schemaResource,
  submitJobBody,
} from "../protocol/resources.ts";
import { userId } from "../protocol/values.ts";
import { type Admission, admitInput, admitSize } from "../queue/admission.ts";
import type { GivenFile, SubmitCall, SubmitReply } from "../space/calls.ts";
import { readJson } from "./body.ts";
import { type AppContext, callSpace, callSpaceForText, parseSettings, refused } from "./context.ts";
import { type ReceivedForm, receiveForm } from "./form-intake.ts";
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
  const described = await callSpaceForText(c, space, (stub) => stub.describe(caller, "submit"));
  const { schema } = formSpace.parse(JSON.parse(described));
  // Checked before a file is stored; the object checks again when the job arrives. A schema says what is taken instead
  // of the switches.
  const form = await receiveForm(c, space, schema?.input ? {} : { admit: switchedOn(described) });
  return submitForm(c, space, caller, form, c.req.query("user"));
}

/**
 * Submits a job that came as a form. If there is no job of it, its files are removed.
 *
 * @param user whose job it is, from the address: a part named `user` is a field of the input, as it always was
 */
export async function submitForm(
  c: AppContext,
  space: string,
  caller: Caller,
  form: ReceivedForm,
  user?: string,
): Promise<AcceptedJob> {
  try {
    const { body, texts, files } = submitOf(form);
    const owned = user === undefined ? body : { ...body, user: validate(userId, user, "`?user=`") };
    const accepted = await submitBody(c, space, caller, owned, files, texts);
    if (accepted.isRepeat) await form.discard();
    return accepted;
  } catch (error) {
    // After a refusal there is no job. After any other error it may exist and need its files (decision 0017).
    if (error instanceof ProblemError) await form.discard();
    throw error;
  }
}

const formSpace = z.object({ schema: schemaResource.pick({ input: true }).nullish() });

/** Refuses a file whose field the space's settings don't enable. */
function switchedOn(described: string): (field: string) => void {
  const settings = parseSettings(described);
  return (field) => requireAdmitted(admitInput(settings, {}, [field]));
}

function requireAdmitted(admission: Admission): void {
  if (!admission.ok) throw new ProblemError(admission.code, admission.message);
}

async function submitBody(
  c: AppContext,
  space: string,
  caller: Caller,
  body: SubmitJobBody,
  files: GivenFile[],
  texts: string[] = [],
): Promise<AcceptedJob> {
  const cancelOnDisconnect = body.cancel_on_disconnect === true;
  const call = submitCallOf(body, files, c.req.header("idempotency-key"));
  const [reply] = await submitCalls(c, space, caller, [
    texts.length === 0 ? call : { ...call, texts },
  ]);
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
 *
 * @param files those of a form, besides the uploads that the body names
 */
export function submitCallOf(
  body: SubmitJobBody,
  files: GivenFile[],
  key: string | undefined,
): SubmitCall {
  const { input, files: uploads = [], cancel_on_disconnect: _, ...options } = body;
  const keyOption =
    key === undefined
      ? {}
      : { idempotency_key: validate(idempotencyKey, key, "`Idempotency-Key`") };
  const text = JSON.stringify(input);
  // The object checks this too, but a text that is too large needn't be sent to it and read there.
  requireAdmitted(admitSize(byteLength(text)));
  return { input: text, files: [...files, ...uploads], options: { ...options, ...keyOption } };
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
