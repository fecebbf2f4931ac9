import type { Refusal } from "../objects/reply.ts";
import { type SocketRequestOf, socketHeaders } from "../objects/socket-request.ts";
import { CLOSE } from "../protocol/codes.ts";
import { type AppContext, callSpace, hidingTheSpace } from "./context.ts";
import { clientAddressOf } from "./rate.ts";

type SpaceSocket =
  | Pick<SocketRequestOf<"worker">, "kind" | "tokenId" | "batch">
  | (Pick<SocketRequestOf<"subscriber">, "kind" | "operator"> &
      Partial<SocketRequestOf<"subscriber">>);

/**
 * Opens a socket to a space's object; of the client's own headers only its subprotocols are passed on.
 *
 * @throws {ProblemError} if the object refuses it
 */
export async function openSocket(
  c: AppContext,
  space: string,
  socket: SpaceSocket,
): Promise<SocketResponse> {
  const { origin } = new URL(c.req.url);
  const protocols = c.req.header(PROTOCOLS);
  const headers = socketHeaders(
    socket.kind === "worker"
      ? { ...socket, origin }
      : { ...socket, origin, address: clientAddressOf(c) },
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
  const socket = { kind: "subscriber", operator, jobUlid: job.ulid, since, leaving } as const;
  const { webSocket } = await hidingTheSpace(openSocket(c, job.space, socket));
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
