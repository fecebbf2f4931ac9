import type { SessionPrincipal } from "../auth/session.ts";
import type { Env } from "../env.ts";
import type { Refusal } from "../objects/reply.ts";
import { socketHeaders } from "../objects/socket-request.ts";
import type { ChannelAddress } from "./proxied-channel.ts";

interface ChannelRequest {
  since: string | undefined;
  principal: SessionPrincipal;
  /** The client acknowledges a job's events. */
  acks: boolean;
}

/** Opens a socket to a space or a job as a subscriber would, or returns why there is none. */
export async function openChannel(
  env: Env,
  address: ChannelAddress,
  request: ChannelRequest,
): Promise<WebSocket | { code: string; message: string }> {
  const { stub, headers } = target(env, address, request);
  const response = await stub.fetch("https://channel/socket", { headers });
  if (response.webSocket) return response.webSocket;
  const { code, detail } = await response.json<Refusal>();
  return { code, message: detail };
}

function target(env: Env, address: ChannelAddress, { since, principal, acks }: ChannelRequest) {
  const job = address.kind === "job" ? address.id : null;
  const [space = "", jobUlid] = job === null ? [] : job.split(/\.(?=[^.]*$)/);
  if (job !== null && jobUlid === undefined) {
    const headers = socketHeaders({ kind: "backend-job", principal, since, acks });
    return { stub: env.JOB.getByName(job), headers };
  }
  const isJob = jobUlid !== undefined;
  const headers = socketHeaders({
    kind: "subscriber",
    // No token opens a private space, whatever it names: only the operator's key does (H1a).
    operator: principal.kind === "operator",
    jobUlid: jobUlid ?? null,
    since,
    // A space does not count what it sends.
    acks: isJob && acks,
  });
  const name = address.kind === "space" ? address.name : space;
  return { stub: env.SPACE.getByName(name), headers };
}
