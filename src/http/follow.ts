import { formatPosition, parsePosition } from "../channel/position.ts";
import type { Refusal } from "../objects/reply.ts";
import { CLOSE } from "../protocol/codes.ts";
import { SOCKET_HEADERS } from "../space/calls.ts";
import { type AppContext, ofJob, reach } from "./context.ts";
import { addressOf } from "./rate.ts";

interface SocketCall {
  role: "worker" | "subscriber";
  operator: boolean;
  tokenId?: string;
  job?: string;
  since?: string;
  /** The job is canceled when the socket breaks off. */
  leaving?: boolean;
  maxRate?: number;
  /** It acknowledges what arrives. */
  acks?: boolean;
  /** It reads and writes frames in batches. */
  batch?: boolean;
}

/**
 * Opens a socket to a space's object; nothing of the client's own headers but its protocols goes in.
 *
 * @throws {ProblemError} where the object refuses it
 */
export async function openSocket(
  c: AppContext,
  space: string,
  call: SocketCall,
): Promise<SocketResponse> {
  const headers = socketHeaders(c, call);
  const { response } = await reach(c, space, async (stub) => {
    const response = await stub.fetch("https://space/socket", { headers });
    if (!response.webSocket) return response.json<Refusal>();
    return { ok: true as const, response: response as SocketResponse };
  });
  return response;
}

type SocketResponse = Response & { webSocket: WebSocket };

function socketHeaders(c: AppContext, call: SocketCall): Headers {
  const headers = new Headers({ upgrade: "websocket" });
  headers.set(SOCKET_HEADERS.role, call.role);
  headers.set(SOCKET_HEADERS.origin, new URL(c.req.url).origin);
  headers.set(SOCKET_HEADERS.operator, call.operator ? "1" : "0");
  headers.set(SOCKET_HEADERS.address, addressOf(c));
  if (call.leaving) headers.set(SOCKET_HEADERS.leaving, "1");
  if (call.batch) headers.set(SOCKET_HEADERS.batch, "1");
  if (call.acks) headers.set(SOCKET_HEADERS.acks, "1");
  if (call.maxRate !== undefined) headers.set(SOCKET_HEADERS.maxRate, String(call.maxRate));
  if (call.tokenId !== undefined) headers.set(SOCKET_HEADERS.tokenId, call.tokenId);
  if (call.job !== undefined) headers.set(SOCKET_HEADERS.job, call.job);
  const since = parsePosition(call.since);
  if (since) headers.set(SOCKET_HEADERS.since, formatPosition(since));
  const protocols = c.req.header("sec-websocket-protocol");
  if (protocols !== undefined) headers.set("sec-websocket-protocol", protocols);
  return headers;
}

/** What reads a socket's frames. */
export interface FrameHandlers {
  onFrame: (text: string) => void;
  onEnd: () => void;
}

/** Ends what is read, as done or because its reader is gone. */
export type StopReading = (close?: "done" | "goingAway") => void;

/** The frames of one job, for transports that are no sockets; what is returned ends it. */
export async function followJob(
  c: AppContext,
  job: { space: string; ulid: string },
  follow: FrameHandlers & { operator: boolean; since?: string; leaving?: boolean },
): Promise<StopReading> {
  const { operator, since, leaving } = follow;
  const call = { role: "subscriber", operator, job: job.ulid, since, leaving } as const;
  const { webSocket } = await ofJob(openSocket(c, job.space, call));
  return readFrames(webSocket, follow);
}

/** Reads an object's socket in the Worker itself. */
export function readFrames(socket: WebSocket, { onFrame, onEnd }: FrameHandlers): StopReading {
  socket.addEventListener("message", ({ data }) => {
    if (typeof data === "string") onFrame(data);
  });
  socket.addEventListener("close", () => {
    socket.close();
    onEnd();
  });
  socket.addEventListener("error", onEnd);
  socket.accept();
  return (close = "done") => socket.close(CLOSE[close].code);
}
