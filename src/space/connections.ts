import { z } from "zod";
import { throttled, throttledAs } from "../channel/throttle.ts";
import { closeQuietly } from "../objects/close-quietly.ts";
import { type FrameTarget, sendFrames } from "../objects/frame-target.ts";
import type { SocketRequestOf } from "../objects/socket-request.ts";
import { tagOf } from "../objects/socket-tag.ts";
import { type Decoded, decodeFrame, decodeFrames } from "../protocol/codec.ts";
import { CLOSE } from "../protocol/codes.ts";

/** Frames of a moment come to it as one, and it may send several as one. */
const batch = z.boolean().default(false);

/** What a socket is, kept with it through hibernation; the runtime allows 16,384 bytes. */
const workerAttachment = z.object({
  kind: z.literal("worker"),
  id: z.string(),
  openedAt: z.number(),
  tokenId: z.string(),
  batch,
  /** Where the worker dialed: the base of the file addresses it is sent. */
  origin: z.string(),
  state: z.discriminatedUnion("phase", [
    z.object({ phase: z.literal("new") }),
    z.object({
      phase: z.enum(["ready", "draining"]),
      workerId: z.string(),
      name: z.string().nullable(),
      generation: z.number(),
      /** Jobs it offered to run at once. */
      offered: z.number(),
      capabilities: z.array(z.string()).default([]),
      /** How busy its machine is, as it last said. */
      load: z.number().default(0),
    }),
    z.object({ phase: z.literal("gone") }),
  ]),
});

const subscriberAttachment = z.object({
  kind: z.literal("subscriber"),
  id: z.string(),
  /** The one job it follows, or `null` for a socket of the whole space. */
  jobUlid: z.string().nullable(),
  batch,
  origin: z.string(),
  /** Where it comes from, as the platform's counters know it. */
  address: z.string().default("unknown"),
  /** It came with the operator's key. */
  operator: z.boolean().default(false),
  /** Its one job is canceled when it breaks off. */
  leaving: z.boolean().default(false),
  follows: z.array(z.string()),
  /** Jobs it submitted and follows no more. */
  muted: z.array(z.string()),
  malformed: z.number(),
  /** Of the socket of one job; `null`: it is sent all there is. */
  throttled: throttled.nullable().default(null),
});

const attachment = z.discriminatedUnion("kind", [workerAttachment, subscriberAttachment]);

export type WorkerAttachment = z.infer<typeof workerAttachment>;
export type SubscriberAttachment = z.infer<typeof subscriberAttachment>;
/** What is known of a subscriber before it has said anything. */
export type NewSubscriber = Omit<SubscriberAttachment, "kind" | "follows" | "muted" | "malformed">;

export function newSubscriber(id: string, request: SocketRequestOf<"subscriber">): NewSubscriber {
  const { jobUlid, operator, origin, address, leaving, batch, maxRate, acks } = request;
  const throttled = throttledAs(maxRate, acks);
  return { id, jobUlid, operator, origin, address, leaving, batch, throttled };
}

export type WorkerConnection = { socket: WebSocket; attachment: WorkerAttachment };
export type SubscriberConnection = { socket: WebSocket; attachment: SubscriberAttachment };
export type Connection = WorkerConnection | SubscriberConnection;

export type ReadyWorker = WorkerConnection & {
  attachment: { state: Extract<WorkerAttachment["state"], { workerId: string }> };
};

/** The sockets of one object: the only place that accepts, tags, remembers, sends and closes. */
export class Connections {
  private readonly byId = new Map<string, Connection>();
  /** Of these the workers: few among many, and looked at for each job. */
  private readonly workersById = new Map<string, WorkerConnection>();
  private readonly bySocket = new WeakMap<WebSocket, Connection>();

  private readonly ctx: DurableObjectState;
  private corked: Map<Connection, string[]> | null = null;

  constructor(ctx: DurableObjectState) {
    this.ctx = ctx;
    ctx.setWebSocketAutoResponse(new WebSocketRequestResponsePair("ping", "pong"));
    for (const socket of ctx.getWebSockets()) {
      const connection = remembered(socket);
      if (connection) this.add(connection);
    }
  }

  accept<A extends Connection["attachment"]>(
    socket: WebSocket,
    attachment: A,
  ): { socket: WebSocket; attachment: A } {
    const accepted = { socket, attachment };
    const connection = accepted as Connection;
    this.ctx.acceptWebSocket(socket, [attachment.id]);
    this.add(connection);
    this.remember(connection);
    return accepted;
  }

  /** The runtime does not list a socket whose close woke the object: all there is is what it kept. */
  of(socket: WebSocket): Connection | null {
    const known = this.bySocket.get(socket);
    if (known) return this.byId.get(known.attachment.id) ?? remembered(socket);
    const found = this.byId.get(tagOf(this.ctx, socket) ?? "") ?? remembered(socket);
    if (found) this.bySocket.set(socket, found);
    return found;
  }

  get(id: string): Connection | null {
    return this.byId.get(id) ?? null;
  }

  /** Writes what is known of a connection where hibernation keeps it. */
  remember(connection: Connection): void {
    connection.socket.serializeAttachment(connection.attachment);
  }

  get count(): number {
    return this.byId.size;
  }

  workers(): WorkerConnection[] {
    return [...this.workersById.values()];
  }

  readyWorkers(): ReadyWorker[] {
    return this.workers().filter(isReady);
  }

  subscribers(): SubscriberConnection[] {
    return [...this.byId.values()].filter(isSubscriber);
  }

  send(connection: Connection, frame: object): void {
    this.sendText(connection, JSON.stringify(frame));
  }

  sendText(connection: Connection, text: string): void {
    if (this.corked === null || !connection.attachment.batch) {
      sendFrames(targetOf(connection), [text]);
      return;
    }
    const texts = this.corked.get(connection);
    if (texts) texts.push(text);
    else this.corked.set(connection, [text]);
  }

  /** Until `say` returns, frames for sockets that read batches are held, and go out as one. */
  together(say: () => void): void {
    if (this.corked !== null) {
      say();
      return;
    }
    const corked = new Map<Connection, string[]>();
    this.corked = corked;
    try {
      say();
    } finally {
      this.corked = null;
      for (const [connection, texts] of corked) sendFrames(targetOf(connection), texts);
    }
  }

  /** What is held for it goes out now: nothing can be sent after a close. */
  private uncork(connection: Connection): void {
    const texts = this.corked?.get(connection);
    if (!texts) return;
    this.corked?.delete(connection);
    sendFrames(targetOf(connection), texts);
  }

  /** Forgets a connection, and answers or begins the closing handshake. */
  close(connection: Connection, close: keyof typeof CLOSE | { code: number }, reason = ""): void {
    this.uncork(connection);
    this.forget(connection);
    connection.socket.serializeAttachment(null);
    const { code } = typeof close === "string" ? CLOSE[close] : close;
    closeQuietly(connection.socket, code, reason);
  }

  forget({ attachment: { id } }: Connection): void {
    this.byId.delete(id);
    this.workersById.delete(id);
  }

  /** Forgets and closes every socket there is. */
  closeAll(close: keyof typeof CLOSE, reason: string): void {
    this.byId.clear();
    this.workersById.clear();
    for (const socket of this.ctx.getWebSockets()) {
      socket.serializeAttachment(null);
      closeQuietly(socket, CLOSE[close].code, reason);
    }
  }

  private add(connection: Connection): void {
    this.byId.set(connection.attachment.id, connection);
    if (isWorker(connection)) this.workersById.set(connection.attachment.id, connection);
  }

  /** When the socket last answered a `ping`; `null` if it never did. */
  lastPingAt(connection: Connection): number | null {
    return this.ctx.getWebSocketAutoResponseTimestamp(connection.socket)?.getTime() ?? null;
  }
}

/** What a message says, frame by frame. */
export function framesOf<T>(
  { attachment: { batch } }: Connection,
  raw: string | ArrayBuffer,
  schema: z.ZodType<T>,
): Decoded<T>[] {
  return batch ? decodeFrames(raw, schema) : [decodeFrame(raw, schema)];
}

function targetOf({ socket, attachment: { batch } }: Connection): FrameTarget {
  return { socket, batch };
}

function remembered(socket: WebSocket): Connection | null {
  const parsed = attachment.safeParse(socket.deserializeAttachment());
  return parsed.success ? ({ socket, attachment: parsed.data } as Connection) : null;
}

export function isWorker(connection: Connection): connection is WorkerConnection {
  return connection.attachment.kind === "worker";
}

export function isSubscriber(connection: Connection): connection is SubscriberConnection {
  return connection.attachment.kind === "subscriber";
}

export function isReady(connection: WorkerConnection): connection is ReadyWorker {
  const { phase } = connection.attachment.state;
  return phase === "ready" || phase === "draining";
}
