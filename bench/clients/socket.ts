import { once } from "node:events";
import { WebSocket } from "ws";
import { inBatches } from "../../src/protocol/batches.ts";

/** An open socket; `hear` gets every text message parsed, from the first. */
export async function openSocket(
  url: string,
  hear: (frame: Frame) => void,
  headers: Record<string, string> = {},
): Promise<WebSocket> {
  const socket = new WebSocket(url.replace(/^http/, "ws"), { headers, perMessageDeflate: false });
  socket.on("message", (data) => {
    const text = String(data);
    if (text === "pong") return;
    const frame = JSON.parse(text) as Frame;
    if (frame.frames) for (const one of frame.frames) hear(one);
    else hear(frame);
  });
  await once(socket, "open");
  socket.on("close", (code, reason) => {
    throw new Error(`The socket ${url} was closed: ${code} ${reason}`);
  });
  return socket;
}

/** Sends frames: on a socket of batches those of one turn go as one message. */
export function senderOn(socket: WebSocket): (text: string) => void {
  if (!socket.url.includes("batch=1")) return (text) => socket.send(text);
  let unsent: string[] = [];
  const flush = () => {
    const texts = unsent;
    unsent = [];
    for (const message of inBatches(texts)) socket.send(message);
  };
  return (text) => {
    if (unsent.length === 0) setImmediate(flush);
    unsent.push(text);
  };
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
  /** Of a batch. */
  frames?: Frame[];
}
