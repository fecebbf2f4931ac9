import { z } from "zod";
import { closeQuietly } from "../objects/close-quietly.ts";
import { afterMalformed } from "../objects/malformed-frames.ts";
import { decodeFrame } from "../protocol/codec.ts";
import { CLOSE } from "../protocol/codes.ts";
import { errorFrame } from "../protocol/error-frame.ts";
import { monitorClientFrame } from "../protocol/monitor.ts";

/** Watchers are told at most this often, milliseconds. */
const EVERY_MS = 1_000;

const attachment = z.object({ malformed: z.int() });

/** The sockets of those who watch. */
export class Watchers {
  private readonly ctx: DurableObjectState;
  private readonly frame: () => object;
  private timer: ReturnType<typeof setTimeout> | null = null;
  private toldAt = Number.NEGATIVE_INFINITY;

  /** `frame` tells how things stand now. */
  constructor(ctx: DurableObjectState, frame: () => object) {
    this.ctx = ctx;
    this.frame = frame;
    ctx.setWebSocketAutoResponse(new WebSocketRequestResponsePair("ping", "pong"));
  }

  areThere(): boolean {
    return this.ctx.getWebSockets().length > 0;
  }

  accept(socket: WebSocket): void {
    this.ctx.acceptWebSocket(socket);
    socket.serializeAttachment({ malformed: 0 });
    send(socket, this.frame());
  }

  /** There is something new to tell. */
  markChanged(): void {
    if (this.timer !== null || !this.areThere()) return;
    const ms = this.toldAt + EVERY_MS - Date.now();
    if (ms <= 0) this.tell();
    else this.timer = setTimeout(() => this.tell(), ms);
  }

  receive(socket: WebSocket, raw: string | ArrayBuffer, timestamp: string): void {
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

  private tell(): void {
    this.timer = null;
    this.toldAt = Date.now();
    const frame = this.frame();
    for (const socket of this.ctx.getWebSockets()) send(socket, frame);
  }
}

/** A socket that is gone gets nothing: its close event follows. */
function send(socket: WebSocket, frame: object): void {
  try {
    socket.send(JSON.stringify(frame));
  } catch {
    // There is nobody to tell.
  }
}
