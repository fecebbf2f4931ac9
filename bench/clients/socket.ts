import { once } from "node:events";
import { WebSocket } from "ws";
import { inBatches } from "../../src/protocol/batches.ts";

/** Opens a socket; `onFrame` is called with every frame, those of batches one by one. */
export async function openSocket(
  url: string,
  onFrame: (frame: BenchFrame) => void,
  headers: Record<string, string> = {},
): Promise<WebSocket> {
  const socket = new WebSocket(url.replace(/^http/, "ws"), { headers, perMessageDeflate: false });
  socket.on("message", (data) => {
    const text = String(data);
    if (text === "pong") return;
    const frame = JSON.parse(text) as BenchFrame;
    if (frame.type === "read_check") socket.send(text);
    if (frame.frames) for (const inner of frame.frames) onFrame(inner);
    else onFrame(frame);
  });
  await once(socket, "open");
  socket.on("close", (code, reason) => {
    throw new Error(`The socket ${url} was closed: ${code} ${reason}`);
  });
  return socket;
}

/** Returns a function that sends frames; with `batch=1` those of one turn form one message. */
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

/** The fields of frames that the benchmark reads. */
export interface BenchFrame {
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
  /** The frames of a batch. */
  frames?: BenchFrame[];
}
