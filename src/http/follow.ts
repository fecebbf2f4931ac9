import type { Caller } from "../auth/caller.ts";
import type { Refusal } from "../objects/reply.ts";
import { type SocketRequestOf, socketHeaders } from "../objects/socket-request.ts";
import { isAnnouncement } from "../protocol/announcement.ts";
import { CLOSE } from "../protocol/codes.ts";
import { publicOriginOf } from "./client-request.ts";
import { type AppContext, callSpace, maskMissingSpace } from "./context.ts";

type SpaceSocketRequest =
  | Pick<SocketRequestOf<"worker">, "kind" | "tokenId" | "checkedAt" | "batch">
  | (Pick<SocketRequestOf<"subscriber">, "kind" | "caller"> &
      Partial<SocketRequestOf<"subscriber">>);

/**
 * Opens a socket to a space's object. None of the client's headers are passed on except its subprotocols.
 *
 * @throws {ProblemError} if the object refuses it
 */
export async function openSocket(
  c: AppContext,
  space: string,
  socket: SpaceSocketRequest,
): Promise<SocketResponse> {
  const origin = publicOriginOf(c);
  const protocols = c.req.header(PROTOCOLS);
  const headers = socketHeaders(
    { ...socket, origin },
    protocols === undefined ? {} : { [PROTOCOLS]: protocols },
  );
  const { response } = await callSpace(c, space, async (stub) => {
    const response = await stub.fetch("https://space/socket", { headers });
    if (!response.webSocket) return response.json<Refusal>();
    return { ok: true as const, response: response as SocketResponse };
  });
  return response;
}

const PROTOCOLS = "sec-websocket-protocol";

type SocketResponse = Response & { webSocket: WebSocket };

/** Receives the frames of a socket. `onEnd` may be called more than once. */
export interface FrameHandlers {
  onFrame: (text: string) => void;
  onEnd: (close: SocketClose) => void;
}

/** How a socket closed. */
export interface SocketClose {
  code: number;
  reason: string;
}

/** The socket broke off without a close. */
const BROKEN: SocketClose = { code: CLOSE.restart.code, reason: "" };

/** Closes the socket that is being read, because everything was read or because the reader has left. */
export type StopReading = (close?: "done" | "goingAway") => void;

/** Reads the frames of one job over a socket of its space, for transports other than sockets (decision 0009). */
export async function followJob(
  c: AppContext,
  job: { space: string; ulid: string },
  follow: FrameHandlers & { caller: Caller; since?: string; cancelOnDisconnect?: boolean },
): Promise<StopReading> {
  const { caller, since, cancelOnDisconnect: leaving } = follow;
  const { ulid: jobUlid } = job;
  const socket = {
    kind: "subscriber",
    caller,
    jobUlid,
    since,
    leaving,
    relayed: true,
  } as const;
  const { webSocket } = await maskMissingSpace(openSocket(c, job.space, socket));
  return readFrames(webSocket, follow);
}

/** Reads the frames of an object's socket here, in the Worker, instead of passing the socket to the client. */
export function readFrames(socket: WebSocket, { onFrame, onEnd }: FrameHandlers): StopReading {
  socket.addEventListener("message", ({ data }) => {
    if (typeof data === "string" && !isAnnouncement(data)) onFrame(data);
  });
  socket.addEventListener("close", ({ code, reason }) => {
    socket.close();
    onEnd({ code, reason });
  });
  socket.addEventListener("error", () => onEnd(BROKEN));
  socket.accept();
  return (close = "done") => socket.close(CLOSE[close].code);
}
