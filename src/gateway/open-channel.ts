import { type SessionPrincipal, writePrincipal } from "../auth/session.ts";
import { ASKED_HEADER } from "../backend-job/calls.ts";
import { formatPosition, parsePosition } from "../channel/position.ts";
import type { Env } from "../env.ts";
import type { Refusal } from "../objects/reply.ts";
import { SESSION_HEADERS } from "../room/calls.ts";
import { SOCKET_HEADERS } from "../space/calls.ts";
import type { ChannelAddress } from "./proxied-channel.ts";

interface Asked {
  since: string | undefined;
  /** The token names the channel, so that what is private is not for it. */
  mayRead: boolean;
  principal: SessionPrincipal;
  /** What comes of a job is acknowledged. */
  acks: boolean;
}

/** Opens a socket to a space or a job as a subscriber would, or says why there is none. */
export async function openChannel(
  env: Env,
  address: ChannelAddress,
  asked: Asked,
): Promise<WebSocket | { code: string; message: string }> {
  const { stub, headers } = target(env, address, asked);
  const response = await stub.fetch("https://channel/socket", { headers });
  if (response.webSocket) return response.webSocket;
  const { code, detail } = await response.json<Refusal>();
  return { code, message: detail };
}

function target(env: Env, address: ChannelAddress, { since, mayRead, principal, acks }: Asked) {
  const headers = new Headers({ upgrade: "websocket" });
  const position = parsePosition(since);
  const job = address.kind === "job" ? address.id : null;
  const [space, ulid] = job === null ? [] : job.split(/\.(?=[^.]*$)/);
  if (job !== null && ulid === undefined) {
    headers.set(SESSION_HEADERS.principal, writePrincipal(principal));
    if (acks) headers.set(ASKED_HEADER, JSON.stringify({ acks }));
    if (position) headers.set(SESSION_HEADERS.since, formatPosition(position));
    return { stub: env.JOB.getByName(job), headers };
  }
  headers.set(SOCKET_HEADERS.role, "subscriber");
  headers.set(SOCKET_HEADERS.operator, mayRead ? "1" : "0");
  if (position) headers.set(SOCKET_HEADERS.since, formatPosition(position));
  if (ulid !== undefined) headers.set(SOCKET_HEADERS.job, ulid);
  if (ulid !== undefined && acks) headers.set(SOCKET_HEADERS.acks, "1");
  const name = address.kind === "space" ? address.name : (space ?? "");
  return { stub: env.SPACE.getByName(name), headers };
}
