import type { z } from "zod";
import { CLOSE } from "../protocol/codes.ts";
import { closeQuietly } from "./close-quietly.ts";
import { sendFrames } from "./frame-target.ts";

/** A socket with its attachment, which the runtime keeps through hibernation. */
export interface ObjectSocket<A> {
  socket: WebSocket;
  attachment: A;
}

interface ObjectSocketsOptions {
  /** Called after a socket was accepted or removed. */
  onChange?: () => void;
  /** Restricts this to sockets with the tag; accepted sockets get it. */
  tag?: string;
}

/** The sockets of one object, or those with one tag. They outlive the object's memory. */
export class ObjectSockets<A extends object> {
  protected readonly ctx: DurableObjectState;
  private readonly bySocket = new Map<WebSocket, ObjectSocket<A>>();
  private readonly attachment: z.ZodType<A>;
  private readonly options: ObjectSocketsOptions;

  constructor(
    ctx: DurableObjectState,
    attachment: z.ZodType<A>,
    options: ObjectSocketsOptions = {},
  ) {
    this.ctx = ctx;
    this.attachment = attachment;
    this.options = options;
    ctx.setWebSocketAutoResponse(new WebSocketRequestResponsePair("ping", "pong"));
    for (const socket of ctx.getWebSockets(options.tag)) {
      const kept = this.remembered(socket);
      if (kept) this.bySocket.set(socket, kept);
    }
  }

  get size(): number {
    return this.bySocket.size;
  }

  all(): ObjectSocket<A>[] {
    return [...this.bySocket.values()];
  }

  of(socket: WebSocket): ObjectSocket<A> | null {
    return this.bySocket.get(socket) ?? null;
  }

  /** `false` for a socket that was closed here; its frames may still arrive. */
  has(kept: ObjectSocket<A>): boolean {
    return this.bySocket.get(kept.socket) === kept;
  }

  /** Reads a socket's attachment; `null` if the socket was closed here. */
  remembered(socket: WebSocket): ObjectSocket<A> | null {
    const parsed = this.attachment.safeParse(socket.deserializeAttachment());
    return parsed.success ? { socket, attachment: parsed.data } : null;
  }

  accept(socket: WebSocket, attachment: A): ObjectSocket<A> {
    const accepted = { socket, attachment };
    const { tag } = this.options;
    this.ctx.acceptWebSocket(socket, tag === undefined ? [] : [tag]);
    this.remember(accepted);
    this.bySocket.set(socket, accepted);
    this.options.onChange?.();
    return accepted;
  }

  /** Stores the attachment, so that it survives hibernation. */
  remember({ socket, attachment }: ObjectSocket<A>): void {
    socket.serializeAttachment(attachment);
  }

  /** Changes the attachment, and stores it unless the socket is closed. */
  change(kept: ObjectSocket<A>, change: Partial<A>): void {
    Object.assign(kept.attachment, change);
    if (this.has(kept)) this.remember(kept);
  }

  send(kept: ObjectSocket<A>, frame: object): void {
    this.sendText(kept, JSON.stringify(frame));
  }

  sendText({ socket }: ObjectSocket<A>, text: string): void {
    sendFrames({ socket, batch: false }, [text]);
  }

  close(kept: ObjectSocket<A>, close: keyof typeof CLOSE, reason: string): void {
    this.forget(kept);
    closeQuietly(kept.socket, CLOSE[close].code, reason);
  }

  /** Forgets a socket for good: nothing that it still sends is read. */
  forget(kept: ObjectSocket<A>): void {
    this.remove(kept);
    kept.socket.serializeAttachment(null);
  }

  /** Forgets a socket that is gone, or about to be closed. */
  remove({ socket }: ObjectSocket<A>): void {
    if (this.bySocket.delete(socket)) this.options.onChange?.();
  }

  /** Forgets and closes every socket of the object, the kept and the unknown. */
  closeAll(close: keyof typeof CLOSE, reason: string): void {
    for (const kept of this.all()) this.remove(kept);
    for (const socket of this.ctx.getWebSockets(this.options.tag)) {
      socket.serializeAttachment(null);
      closeQuietly(socket, CLOSE[close].code, reason);
    }
  }

  /** When a socket was last answered a `ping` by the runtime, milliseconds since 1970; `null`: never. */
  lastPingAt({ socket }: ObjectSocket<A>): number | null {
    return this.ctx.getWebSocketAutoResponseTimestamp(socket)?.getTime() ?? null;
  }
}
