import { callerFor } from "../auth/caller.ts";
import type { SessionPrincipal } from "../auth/session.ts";
import { openJobSocket, type WebSocketResponse } from "../backend-job/open-job.ts";
import { spaceExists } from "../catalog/known-spaces.ts";
import type { Env } from "../env.ts";
import type { Refusal } from "../objects/reply.ts";
import { socketHeaders } from "../objects/socket-request.ts";
import { noSuchSpace } from "../space/calls.ts";
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
  const { since, principal, acks } = request;
  const [space = "", jobUlid] =
    address.kind === "space" ? [address.name] : address.id.split(/\.(?=[^.]*$)/);
  const isJob = address.kind === "job";
  if (isJob && jobUlid === undefined) {
    const socket = { principal, since, acks, relayed: true };
    return socketOf(await openJobSocket(env, address.id, socket));
  }
  if (!(await spaceExists(env.DB, space))) return socketOf(noSuchSpace(space));
  const headers = socketHeaders({
    kind: "subscriber",
    // The gateway closes its client when the token expires, and asks again when it is renewed (R16).
    caller: { ...callerFor(principal), expiresAt: null },
    jobUlid: jobUlid ?? null,
    since,
    // A space does not count what it sends.
    acks: isJob && acks,
    relayed: true,
  });
  const response = await env.SPACE.getByName(space).fetch("https://channel/socket", { headers });
  return response.webSocket ?? socketOf(await response.json<Refusal>());
}

function socketOf(opened: WebSocketResponse | Refusal) {
  if (opened instanceof Response) return opened.webSocket;
  return { code: opened.code, message: opened.detail };
}
