import { z } from "zod";
import { isExpired, sessionPrincipal, userIdOf } from "../auth/session.ts";
import { AckWindow } from "../channel/ack-window.ts";
import { TOO_SLOW } from "../channel/flow.ts";
import { countedPrincipal } from "../objects/allowances.ts";
import { sendFrames } from "../objects/frame-target.ts";
import { type ObjectSocket, ObjectSockets } from "../objects/object-sockets.ts";
import type { ReaderKind } from "../objects/readers.ts";
import { signsOfLife } from "../objects/silent-sockets.ts";
import { eventFilter } from "../protocol/room-frames.ts";
import type { PresenceChange, Relayed } from "./calls.ts";

const attachment = z.object({
  id: z.string(),
  /** The room; older sockets lack it, and have it as their tag alone. */
  room: z.string().optional(),
  principal: sessionPrincipal,
  filter: eventFilter.nullable(),
  /** The client wants to know who joins and leaves. */
  presence: z.boolean(),
  batch: z.boolean(),
  /** The client acknowledges the events it has processed. */
  acks: z.boolean().default(false),
  /** The client was warned that its token is about to expire. */
  noticed: z.boolean(),
  malformed: z.number(),
  ...signsOfLife,
  /** The edge itself reads this socket, for a stream. */
  relayed: z.boolean().default(false),
});
export type RoomAttachment = z.infer<typeof attachment>;
export type RoomSocket = ObjectSocket<RoomAttachment>;

function readerKind({ principal, relayed, acks }: RoomAttachment): ReaderKind {
  if (relayed) return "relayed";
  if (acks) return "acknowledging";
  return principal.kind === "operator" ? "trusted" : "stranger";
}

function ownerOf({ principal, relayed }: RoomAttachment): string | null {
  return relayed ? null : countedPrincipal(principal);
}

/** The room of a socket, by its attachment; `null` if the socket was closed here. */
export function roomNameOf(socket: WebSocket): string | null {
  return attachment.safeParse(socket.deserializeAttachment()).data?.room ?? null;
}

/** The sockets of one room; each follows this room and nothing else. */
export class RoomSockets extends ObjectSockets<RoomAttachment> {
  readonly ackWindow = new AckWindow<RoomSocket>();
  /** How many sockets each user has here. */
  private readonly users = new Map<string, number>();

  /** @param onChange called when a socket was opened or closed */
  constructor(ctx: DurableObjectState, room: string, onChange: () => void) {
    super(ctx, attachment, { onChange, tag: room, readerKind, ownerOf });
    for (const subscriber of this.all()) this.count(subscriber, 1);
  }

  override accept(socket: WebSocket, attachment: RoomAttachment): RoomSocket {
    const accepted = super.accept(socket, attachment);
    this.count(accepted, 1);
    return accepted;
  }

  override remove(subscriber: RoomSocket): void {
    if (this.has(subscriber)) this.count(subscriber, -1);
    super.remove(subscriber);
  }

  /** Sends events, unless the client's token has expired: it has no right to them any more. */
  sendTexts({ socket, reader, attachment }: RoomSocket, texts: readonly string[]): void {
    if (isExpired(attachment.principal, Date.now())) return;
    sendFrames({ socket, reader, batch: attachment.batch }, texts);
  }

  /**
   * Sends the events that fit into the window of unacknowledged bytes. If not all of them do, closes the
   * socket and returns `false`.
   */
  sendCounted(subscriber: RoomSocket, room: string, events: readonly Relayed[]): boolean {
    const admitted = this.ackWindow.admit(subscriber, room, events);
    const texts = admitted.map(({ text }) => text);
    this.sendTexts(subscriber, texts);
    if (admitted.length === events.length) return true;
    this.send(subscriber, { type: "error", code: "too_slow", message: TOO_SLOW, room });
    this.close(subscriber, "tooMany", TOO_SLOW);
    return false;
  }

  /** The sockets whose clients want to know who joins and leaves. */
  presenceWatchers(): RoomSocket[] {
    return this.all().filter(({ attachment }) => attachment.presence);
  }

  /** How many sockets a user has here. */
  countOf(userId: string): number {
    return this.users.get(userId) ?? 0;
  }

  /** Every user with sockets here, and how many. */
  present(): PresenceChange[] {
    return [...this.users].map(([userId, connections]) => ({ userId, connections }));
  }

  private count({ attachment }: RoomSocket, by: 1 | -1): void {
    const userId = userIdOf(attachment.principal);
    if (userId === null) return;
    const count = this.countOf(userId) + by;
    if (count > 0) this.users.set(userId, count);
    else this.users.delete(userId);
  }
}
