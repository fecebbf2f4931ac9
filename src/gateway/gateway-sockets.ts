import { z } from "zod";
import { sessionPrincipal } from "../auth/session.ts";
import { Unacknowledged } from "../channel/unacknowledged.ts";
import { type KeptSocket, ObjectSockets } from "../objects/object-sockets.ts";
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
export type Client = KeptSocket<z.infer<typeof attachment>>;

/** The sockets of one gateway. */
export class GatewaySockets extends ObjectSockets<Client["at"]> {
  readonly unacknowledged = new Unacknowledged<Client>();

  /** `changed` is called when a socket came or went. */
  constructor(ctx: DurableObjectState, changed: () => void) {
    super(ctx, attachment, { changed });
  }

  error(client: Client, code: string, message: string, more: object = {}): void {
    this.send(client, { type: "error", code, message, ...more });
  }
}

export function outletOf({ socket, at }: Client) {
  return { socket, batch: at.batch };
}

export function subscriptionOf({ at }: Client, room: string): Subscription | null {
  return at.subscriptions.find((one) => one.room === room) ?? null;
}
