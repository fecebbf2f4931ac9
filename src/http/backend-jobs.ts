import { Hono } from "hono";
import { ulid } from "ulid";
import { mayPublish, maySubscribe, type Principal } from "../auth/principal.ts";
import { socketPrincipalOf } from "../auth/session.ts";
import { NO_SUCH_JOB } from "../backend-job/calls.ts";
import type { JobObject } from "../backend-job/job-object.ts";
import type { Refusal, Reply } from "../objects/reply.ts";
import { type SocketRequestOf, socketHeaders } from "../objects/socket-request.ts";
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
import { readJson } from "./body.ts";
import { clientAddressOf } from "./client-request.ts";
import { type AppContext, type AppEnv, answerJson, refused } from "./context.ts";
import { STREAM_HEADERS } from "./event-stream-writer.ts";
import { readFrames } from "./follow.ts";
import { sinceOf, streamFrames } from "./job-events.ts";
import { principalOf } from "./principal.ts";
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
    const response = await openSocket(c, principal, socket);
    if (response.webSocket) return response;
    throw problemOf(await response.json<Refusal>(), principal);
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
  return answerJson(c, bodyOf(await stubOf(c, id).report(JSON.stringify(report)), principal));
}

async function readJob(c: AppContext): Promise<{ text: string; principal: Principal }> {
  const id = jobIdParam(c);
  const principal = await principalOf(c);
  const mayRead = maySubscribe(principal, `job:${id}`) || mayPublish(principal, `job:${id}`);
  return { text: bodyOf(await stubOf(c, id).job(mayRead), principal), principal };
}

/** Answers with server-sent events: the frames of the job's socket, each with its position as `id`. */
async function jobEvents(c: AppContext): Promise<Response> {
  const { text, principal } = await readJob(c);
  if (c.req.method === "HEAD") return c.body(null, 200, STREAM_HEADERS);
  const isOver = backendJobResource.parse(JSON.parse(text)).completed_at !== null;
  return streamFrames(c, { isOver }, async (handlers) => {
    const response = await openSocket(c, principal, {
      mustExist: true,
      relayed: true,
      since: sinceOf(c),
    });
    const { webSocket } = response;
    if (!webSocket) throw problemOf(await response.json<Refusal>(), principal);
    return readFrames(webSocket, handlers);
  });
}

/** Passes on none of the client's headers except its subprotocol. */
function openSocket(
  c: AppContext,
  principal: Principal,
  socket: Partial<SocketRequestOf<"backend-job">>,
): Promise<Response> {
  const headers = socketHeaders(
    {
      ...socket,
      kind: "backend-job",
      principal: socketPrincipalOf(principal),
      address: clientAddressOf(c),
    },
    protocolHeader(c.req.raw),
  );
  return stubOf(c, jobIdParam(c)).fetch("https://job/socket", { headers });
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

function bodyOf(reply: Reply, principal: Principal): string {
  if (reply.ok) return reply.body;
  throw problemOf(reply, principal);
}

/** A client without a token gets 401 instead of 403: a token might give it the right. */
function problemOf(refusal: Refusal, principal: Principal): ProblemError {
  const { code, detail } = refusal;
  const isStranger = code === "not_allowed" && principal.kind === "anonymous";
  return isStranger ? new ProblemError("not_authenticated", detail) : refused(refusal);
}
