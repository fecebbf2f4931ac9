import { z } from "zod";
import { throttled } from "../channel/throttle.ts";
import { CLOSE } from "../protocol/codes.ts";
import { closeQuietly } from "../space/connections.ts";

/** What a socket is, kept with it through hibernation. */
const attachment = z.object({
  id: z.string(),
  publish: z.boolean(),
  read: z.boolean(),
  expiresAt: z.number().nullable(),
  /** Since when it waits for a job that nobody has made, and what its epoch will be. */
  pending: z.object({ since: z.number(), epoch: z.string() }).nullable(),
  /** When it is next sent a `ping`; `null`: never. */
  ping: z.object({ everyMs: z.number(), at: z.number() }).nullable(),
  heardAt: z.number(),
  /** `null`: it is sent all there is. */
  throttled: throttled.nullable().default(null),
  malformed: z.number(),
});
export type JobAttachment = z.infer<typeof attachment>;
export type JobSocket = { socket: WebSocket; at: JobAttachment };

/** The sockets of one job: the only place that accepts, remembers, sends and closes. */
export class JobSockets {
  private readonly bySocket = new Map<WebSocket, JobSocket>();
  private readonly ctx: DurableObjectState;

  constructor(ctx: DurableObjectState) {
    this.ctx = ctx;
    ctx.setWebSocketAutoResponse(new WebSocketRequestResponsePair("ping", "pong"));
    for (const socket of ctx.getWebSockets()) {
      const parsed = attachment.safeParse(socket.deserializeAttachment());
      if (parsed.success) this.bySocket.set(socket, { socket, at: parsed.data });
    }
  }

  get size(): number {
    return this.bySocket.size;
  }

  all(): JobSocket[] {
    return [...this.bySocket.values()];
  }

  of(socket: WebSocket): JobSocket | null {
    return this.bySocket.get(socket) ?? null;
  }

  /** `false` for one that was closed, and whose frames still come in. */
  has(one: JobSocket): boolean {
    return this.bySocket.get(one.socket) === one;
  }

  accept(socket: WebSocket, at: JobAttachment): JobSocket {
    const accepted = { socket, at };
    this.ctx.acceptWebSocket(socket);
    this.bySocket.set(socket, accepted);
    this.remember(accepted);
    return accepted;
  }

  /** Writes what is known of a socket where hibernation keeps it. */
  remember({ socket, at }: JobSocket): void {
    socket.serializeAttachment(at);
  }

  send(one: JobSocket, frame: object): void {
    this.sendText(one, JSON.stringify(frame));
  }

  /** A socket that is gone gets nothing: its close event follows. */
  sendText({ socket }: JobSocket, text: string): void {
    try {
      socket.send(text);
    } catch {
      // The close handler of this socket does what there is to do.
    }
  }

  close({ socket }: JobSocket, close: keyof typeof CLOSE, reason: string): void {
    this.bySocket.delete(socket);
    socket.serializeAttachment(null);
    closeQuietly(socket, CLOSE[close].code, reason);
  }

  left(socket: WebSocket): void {
    this.bySocket.delete(socket);
  }

  /** When the socket last answered a `ping`; `null` if it never did. */
  lastPingAt({ socket }: JobSocket): number | null {
    return this.ctx.getWebSocketAutoResponseTimestamp(socket)?.getTime() ?? null;
  }
}
