import { Hono } from "hono";
import type { ContentfulStatusCode } from "hono/utils/http-status";
import { bearerOf } from "../auth/operator.ts";
import type { Principal } from "../auth/principal.ts";
import { LIMITS } from "../protocol/limits.ts";
import type { JobResource, SpaceResource } from "../protocol/resources.ts";
import { callerOf } from "./access.ts";
import { readBytes } from "./body.ts";
import {
  type AppContext,
  type AppEnv,
  callJobForText,
  callSpaceForText,
  parseJobId,
  spaceParam,
} from "./context.ts";
import { isCsrfTokenOf, newCsrfToken, type Session } from "./csrf-token.ts";
import { type FormPart, readForm, textOf } from "./form.ts";
import { principalOf, setSession } from "./principal.ts";
import { answerError, ProblemError } from "./problems.ts";
import { limitRate } from "./rate.ts";
import { noStore, requireAccount, sessionInCookie, sessionOf } from "./session.ts";
import { submitForm } from "./submit.ts";
import { submitOf } from "./submit-form.ts";

/**
 * `/websockets`: the calls of the system that came before Dialout, with its fields and its answers, so that its pages
 * keep working (decision 0053, docs/moving.md).
 */
export const firstSystem = new Hono<AppEnv>()
  .use(noStore)
  .get("/csrf-token", async (c) => {
    const session = await requireAccount(c);
    return c.json({ csrf_token: newCsrfToken(c, session) });
  })
  .post("/submit/:space", async (c) => {
    const session = await requireSender(c);
    const parts = await readParts(c);
    if (session !== null) requireToken(c, session, parts);
    const caller = await callerOf(c);
    await limitRate(c, caller);
    const space = spaceParam(c);
    const { ulid } = await submitForm(c, space, caller, async () => submitOf(asJob(parts)));
    const connection = await connectionOf(c, space);
    return c.json({
      success: true,
      request_id: `${space}.${ulid}`,
      status: "queued",
      ...connection,
    });
  })
  .get("/status", async (c) => {
    const id = c.req.query("request_id") ?? "";
    if (id === "") return c.json({ error: "Missing request_id" }, 400);
    const job = parseJobId(id);
    const caller = await callerOf(c);
    if (job === null) throw new ProblemError("job_not_found", "Request not found");
    const text = await callJobForText(c, job.space, (stub) => stub.job(caller, job.ulid));
    return c.json({ ...statusOf(JSON.parse(text)), ...(await connectionIfSeen(c, job.space)) });
  })
  .get("/connection/:space", async (c) => c.json(await connectionOf(c, spaceParam(c))))
  .onError((error, c) => answerAsBefore(error, c));

/** What it told of the connection to the program that does the work. */
async function connectionOf(c: AppContext, space: string) {
  const caller = await callerOf(c);
  const text = await callSpaceForText(c, space, (stub) => stub.describe(caller));
  const { status }: Pick<SpaceResource, "status"> = JSON.parse(text);
  return { connected: status.worker === "connected", queue_size: status.queue_size };
}

/** The same for who may see a job: its space may be closed to them. */
async function connectionIfSeen(c: AppContext, space: string) {
  try {
    return await connectionOf(c, space);
  } catch (error) {
    const isHidden =
      error instanceof ProblemError &&
      (error.code === "space_not_found" || error.code === "not_authenticated");
    if (isHidden) return { connected: null, queue_size: null };
    throw error;
  }
}

/** Its pages ask until a request is `completed` or `failed`: they know no other end. */
function statusOf(job: JobResource) {
  const { id, status, progress, queue_position, outputs, created_at, updated_at } = job;
  return {
    request_id: id,
    status: status === "canceled" ? "failed" : status,
    result: status === "completed" ? (job.result ?? job.output) : null,
    error: job.error?.message ?? (status === "canceled" ? "The request was canceled." : null),
    created_at,
    updated_at,
    progress,
    queue_position,
    outputs,
  };
}

/**
 * Who sends a request: somebody who is signed in, or `null`: a program with a key or token.
 *
 * @throws {ProblemError} for anybody else
 */
async function requireSender(c: AppContext): Promise<Session | null> {
  // Anything else in this header, such as what a proxy asks browsers for, shows nobody.
  if (bearerOf(c.req.header("authorization")) !== null) {
    await principalOf(c);
    return null;
  }
  const session = await sessionOfSender(c);
  if (session.kind === "account") return session;
  throw new ProblemError("not_authenticated", "Sign in first.");
}

/** @throws {CsrfError} if the request doesn't show a token of its session */
function requireToken(c: AppContext, session: Session, parts: readonly FormPart[]): void {
  const token = c.req.header("x-csrftoken") ?? c.req.header("x-csrf-token") ?? fieldOf(parts);
  if (!token) throw new CsrfError("The CSRF token is missing.");
  if (!isCsrfTokenOf(c, session, token)) throw new CsrfError("The CSRF token is invalid.");
  setSession(c, session);
}

/**
 * A page of another origin that has got hold of a token must not use it either. Programs name no origin: the token
 * shows that they mean it.
 */
function sessionOfSender(c: AppContext): Promise<Principal> {
  return c.req.header("origin") === undefined ? sessionInCookie(c) : sessionOf(c);
}

const TOKEN_FIELD = "csrf_token";

function fieldOf(parts: readonly FormPart[]): string | undefined {
  const part = parts.find(({ field, fileName }) => field === TOKEN_FIELD && fileName === null);
  return part && textOf(part);
}

/** Its forms came in both ways that browsers know. */
async function readParts(c: AppContext): Promise<FormPart[]> {
  const type = c.req.header("content-type") ?? "";
  if (/^multipart\/form-data\s*(?:;|$)/i.test(type.trim())) {
    return readForm(await readBytes(c, LIMITS.uploadBytes), type);
  }
  if (/^application\/x-www-form-urlencoded\s*(?:;|$)/i.test(type.trim())) {
    return partsOf(await readBytes(c, LIMITS.jsonBodyBytes));
  }
  const detail = "Send a form: `multipart/form-data` or `application/x-www-form-urlencoded`.";
  throw new ProblemError("unsupported_media_type", detail);
}

function partsOf(body: Uint8Array<ArrayBuffer>): FormPart[] {
  const fields = [...new URLSearchParams(new TextDecoder().decode(body))];
  if (fields.length > LIMITS.formParts) {
    const detail = `The form has ${fields.length} fields; ${LIMITS.formParts} are allowed.`;
    throw new ProblemError("payload_too_large", detail);
  }
  const encoder = new TextEncoder();
  return fields.map(([field, text]) => ({
    field,
    fileName: null,
    type: null,
    bytes: Uint8Array.from(encoder.encode(text)),
  }));
}

/** The fields of its forms, by the names that a job has for them. */
const FIELDS = new Map([
  ["audio_url", "audio"],
  ["audio_file", "audio"],
  ["video_file", "video"],
  ["other_file", "file"],
]);

/** Fields that were left empty are not part of the job: its pages sent all of them. */
function asJob(parts: readonly FormPart[]): FormPart[] {
  return parts
    .filter(({ field, bytes }) => field !== TOKEN_FIELD && bytes.length > 0)
    .map((part) => ({ ...part, field: FIELDS.get(part.field) ?? part.field }));
}

/** Answered with the status that its library gave such a form. */
class CsrfError extends Error {}

const STATUS = new Map<number, ContentfulStatusCode>([
  [409, 503],
  [422, 400],
]);

/** Answers as it did: `{error}`, and for too many requests `retry_after`, seconds. */
async function answerAsBefore(error: Error, c: AppContext): Promise<Response> {
  if (error instanceof CsrfError) return c.json({ error: error.message }, 400);
  const answer = answerError(error, c);
  const { detail, code }: { detail: string; code: string } = await answer.json();
  const headers = new Headers(answer.headers);
  headers.set("content-type", "application/json");
  const wait = answer.status === 429 ? { retry_after: Number(headers.get("retry-after")) } : {};
  const status = STATUS.get(answer.status) ?? answer.status;
  return new Response(JSON.stringify({ error: detail, code, ...wait }), { status, headers });
}
