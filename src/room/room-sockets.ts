import { z } from "zod";
import { sessionPrincipal, userIdOf } from "../auth/session.ts";
import { TOO_SLOW } from "../channel/flow.ts";
import { sendFrames } from "../channel/outlet.ts";
import { Unacknowledged } from "../channel/unacknowledged.ts";
import { CLOSE } from "../protocol/codes.ts";
import { eventFilter } from "../protocol/room-frames.ts";
import { closeQuietly } from "../space/connections.ts";
import type { PresenceChange, Relayed } from "./calls.ts";

const attachment = z.object({
  id: z.string(),
  principal: sessionPrincipal,
  filter: eventFilter.nullable(),
  /** It wants to hear who comes and goes. */
  presence: z.boolean(),
  batch: z.boolean(),
  /** It acknowledges what arrives. */
  acks: z.boolean().default(false),
  /** It was told that its token runs out. */
  noticed: z.boolean(),
  malformed: z.number(),
});
export type RoomAttachment = z.infer<typeof attachment>;
export type RoomSocket = { socket: WebSocket; at: RoomAttachment };

/** The sockets of one room: each follows it, and nothing else. */
export class RoomSockets {
  readonly unacknowledged = new Unacknowledged<RoomSocket>();
  private readonly bySocket = new Map<WebSocket, RoomSocket>();
  private readonly ctx: DurableObjectState;
  private readonly changed: () => void;

  /** `changed` is called when a socket came or went. */
  constructor(ctx: DurableObjectState, changed: () => void) {
    this.ctx = ctx;
    this.changed = changed;
    ctx.setWebSocketAutoResponse(new WebSocketRequestResponsePair("ping", "pong"));
    for (const socket of ctx.getWebSockets()) {
      const parsed = attachment.safeParse(socket.deserializeAttachment());
      if (parsed.success) this.bySocket.set(socket, { socket, at: parsed.data });
    }
  }

  get size(): number {
    return this.bySocket.size;
  }

  all(): RoomSocket[] {
    return [...this.bySocket.values()];
  }

  of(socket: WebSocket): RoomSocket | null {
    return this.bySocket.get(socket) ?? null;
  }

  accept(socket: WebSocket, at: RoomAttachment): RoomSocket {
    const accepted = { socket, at };
    this.ctx.acceptWebSocket(socket);
    this.bySocket.set(socket, accepted);
    this.remember(accepted);
    this.changed();
    return accepted;
  }

  remember({ socket, at }: RoomSocket): void {
    socket.serializeAttachment(at);
  }

  send({ socket }: RoomSocket, frame: object): void {
    sendFrames({ socket, batch: false }, [JSON.stringify(frame)]);
  }

  /** Sends what it can take; `false` where that is not all, and it was cut off. */
  sendCounted(subscriber: RoomSocket, room: string, events: readonly Relayed[]): boolean {
    const { socket, at } = subscriber;
    const admitted = this.unacknowledged.admit(subscriber, room, events);
    const texts = admitted.map(({ text }) => text);
    sendFrames({ socket, batch: at.batch }, texts);
    if (admitted.length === events.length) return true;
    this.send(subscriber, { type: "error", code: "too_slow", message: TOO_SLOW, room });
    this.close(subscriber, "tooMany", TOO_SLOW);
    return false;
  }

  close({ socket }: RoomSocket, close: keyof typeof CLOSE, reason: string): void {
    this.left(socket);
    closeQuietly(socket, CLOSE[close].code, reason);
  }

  left(socket: WebSocket): void {
    this.bySocket.delete(socket);
    this.changed();
  }

  /** Every user with a socket here, and how many of them. */
  present(): PresenceChange[] {
    const users = new Map<string, number>();
    for (const { at } of this.bySocket.values()) {
      const userId = userIdOf(at.principal);
      if (userId !== null) users.set(userId, (users.get(userId) ?? 0) + 1);
    }
    return [...users].map(([userId, connections]) => ({ userId, connections }));
  }
}
