import { Hono } from "hono";
import { ulid } from "ulid";
import { jobReaderOf, mayPublish, maySubscribe, type Principal } from "../auth/principal.ts";
import { socketPrincipalOf } from "../auth/session.ts";
import { NO_SUCH_JOB } from "../backend-job/calls.ts";
import { forgetJob, jobExists, rememberJob } from "../backend-job/job-index.ts";
import type { JobObject } from "../backend-job/job-object.ts";
import { openJobSocket, type WebSocketResponse } from "../backend-job/open-job.ts";
import type { Refusal, Reply } from "../objects/reply.ts";
import type { SocketRequestOf } from "../objects/socket-request.ts";
import { protocolHeader } from "../objects/subprotocol.ts";
import {
  backendJobId,
  backendJobResource,
  backendReport,
  backendSocketQuery,
  createBackendJobBody,
  type ReportType,
} from "../protocol/backend-jobs.ts";
import { byteLength } from "../protocol/codec.ts";
import { LIMITS } from "../protocol/limits.ts";
import { jsonObject } from "../protocol/values.ts";
import { admitSize } from "../queue/admission.ts";
import { note } from "./audit.ts";
import { readJson } from "./body.ts";
import { clientAddressOf } from "./client-request.ts";
import { type AppContext, type AppEnv, answerJson, refused } from "./context.ts";
import { STREAM_HEADERS } from "./event-stream-writer.ts";
import { readFrames } from "./follow.ts";
import { sinceOf, streamFrames } from "./job-events.ts";
import { headerPrincipalOf, principalOf } from "./principal.ts";
import { ProblemError, validate } from "./problems.ts";
import { openOrRefuse } from "./room-sockets.ts";

/** The pattern allows no dot, so that it never matches the id of a job of a space. */
const JOB = "/:job{[\\w-]{1,64}}";

/** `/api/jobs`: jobs without a space, which a backend creates and whose progress it reports. */
export const backendJobs = new Hono<AppEnv>()
  .post("/", createJob)
  .get(JOB, async (c) => {
    const { text } = await readJob(c);
    return answerJson(c, text);
  })
  .delete(JOB, eraseJob)
  .get(`${JOB}/events`, jobEvents)
  .post(`${JOB}/progress`, (c) => reportJob(c, "progress"))
  .post(`${JOB}/output`, (c) => reportJob(c, "output"))
  .post(`${JOB}/complete`, (c) => reportJob(c, "complete"))
  .post(`${JOB}/fail`, (c) => reportJob(c, "fail"))
  .post(`${JOB}/cancel`, (c) => reportJob(c, "cancel"));

/** Whether the path contains the id of a job without a space. */
export function isBackendJob(c: AppContext): boolean {
  return backendJobId.safeParse(c.req.param("job")).success;
}

/** Opens a socket of the job, for subscribers and for the backend that reports the job. */
export async function openBackendJob(c: AppContext): Promise<Response> {
  const { ping, max_rate, acks } = validate(backendSocketQuery, c.req.query());
  const maxRate = max_rate ?? null;
  const since = c.req.query("since");
  const socket = { pingS: ping ?? null, maxRate, acks: acks === "1", since };
  return openOrRefuse(c, async () => {
    const principal = await principalOf(c);
    return openSocket(c, principal, socket);
  });
}

async function createJob(c: AppContext): Promise<Response> {
  const principal = await principalOf(c);
  const body = validate(createBackendJobBody, await readJson(c, LIMITS.jsonBodyBytes));
  const { id = ulid() } = body;
  requireReporter(principal, id);
  const admission = admitSize(byteLength(JSON.stringify(body.input)));
  if (!admission.ok) throw new ProblemError(admission.code, admission.message);
  const reply = await stubOf(c, id).create(JSON.stringify(body));
  if (!reply.ok) throw problemOf(reply, principal);
  rememberJob(id);
  c.header("location", `/api/jobs/${id}`);
  return answerJson(c, reply.body, reply.isRepeat ? 200 : 201);
}

async function reportJob(c: AppContext, type: ReportType): Promise<Response> {
  const id = jobIdParam(c);
  const principal = await principalOf(c);
  requireReporter(principal, id);
  // A cancel needs no reason, and so no body.
  const isBare = type === "cancel" && c.req.header("content-type") === undefined;
  const body = isBare ? {} : await readJson(c, LIMITS.jsonBodyBytes);
  const report = validate(backendReport, { ...validate(jsonObject, body), type });
  const text = JSON.stringify(report);
  return answerJson(c, await callJob(c, id, principal, (stub) => stub.report(text)));
}

/** For whoever may report it. */
async function eraseJob(c: AppContext): Promise<Response> {
  const id = jobIdParam(c);
  const principal = await headerPrincipalOf(c);
  requireReporter(principal, id);
  await callJob(c, id, principal, (stub) => stub.job(true));
  await stubOf(c, id).eraseNow();
  forgetJob(id);
  await note(c, "job.delete", `job:${id}`);
  return c.body(null, 204);
}

async function readJob(c: AppContext): Promise<{ text: string; principal: Principal }> {
  const id = jobIdParam(c);
  const principal = await principalOf(c);
  const mayRead = maySubscribe(principal, `job:${id}`) || mayPublish(principal, `job:${id}`);
  const text = await callJob(c, id, principal, (stub) => stub.job(mayRead, jobReaderOf(principal)));
  return { text, principal };
}

/** Answers with server-sent events: the frames of the job's socket, each with its position as `id`. */
async function jobEvents(c: AppContext): Promise<Response> {
  const { text, principal } = await readJob(c);
  if (c.req.method === "HEAD") return c.body(null, 200, STREAM_HEADERS);
  const isOver = backendJobResource.parse(JSON.parse(text)).completed_at !== null;
  return streamFrames(c, { isOver }, async (handlers) => {
    const socket = { mustExist: true, relayed: true, since: sinceOf(c) };
    const { webSocket } = await openSocket(c, principal, socket);
    return readFrames(webSocket, handlers);
  });
}

/** Passes on none of the client's headers except its subprotocol. */
async function openSocket(
  c: AppContext,
  principal: Principal,
  socket: Partial<SocketRequestOf<"backend-job">>,
): Promise<WebSocketResponse> {
  const address = clientAddressOf(c);
  const request = { ...socket, principal: socketPrincipalOf(principal), address };
  const opened = await openJobSocket(c.env, jobIdParam(c), request, protocolHeader(c.req.raw));
  if (opened instanceof Response) return opened;
  throw problemOf(opened, principal);
}

function requireReporter(principal: Principal, id: string): void {
  if (mayPublish(principal, `job:${id}`)) return;
  if (principal.kind === "anonymous") {
    const detail = "Reporting a job needs a token: `Authorization: Bearer <token>` or `?token=`.";
    throw new ProblemError("not_authenticated", detail);
  }
  const detail = `Your token does not let you publish to job:${id}: its claim \`publish\` does not name it.`;
  throw new ProblemError("not_allowed", detail);
}

/** Answers a malformed id in the same way as the id of a job that doesn't exist. */
function jobIdParam(c: AppContext): string {
  const id = backendJobId.safeParse(c.req.param("job"));
  if (!id.success) throw new ProblemError(NO_SUCH_JOB.code, NO_SUCH_JOB.detail);
  return id.data;
}

function stubOf(c: AppContext, id: string): DurableObjectStub<JobObject> {
  return c.env.JOB.getByName(id);
}

/** Calls the object of a job that the index lists, and returns the JSON text of its answer. */
async function callJob(
  c: AppContext,
  id: string,
  principal: Principal,
  call: (stub: DurableObjectStub<JobObject>) => PromiseLike<Reply>,
): Promise<string> {
  const reply = (await jobExists(c.env, id)) ? await call(stubOf(c, id)) : NO_SUCH_JOB;
  if (reply.ok) return reply.body;
  if (reply.code === NO_SUCH_JOB.code) forgetJob(id);
  throw problemOf(reply, principal);
}

/** A client without a token gets 401 instead of 403: a token might give it the right. */
function problemOf(refusal: Refusal, principal: Principal): ProblemError {
  const { code, detail } = refusal;
  const isStranger = code === "not_allowed" && principal.kind === "anonymous";
  return isStranger ? new ProblemError("not_authenticated", detail) : refused(refusal);
}
