import type { Env } from "../env.ts";
import { RATES } from "../objects/rate-limiter.ts";
import type { Refusal } from "../objects/reply.ts";
import { type SocketRequestOf, socketHeaders } from "../objects/socket-request.ts";
import { NO_SUCH_JOB } from "./calls.ts";
import { forgetJob, indexOf, jobExists } from "./job-index.ts";
import { JobRelay } from "./job-relay.ts";
import { mayReport } from "./socket-attachment.ts";

type JobSocketRequest = Partial<SocketRequestOf<"backend-job">> &
  Pick<SocketRequestOf<"backend-job">, "principal">;

type JobEnv = Pick<Env, "JOB" | "JOB_INDEX">;

/**
 * Opens a socket of a job without a space. Unless `mustExist` is set, a socket of a job that nobody has made yet waits
 * for it, without an object of that job.
 *
 * @param protocol the header with the client's subprotocol, if it offered one
 */
export async function openJobSocket(
  env: JobEnv,
  id: string,
  request: JobSocketRequest,
  protocol: Record<string, string> = {},
): Promise<WebSocketResponse | Refusal> {
  if (await jobExists(env, id)) {
    const opened = await openAtJob(env, id, request, protocol);
    if (opened instanceof Response || opened.code !== NO_SUCH_JOB.code) return opened;
    forgetJob(id);
  }
  if (request.mustExist) return NO_SUCH_JOB;
  const headers = socketHeaders({ ...request, kind: "backend-job" });
  const response = await indexOf(env, id).fetch(`https://index/${id}`, { headers });
  const { webSocket: waiting } = response;
  if (!waiting) return response.json<Refusal>();
  const { 0: client, 1: server } = new WebSocketPair();
  new JobRelay(server, waiting, {
    id,
    rate: mayReport(id, request.principal) ? RATES.backend : RATES.client,
    openJob: async (since) => {
      const opened = await openAtJob(env, id, { ...request, since, waited: true });
      return opened instanceof Response ? opened.webSocket : opened;
    },
  });
  return new Response(null, {
    status: 101,
    webSocket: client,
    headers: protocol,
  }) as WebSocketResponse;
}

export type WebSocketResponse = Response & { webSocket: WebSocket };

async function openAtJob(
  env: JobEnv,
  id: string,
  request: JobSocketRequest,
  protocol: Record<string, string> = {},
): Promise<WebSocketResponse | Refusal> {
  const headers = socketHeaders({ ...request, kind: "backend-job" }, protocol);
  const response = await env.JOB.getByName(id).fetch("https://job/socket", { headers });
  return response.webSocket ? (response as WebSocketResponse) : response.json<Refusal>();
}
