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
  /** How many sockets each user has here. */
  private readonly users = new Map<string, number>();
  private readonly ctx: DurableObjectState;
  private readonly changed: () => void;

  /** `changed` is called when a socket came or went. */
  constructor(ctx: DurableObjectState, changed: () => void) {
    this.ctx = ctx;
    this.changed = changed;
    ctx.setWebSocketAutoResponse(new WebSocketRequestResponsePair("ping", "pong"));
    for (const socket of ctx.getWebSockets()) {
      const parsed = attachment.safeParse(socket.deserializeAttachment());
      if (parsed.success) this.add({ socket, at: parsed.data });
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
    this.remember(accepted);
    this.add(accepted);
    this.changed();
    return accepted;
  }

  remember({ socket, at }: RoomSocket): void {
    socket.serializeAttachment(at);
  }

  send({ socket }: RoomSocket, frame: object): void {
    sendFrames({ socket, batch: false }, [JSON.stringify(frame)]);
  }

  sendTexts({ socket, at }: RoomSocket, texts: readonly string[]): void {
    sendFrames({ socket, batch: at.batch }, texts);
  }

  /** Sends what it can take; `false` where that is not all, and it was cut off. */
  sendCounted(subscriber: RoomSocket, room: string, events: readonly Relayed[]): boolean {
    const admitted = this.unacknowledged.admit(subscriber, room, events);
    const texts = admitted.map(({ text }) => text);
    this.sendTexts(subscriber, texts);
    if (admitted.length === events.length) return true;
    this.send(subscriber, { type: "error", code: "too_slow", message: TOO_SLOW, room });
    this.close(subscriber, "tooMany", TOO_SLOW);
    return false;
  }

  close(subscriber: RoomSocket, close: keyof typeof CLOSE, reason: string): void {
    this.left(subscriber);
    closeQuietly(subscriber.socket, CLOSE[close].code, reason);
  }

  left(subscriber: RoomSocket): void {
    if (!this.bySocket.delete(subscriber.socket)) return;
    this.count(subscriber, -1);
    this.changed();
  }

  /** Those that want to hear who comes and goes. */
  watchers(): RoomSocket[] {
    return this.all().filter(({ at }) => at.presence);
  }

  countOf(userId: string): number {
    return this.users.get(userId) ?? 0;
  }

  /** Every user with a socket here, and how many of them. */
  present(): PresenceChange[] {
    return [...this.users].map(([userId, connections]) => ({ userId, connections }));
  }

  private add(subscriber: RoomSocket): void {
    this.bySocket.set(subscriber.socket, subscriber);
    this.count(subscriber, 1);
  }

  private count({ at }: RoomSocket, by: 1 | -1): void {
    const userId = userIdOf(at.principal);
    if (userId === null) return;
    const count = this.countOf(userId) + by;
    if (count > 0) this.users.set(userId, count);
    else this.users.delete(userId);
  }
}
