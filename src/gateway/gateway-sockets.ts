import { z } from "zod";
import { sessionPrincipal } from "../auth/session.ts";
import { sendFrames } from "../channel/outlet.ts";
import { Unacknowledged } from "../channel/unacknowledged.ts";
import { CLOSE } from "../protocol/codes.ts";
import { eventFilter } from "../protocol/room-frames.ts";
import { closeQuietly } from "../space/connections.ts";

/** What a socket follows. */
const subscription = z.object({
  room: z.string(),
  filter: eventFilter.optional(),
  presence: z.boolean().optional(),
});
export type Subscription = z.infer<typeof subscription>;

const attachment = z.object({
  id: z.string(),
  principal: sessionPrincipal,
  subscriptions: z.array(subscription),
  batch: z.boolean(),
  /** It acknowledges what arrives. */
  acks: z.boolean().default(false),
  /** It was told that its token runs out. */
  noticed: z.boolean(),
  malformed: z.number(),
});
export type Client = { socket: WebSocket; at: z.infer<typeof attachment> };

/** The sockets of one gateway, as they are kept through hibernation. */
export class GatewaySockets {
  readonly unacknowledged = new Unacknowledged<Client>();
  private readonly bySocket = new Map<WebSocket, Client>();
  private readonly ctx: DurableObjectState;
  private readonly changed: () => void;

  /** `changed` is called when a socket came or went. */
  constructor(ctx: DurableObjectState, changed: () => void) {
    this.ctx = ctx;
    this.changed = changed;
    ctx.setWebSocketAutoResponse(new WebSocketRequestResponsePair("ping", "pong"));
    for (const socket of ctx.getWebSockets()) {
      const client = rememberedClient(socket);
      if (client) this.bySocket.set(socket, client);
    }
  }

  get size(): number {
    return this.bySocket.size;
  }

  all(): Client[] {
    return [...this.bySocket.values()];
  }

  of(socket: WebSocket): Client | null {
    return this.bySocket.get(socket) ?? null;
  }

  has(client: Client): boolean {
    return this.bySocket.has(client.socket);
  }

  accept(socket: WebSocket, at: Client["at"]): Client {
    const client = { socket, at };
    this.ctx.acceptWebSocket(socket);
    this.remember(client);
    this.bySocket.set(socket, client);
    this.changed();
    return client;
  }

  remember({ socket, at }: Client): void {
    socket.serializeAttachment(at);
  }

  /** Remembers what has changed of a client, unless it is gone. */
  change(client: Client, change: Partial<Client["at"]>): void {
    Object.assign(client.at, change);
    if (this.has(client)) this.remember(client);
  }

  error(client: Client, code: string, message: string, more: object = {}): void {
    this.send(client, { type: "error", code, message, ...more });
  }

  send(client: Client, frame: object): void {
    sendFrames(outletOf(client), [JSON.stringify(frame)]);
  }

  close({ socket }: Client, close: keyof typeof CLOSE, reason: string): void {
    this.left(socket);
    socket.serializeAttachment(null);
    closeQuietly(socket, CLOSE[close].code, reason);
  }

  left(socket: WebSocket): void {
    this.bySocket.delete(socket);
    this.changed();
  }
}

/** What a socket was, as it keeps it; `null` where that was closed here. */
export function rememberedClient(socket: WebSocket): Client | null {
  const parsed = attachment.safeParse(socket.deserializeAttachment());
  return parsed.success ? { socket, at: parsed.data } : null;
}

export function outletOf({ socket, at }: Client) {
  return { socket, batch: at.batch };
}

export function subscriptionOf({ at }: Client, room: string): Subscription | null {
  return at.subscriptions.find((one) => one.room === room) ?? null;
}
