import { z } from "zod";
import { sessionPrincipal } from "../auth/session.ts";
import { AckWindow } from "../channel/ack-window.ts";
import { type ObjectSocket, ObjectSockets } from "../objects/object-sockets.ts";
import { eventFilter } from "../protocol/room-frames.ts";

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
export type Client = ObjectSocket<z.infer<typeof attachment>>;

/** The sockets of one gateway. */
export class GatewaySockets extends ObjectSockets<Client["attachment"]> {
  readonly ackWindow = new AckWindow<Client>();

  /** `changed` is called when a socket came or went. */
  constructor(ctx: DurableObjectState, changed: () => void) {
    super(ctx, attachment, { onChange: changed });
  }

  error(client: Client, code: string, message: string, more: object = {}): void {
    this.send(client, { type: "error", code, message, ...more });
  }
}

export function targetOf({ socket, attachment }: Client) {
  return { socket, batch: attachment.batch };
}

export function subscriptionOf({ attachment }: Client, room: string): Subscription | null {
  return attachment.subscriptions.find((one) => one.room === room) ?? null;
}
