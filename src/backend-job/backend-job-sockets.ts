import { z } from "zod";
import { credential } from "../auth/credential.ts";
import { throttled } from "../channel/throttle.ts";
import { addressOwner } from "../objects/allowances.ts";
import { type ObjectSocket, ObjectSockets } from "../objects/object-sockets.ts";
import type { ReaderKind } from "../objects/readers.ts";

/** A socket's attachment, which the runtime keeps through hibernation. */
const attachment = z.object({
  id: z.string(),
  publish: z.boolean(),
  read: z.boolean(),
  user: z.string().nullable().optional(),
  expiresAt: z.number().nullable(),
  /** The session or key that it was opened with. */
  credential: credential.nullable().default(null),
  /** Sockets that were opened by an earlier release don't say when. */
  openedAt: z.number().default(0),
  /** Since when the socket waits for a job that does not exist yet, and which epoch that job will have. */
  pending: z.object({ since: z.number(), epoch: z.string() }).nullable(),
  /** When the socket is next sent a `ping`; `null` means never. */
  ping: z.object({ everyMs: z.number(), at: z.number() }).nullable(),
  /** When the client's last frame came, to within half a minute. */
  heardAt: z.number(),
  /** When its last text `ping` came that the runtime has not answered itself, to within half a minute. */
  pingedAt: z.number().default(0),
  /** How the socket is throttled; `null` means that it is sent every event. */
  throttled: throttled.nullable().default(null),
  malformed: z.number(),
  /** The edge itself reads this socket, for somebody else. */
  relayed: z.boolean().default(false),
  /** The client's network address; its sockets are counted by this if it has neither token nor key. */
  address: z.string().default("unknown"),
  /** As whom its sockets are counted otherwise. */
  counted: z.string().nullable().default(null),
});
export type BackendJobAttachment = z.infer<typeof attachment>;
export type BackendJobSocket = ObjectSocket<BackendJobAttachment>;

/** A backend that reports the job is no stranger. */
function readerKind({ publish, relayed, throttled }: BackendJobAttachment): ReaderKind {
  if (relayed) return "relayed";
  if (throttled?.flow) return "acknowledging";
  return publish ? "trusted" : "stranger";
}

function ownerOf({ publish, relayed, address, counted }: BackendJobAttachment): string | null {
  return publish || relayed ? null : (counted ?? addressOwner(address));
}

/** The sockets of one backend's job. */
export class BackendJobSockets extends ObjectSockets<BackendJobAttachment> {
  /** @param tag the tag of these sockets, if the object has those of several jobs */
  constructor(ctx: DurableObjectState, tag?: string) {
    super(ctx, attachment, { readerKind, ownerOf, ...(tag === undefined ? {} : { tag }) });
  }
}
