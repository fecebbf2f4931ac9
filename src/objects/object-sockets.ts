import type { z } from "zod";
import { TOO_SLOW } from "../channel/flow.ts";
import { CLOSE } from "../protocol/codes.ts";
import { LIMITS } from "../protocol/limits.ts";
import { isPingText } from "../protocol/ping-text.ts";
import { readCheckToken } from "../protocol/read-check.ts";
import { addressOwner } from "./allowances.ts";
import { closeQuietly } from "./close-quietly.ts";
import { sendFrames } from "./frame-target.ts";
import { type MessageTurns, turnsOf } from "./message-turns.ts";
import { type Pings, pingsOf } from "./pings.ts";
import { lengthCost } from "./rate-limiter.ts";
import { Reader, type ReaderKind, type Readers, readersOf } from "./readers.ts";
import type { Refusal } from "./reply.ts";

/** A socket with its attachment, which the runtime keeps through hibernation. */
export interface ObjectSocket<A> {
  socket: WebSocket;
  attachment: A;
  reader: Reader;
}

interface ObjectSocketsOptions<A> {
  /** Whose sockets are counted together; `null`: not limited. Without this nobody is. */
  ownerOf?: (attachment: A) => string | null;
  /** How far a client is believed to read what it is sent; `stranger` without this. */
  readerKind?: (attachment: A) => ReaderKind;
  /** Called after a socket was accepted or removed. */
  onChange?: () => void;
  /** Restricts this to sockets with the tag; accepted sockets get it. */
  tag?: string;
}

/** The sockets of one object, or those with one tag. They outlive the object's memory. */
export class ObjectSockets<A extends object> {
  protected readonly ctx: DurableObjectState;
  private readonly bySocket = new Map<WebSocket, ObjectSocket<A>>();
  /** Sockets that were closed here, or are about to be: the runtime goes on reading them. */
  private readonly closed = new WeakSet<WebSocket>();
  /** How many sockets each owner has. */
  private readonly owners = new Map<string, number>();
  private readonly attachment: z.ZodType<A>;
  private readonly options: ObjectSocketsOptions<A>;
  private readonly readers: Readers;
  private readonly turns: MessageTurns;
  private readonly pings: Pings;
  /** Ends the connection of a client that does not read; the owner may have more to clean up. */
  onTooSlow: (slow: ObjectSocket<A>) => void = (slow) => this.close(slow, "tooMany", TOO_SLOW);

  constructor(
    ctx: DurableObjectState,
    attachment: z.ZodType<A>,
    options: ObjectSocketsOptions<A> = {},
  ) {
    this.ctx = ctx;
    this.readers = readersOf(ctx);
    this.turns = turnsOf(ctx);
    this.attachment = attachment;
    this.options = options;
    this.pings = pingsOf(ctx);
    for (const socket of ctx.getWebSockets(options.tag)) {
      const kept = this.remembered(socket);
      if (kept) this.keep(kept);
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
    if (this.closed.has(socket)) return null;
    const parsed = this.attachment.safeParse(socket.deserializeAttachment());
    if (parsed.success) return this.withReader(socket, parsed.data);
    this.closed.add(socket);
    return null;
  }

  accept(socket: WebSocket, attachment: A): ObjectSocket<A> {
    const accepted = this.withReader(socket, attachment);
    const { tag } = this.options;
    this.ctx.acceptWebSocket(socket, tag === undefined ? [] : [tag]);
    this.remember(accepted);
    this.keep(accepted);
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

  sendText({ socket, reader }: ObjectSocket<A>, text: string): void {
    sendFrames({ socket, reader, batch: false }, [text]);
  }

  /**
   * Call this for every message of a client: it shows that the client lives, or even what it has read. Returns
   * whether that was all it was for.
   */
  onHeard({ socket, reader }: ObjectSocket<A>, message: string | ArrayBuffer): boolean {
    this.turns.onMessage(reader.isTrusted, Math.max(1, lengthCost(message)));
    if (message === "ping" && this.pings.areAnsweredHere) {
      this.pings.onPing(socket, Date.now());
      sendFrames({ socket, reader, batch: false }, ["pong"]);
    }
    if (isPingText(message)) return true;
    const token = readCheckToken(message);
    if (token === null) reader.onFrame();
    else reader.onAnswer(token);
    return token !== null;
  }

  /** Call this for a message of a socket that was closed here, or is about to be. Nothing else is done with it. */
  ignore(): void {
    this.turns.onIgnored();
  }

  /** See `MessageTurns`. */
  allowanceTime(): number {
    return this.turns.allowanceTime(Date.now());
  }

  close(kept: ObjectSocket<A>, close: keyof typeof CLOSE, reason: string): void {
    this.readers.onClosed(kept.socket, kept.reader.end());
    this.forget(kept);
    closeQuietly(kept.socket, CLOSE[close].code, reason);
  }

  /** Forgets a socket for good: nothing that it still sends is read. */
  forget(kept: ObjectSocket<A>): void {
    this.remove(kept);
    kept.socket.serializeAttachment(null);
  }

  /** Forgets a socket that is gone, or about to be closed. */
  remove({ socket, reader, attachment }: ObjectSocket<A>): void {
    reader.end();
    this.closed.add(socket);
    if (!this.bySocket.delete(socket)) return;
    this.countOwner(attachment, -1);
    this.options.onChange?.();
  }

  /** Why a socket with this attachment can't be opened; `null` if it can. */
  refusalOf(attachment: A): Refusal | null {
    const owner = this.options.ownerOf?.(attachment) ?? null;
    if (owner === null) return null;
    const most = SHARED.has(owner) ? LIMITS.socketsPerSharedAddress : LIMITS.socketsPerOwner;
    if ((this.owners.get(owner) ?? 0) < most) return null;
    const detail = `You have ${most} sockets open here, which is the most: close some, or share one among your users.`;
    return { ok: false, code: "rate_limited", detail };
  }

  /** Forgets and closes every socket of the object, the kept and the unknown. */
  closeAll(close: keyof typeof CLOSE, reason: string): void {
    for (const kept of this.all()) {
      this.readers.onClosed(kept.socket, kept.reader.end());
      this.remove(kept);
    }
    for (const socket of this.ctx.getWebSockets(this.options.tag)) {
      socket.serializeAttachment(null);
      closeQuietly(socket, CLOSE[close].code, reason);
    }
  }

  /** The connection of a socket has ended, whether it was closed here before or not. */
  onGone(socket: WebSocket): void {
    this.readers.onGone(socket);
  }

  /** When a socket's last text `ping` came, milliseconds since 1970; `null`: that is not known. */
  lastPingAt({ socket }: Pick<ObjectSocket<A>, "socket">): number | null {
    return this.pings.lastAt(socket);
  }

  private keep(kept: ObjectSocket<A>): void {
    this.bySocket.set(kept.socket, kept);
    this.countOwner(kept.attachment, 1);
  }

  private countOwner(attachment: A, by: 1 | -1): void {
    const owner = this.options.ownerOf?.(attachment) ?? null;
    if (owner === null) return;
    const count = (this.owners.get(owner) ?? 0) + by;
    if (count > 0) this.owners.set(owner, count);
    else this.owners.delete(owner);
  }

  private withReader(socket: WebSocket, attachment: A): ObjectSocket<A> {
    const reader = new Reader({
      kind: this.options.readerKind?.(attachment) ?? "stranger",
      readers: this.readers,
      lastPingAt: () => this.lastPingAt({ socket }),
      onTooSlow: () => {
        if (this.has(kept)) this.onTooSlow(kept);
      },
    });
    const kept = { socket, attachment, reader };
    return kept;
  }
}

/** All clients of a proxy that is not trusted look like the edge's own machine. */
const SHARED: ReadonlySet<string> = new Set(["127.0.0.1", "::1", "unknown"].map(addressOwner));
