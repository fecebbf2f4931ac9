import { z } from "zod";
import { isExpired, sessionPrincipal } from "../auth/session.ts";
import { AckWindow } from "../channel/ack-window.ts";
import { countedPrincipal } from "../objects/allowances.ts";
import { sendFrames } from "../objects/frame-target.ts";
import { type ObjectSocket, ObjectSockets } from "../objects/object-sockets.ts";
import type { ReaderKind } from "../objects/readers.ts";
import { signsOfLife } from "../objects/silent-sockets.ts";
import { eventFilter } from "../protocol/room-frames.ts";

/** One channel that a client follows, as its socket's attachment stores it. */
const subscription = z.object({
  room: z.string(),
  filter: eventFilter.optional(),
  presence: z.boolean().optional(),
});
export type ClientSubscription = z.infer<typeof subscription>;

const attachment = z.object({
  id: z.string(),
  principal: sessionPrincipal,
  subscriptions: z.array(subscription),
  batch: z.boolean(),
  /** The client acknowledges the events it has processed. */
  acks: z.boolean().default(false),
  /** The client was warned that its token is about to expire. */
  noticed: z.boolean(),
  malformed: z.number(),
  ...signsOfLife,
});
export type Client = ObjectSocket<z.infer<typeof attachment>>;

function readerKind({ principal, acks }: Client["attachment"]): ReaderKind {
  if (acks) return "acknowledging";
  return principal.kind === "operator" ? "trusted" : "stranger";
}

function ownerOf({ principal }: Client["attachment"]): string | null {
  return countedPrincipal(principal);
}

/** The sockets of one gateway. */
export class GatewaySockets extends ObjectSockets<Client["attachment"]> {
  readonly ackWindow = new AckWindow<Client>();

  /** @param onChange called when a socket was opened or closed */
  constructor(ctx: DurableObjectState, onChange: () => void) {
    super(ctx, attachment, { onChange, readerKind, ownerOf });
  }

  error(client: Client, code: string, message: string, more: object = {}): void {
    this.send(client, { type: "error", code, message, ...more });
  }
}

/** Sends a client frames of what it follows, unless its token has expired: it has no right to them any more. */
export function tell({ socket, reader, attachment }: Client, texts: readonly string[]): void {
  if (isExpired(attachment.principal, Date.now())) return;
  sendFrames({ socket, reader, batch: attachment.batch }, texts);
}

export function subscriptionOf({ attachment }: Client, room: string): ClientSubscription | null {
  return attachment.subscriptions.find((followed) => followed.room === room) ?? null;
}
