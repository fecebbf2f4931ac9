import { z } from "zod";
import { closeQuietly } from "../objects/close-quietly.ts";
import { afterMalformed } from "../objects/malformed-frames.ts";
import { decodeFrame } from "../protocol/codec.ts";
import { CLOSE } from "../protocol/codes.ts";
import { errorFrame } from "../protocol/error-frame.ts";
import { monitorClientFrame } from "../protocol/monitor.ts";

/** Time between two frames to the watchers, milliseconds at least. */
const MIN_INTERVAL_MS = 1_000;

const attachment = z.object({ malformed: z.int() });

/** The sockets of `/ws/monitor`: operators that watch the edge's numbers. */
export class Watchers {
  private readonly ctx: DurableObjectState;
  private readonly makeFrame: () => object;
  private timer: ReturnType<typeof setTimeout> | null = null;
  private sentAt = Number.NEGATIVE_INFINITY;

  /** @param makeFrame makes the frame with the current numbers */
  constructor(ctx: DurableObjectState, makeFrame: () => object) {
    this.ctx = ctx;
    this.makeFrame = makeFrame;
    ctx.setWebSocketAutoResponse(new WebSocketRequestResponsePair("ping", "pong"));
  }

  hasAny(): boolean {
    return this.ctx.getWebSockets().length > 0;
  }

  accept(socket: WebSocket): void {
    this.ctx.acceptWebSocket(socket);
    socket.serializeAttachment({ malformed: 0 });
    send(socket, this.makeFrame());
  }

  /** The numbers have changed: sends them now, or as soon as the interval allows. */
  markChanged(): void {
    if (this.timer !== null || !this.hasAny()) return;
    const ms = this.sentAt + MIN_INTERVAL_MS - Date.now();
    if (ms <= 0) this.broadcast();
    else this.timer = setTimeout(() => this.broadcast(), ms);
  }

  onMessage(socket: WebSocket, raw: string | ArrayBuffer, timestamp: string): void {
    const decoded = decodeFrame(raw, monitorClientFrame);
    if (decoded.ok) {
      socket.serializeAttachment({ malformed: 0 });
      send(socket, { type: "pong", timestamp });
      return;
    }
    const { code, message } = decoded;
    send(socket, errorFrame(code, message));
    const known = attachment.safeParse(socket.deserializeAttachment());
    const { malformed, close } = afterMalformed(decoded, known.data?.malformed ?? 0);
    socket.serializeAttachment({ malformed });
    if (close) closeQuietly(socket, CLOSE[close.as].code, close.reason);
  }

  private broadcast(): void {
    this.timer = null;
    this.sentAt = Date.now();
    const frame = this.makeFrame();
    for (const socket of this.ctx.getWebSockets()) send(socket, frame);
  }
}

/** Sends a frame, unless the socket is closed already: its close event follows then. */
function send(socket: WebSocket, frame: object): void {
  try {
    socket.send(JSON.stringify(frame));
  } catch {
    // Nothing else depends on this socket.
  }
}
