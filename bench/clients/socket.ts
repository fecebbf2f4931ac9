import { once } from "node:events";
import { WebSocket } from "ws";

/** An open socket; `hear` gets every text message parsed, from the first. */
export async function openSocket(
  url: string,
  hear: (frame: Frame) => void,
  headers: Record<string, string> = {},
): Promise<WebSocket> {
  const socket = new WebSocket(url.replace(/^http/, "ws"), { headers, perMessageDeflate: false });
  socket.on("message", (data) => {
    const text = String(data);
    if (text !== "pong") hear(JSON.parse(text) as Frame);
  });
  await once(socket, "open");
  socket.on("close", (code, reason) => {
    throw new Error(`The socket ${url} was closed: ${code} ${reason}`);
  });
  return socket;
}

/** As much of every frame as the benchmark reads. */
export interface Frame {
  type: string;
  ref?: number;
  job_id?: string;
  offset?: number;
  attempt?: number;
  status?: string;
  code?: string;
  message?: string;
  input?: unknown;
  of?: string;
}
