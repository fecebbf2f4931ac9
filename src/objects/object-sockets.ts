import type { z } from "zod";
import { sendFrames } from "../channel/outlet.ts";
import { CLOSE } from "../protocol/codes.ts";
import { closeQuietly } from "../space/connections.ts";

/** A socket and what it is, which is kept with it through hibernation. */
export interface KeptSocket<A> {
  socket: WebSocket;
  at: A;
}

interface Options {
  /** Called when a socket came or went. */
  changed?: () => void;
  /** Only sockets with this tag; those that are accepted get it. */
  tag?: string;
}

/** The sockets of one object, or those with one tag, as they outlive its memory. */
export class ObjectSockets<A extends object> {
  protected readonly ctx: DurableObjectState;
  private readonly bySocket = new Map<WebSocket, KeptSocket<A>>();
  private readonly attachment: z.ZodType<A>;
  private readonly options: Options;

  constructor(ctx: DurableObjectState, attachment: z.ZodType<A>, options: Options = {}) {
    this.ctx = ctx;
    this.attachment = attachment;
    this.options = options;
    ctx.setWebSocketAutoResponse(new WebSocketRequestResponsePair("ping", "pong"));
    for (const socket of ctx.getWebSockets(options.tag)) {
      const one = this.remembered(socket);
      if (one) this.bySocket.set(socket, one);
    }
  }

  get size(): number {
    return this.bySocket.size;
  }

  all(): KeptSocket<A>[] {
    return [...this.bySocket.values()];
  }

  of(socket: WebSocket): KeptSocket<A> | null {
    return this.bySocket.get(socket) ?? null;
  }

  /** `false` for one that was closed, and whose frames still come in. */
  has(one: KeptSocket<A>): boolean {
    return this.bySocket.get(one.socket) === one;
  }

  /** What a socket was, as it keeps it; `null` where it was closed here. */
  remembered(socket: WebSocket): KeptSocket<A> | null {
    const parsed = this.attachment.safeParse(socket.deserializeAttachment());
    return parsed.success ? { socket, at: parsed.data } : null;
  }

  accept(socket: WebSocket, at: A): KeptSocket<A> {
    const accepted = { socket, at };
    const { tag } = this.options;
    this.ctx.acceptWebSocket(socket, tag === undefined ? [] : [tag]);
    this.remember(accepted);
    this.bySocket.set(socket, accepted);
    this.options.changed?.();
    return accepted;
  }

  /** Writes what is known of a socket where hibernation keeps it. */
  remember({ socket, at }: KeptSocket<A>): void {
    socket.serializeAttachment(at);
  }

  /** Remembers what has changed of a socket, unless it is gone. */
  change(one: KeptSocket<A>, change: Partial<A>): void {
    Object.assign(one.at, change);
    if (this.has(one)) this.remember(one);
  }

  send(one: KeptSocket<A>, frame: object): void {
    this.sendText(one, JSON.stringify(frame));
  }

  sendText({ socket }: KeptSocket<A>, text: string): void {
    sendFrames({ socket, batch: false }, [text]);
  }

  close(one: KeptSocket<A>, close: keyof typeof CLOSE, reason: string): void {
    this.left(one);
    one.socket.serializeAttachment(null);
    closeQuietly(one.socket, CLOSE[close].code, reason);
  }

  left({ socket }: KeptSocket<A>): void {
    if (this.bySocket.delete(socket)) this.options.changed?.();
  }
}
