import { z } from "zod";
import { throttled } from "../channel/throttle.ts";
import { type ObjectSocket, ObjectSockets } from "../objects/object-sockets.ts";

/** What a socket is, kept with it through hibernation. */
const attachment = z.object({
  id: z.string(),
  publish: z.boolean(),
  read: z.boolean(),
  expiresAt: z.number().nullable(),
  /** Since when it waits for a job that nobody has made, and what its epoch will be. */
  pending: z.object({ since: z.number(), epoch: z.string() }).nullable(),
  /** When it is next sent a `ping`; `null`: never. */
  ping: z.object({ everyMs: z.number(), at: z.number() }).nullable(),
  heardAt: z.number(),
  /** `null`: it is sent all there is. */
  throttled: throttled.nullable().default(null),
  malformed: z.number(),
});
export type BackendJobAttachment = z.infer<typeof attachment>;
export type BackendJobSocket = ObjectSocket<BackendJobAttachment>;

/** The sockets of one job. */
export class BackendJobSockets extends ObjectSockets<BackendJobAttachment> {
  constructor(ctx: DurableObjectState) {
    super(ctx, attachment);
  }
}
