import { z } from "zod";
import { caller } from "../auth/caller.ts";
import { throttled, throttledAs } from "../channel/throttle.ts";
import { countedAs } from "../objects/allowances.ts";
import { type FrameTarget, sendFrames } from "../objects/frame-target.ts";
import { type ObjectSocket, ObjectSockets } from "../objects/object-sockets.ts";
import type { ReaderKind } from "../objects/readers.ts";
import { type SignsOfLife, signsOfLife } from "../objects/silent-sockets.ts";
import type { SocketRequestOf } from "../objects/socket-request.ts";
import { type Decoded, decodeFrame, decodeFrames, type FrameSchema } from "../protocol/codec.ts";
import type { CLOSE } from "../protocol/codes.ts";
import { namesSpace } from "./access.ts";

/** Frames that are sent together go out as one message, and the client may send its own so (decision 0023). */
const batch = z.boolean().default(false);

/** A worker's socket, as it is kept through hibernation; the runtime allows 16,384 bytes. */
const workerAttachment = z.object({
  kind: z.literal("worker"),
  id: z.string(),
  openedAt: z.number(),
  tokenId: z.string(),
  batch,
  /** The origin under which the worker reaches the edge; the addresses of files begin with it. */
  origin: z.string(),
  state: z.discriminatedUnion("phase", [
    /** `isAnnounced`: a large \`register\` is under way, so that its time began later. */
    z.object({ phase: z.literal("new"), isAnnounced: z.boolean().default(false) }),
    z.object({
      phase: z.enum(["ready", "draining"]),
      workerId: z.string(),
      name: z.string().nullable(),
      generation: z.number(),
      /** How many jobs the worker offered to run at once. */
      offered: z.number(),
      /** Its `job` frames have the address of output files; without it they are a third shorter. */
      sendsFiles: z.boolean().default(false),
      capabilities: z.array(z.string()).default([]),
      /** Whether it said what the space takes. */
      hasSchema: z.boolean().default(false),
      /** How busy the worker's machine is, 0 to 1, as it last reported. */
      load: z.number().default(0),
      /** Frames about attempts that could not be taken, on this connection. */
      refusedFrames: z.number().default(0),
      /** Its ping was overdue when this was last looked at. */
      isSilent: z.boolean().default(false),
      /** The large frame that it announced last (decision 0046). `bytes` is 0 once that has arrived, at `until`. */
      sending: z.object({ bytes: z.number(), until: z.number() }).nullable().default(null),
    }),
    z.object({ phase: z.literal("gone") }),
  ]),
});

/** A subscriber's socket, as it is kept through hibernation. */
const subscriberAttachment = z.object({
  kind: z.literal("subscriber"),
  id: z.string(),
  /** The one job it follows, or `null` for a socket of the whole space. */
  jobUlid: z.string().nullable(),
  batch,
  origin: z.string(),
  caller,
  /** The job it follows is canceled when the socket breaks off (decision 0019). */
  leaving: z.boolean().default(false),
  /** Jobs it asked to follow, by ULID. */
  follows: z.array(z.string()),
  /** Jobs it submitted and asked not to follow any longer. */
  muted: z.array(z.string()),
  /** Malformed frames in a row. */
  malformed: z.number(),
  /** The edge itself reads this socket, for somebody else. */
  relayed: z.boolean().default(false),
  /** Only for single-job sockets; `null` means unthrottled. */
  throttled: throttled.nullable().default(null),
  ...signsOfLife,
});

const attachment = z.discriminatedUnion("kind", [workerAttachment, subscriberAttachment]);

export type WorkerAttachment = z.infer<typeof workerAttachment>;
export type SubscriberAttachment = z.infer<typeof subscriberAttachment>;
/** A subscriber before its first frame. */
export type NewSubscriber = Omit<
  SubscriberAttachment,
  "kind" | "follows" | "muted" | "malformed" | keyof SignsOfLife
>;

/** @param space its name: of a token's patterns only that is kept which concerns the space */
export function newSubscriber(
  id: string,
  request: SocketRequestOf<"subscriber">,
  space: string,
): NewSubscriber {
  const { jobUlid, origin, leaving, batch, maxRate, acks, relayed } = request;
  const throttled = throttledAs(maxRate, acks);
  const { spaces } = request.caller;
  const named = spaces?.some((pattern) => namesSpace(pattern, space)) ? [space] : [];
  const caller = { ...request.caller, spaces: spaces === null ? null : named };
  return { id, jobUlid, caller, origin, leaving, batch, throttled, relayed };
}

export type WorkerConnection = ObjectSocket<WorkerAttachment>;
export type SubscriberConnection = ObjectSocket<SubscriberAttachment>;
export type Connection = WorkerConnection | SubscriberConnection;
type Attachment = Connection["attachment"];

export type ReadyWorker = WorkerConnection & {
  attachment: { state: Extract<WorkerAttachment["state"], { workerId: string }> };
};

/** The sockets of one space: its workers' and its subscribers'. */
export class Connections extends ObjectSockets<Attachment> {
  private readonly byId = new Map<string, Connection>();
  /** The workers among them: few among many, and looked up for each job. */
  private readonly workersById = new Map<string, WorkerConnection>();
  /** The ids of the sockets that follow the space itself, and so its status. */
  private readonly watchers = new Set<string>();
  /** While frames are gathered: the texts for each socket that reads batches. */
  private gathered: Map<ObjectSocket<Attachment>, string[]> | null = null;

  constructor(ctx: DurableObjectState) {
    super(ctx, attachment, { readerKind, ownerOf });
    for (const kept of this.all()) this.index(kept as Connection);
  }

  override accept<A extends Attachment>(socket: WebSocket, attachment: A): ObjectSocket<A> {
    const accepted = super.accept(socket, attachment);
    this.index(accepted as Connection);
    return accepted as ObjectSocket<A>;
  }

  /** The runtime does not list a socket whose close woke the object: what it kept is all there is. */
  override of(socket: WebSocket): Connection | null {
    return (super.of(socket) ?? this.remembered(socket)) as Connection | null;
  }

  get(id: string): Connection | null {
    return this.byId.get(id) ?? null;
  }

  workers(): WorkerConnection[] {
    return [...this.workersById.values()];
  }

  get hasWorkers(): boolean {
    return this.workersById.size > 0;
  }

  readyWorkers(): ReadyWorker[] {
    return this.workers().filter(isReady);
  }

  subscribers(): SubscriberConnection[] {
    return [...this.byId.values()].filter(isSubscriber);
  }

  /** When the first session, key or token of a subscriber expires, milliseconds since 1970; `null`: none does. */
  earliestExpiry(): number | null {
    let first: number | null = null;
    for (const { attachment } of this.subscribers()) {
      const { expiresAt } = attachment.caller;
      if (expiresAt !== null && (first === null || expiresAt < first)) first = expiresAt;
    }
    return first;
  }

  /** Whether somebody is sent the status of the space. */
  get isWatched(): boolean {
    return this.watchers.size > 0;
  }

  override sendText(connection: ObjectSocket<Attachment>, text: string): void {
    // The alarm that closes it may be late.
    if (isExpired(connection.attachment, Date.now())) return;
    if (this.gathered === null || !connection.attachment.batch) {
      sendFrames(targetOf(connection), [text]);
      return;
    }
    const texts = this.gathered.get(connection);
    if (texts) texts.push(text);
    else this.gathered.set(connection, [text]);
  }

  /** Runs `send`; frames it sends to a socket that reads batches go out as one message when it returns. */
  sendTogether(send: () => void): void {
    if (this.gathered !== null) {
      send();
      return;
    }
    const corked = new Map<ObjectSocket<Attachment>, string[]>();
    this.gathered = corked;
    try {
      send();
    } finally {
      this.gathered = null;
      for (const [connection, texts] of corked) sendFrames(targetOf(connection), texts);
    }
  }

  override close(
    connection: ObjectSocket<Attachment>,
    close: keyof typeof CLOSE,
    reason = "",
  ): void {
    this.sendGathered(connection);
    super.close(connection, close, reason);
  }

  override remove(connection: ObjectSocket<Attachment>): void {
    super.remove(connection);
    this.byId.delete(connection.attachment.id);
    this.workersById.delete(connection.attachment.id);
    this.watchers.delete(connection.attachment.id);
  }

  /** Sends what is gathered for a socket at once: nothing can be sent after a close. */
  private sendGathered(connection: ObjectSocket<Attachment>): void {
    const texts = this.gathered?.get(connection);
    if (!texts) return;
    this.gathered?.delete(connection);
    sendFrames(targetOf(connection), texts);
  }

  private index(connection: Connection): void {
    this.byId.set(connection.attachment.id, connection);
    if (isWorker(connection)) this.workersById.set(connection.attachment.id, connection);
    if (isWatcher(connection)) this.watchers.add(connection.attachment.id);
  }
}

/** Decodes the frames of a message; one malformed frame does not spoil the others. */
export function framesOf<T>(
  { attachment: { batch } }: Connection,
  raw: string | ArrayBuffer,
  schema: FrameSchema<T>,
): Decoded<T>[] {
  return batch ? decodeFrames(raw, schema) : [decodeFrame(raw, schema)];
}

/** Whoever has the operator's key or a worker's token is no stranger. */
function readerKind(attachment: Attachment): ReaderKind {
  if (attachment.kind === "worker") return "trusted";
  if (attachment.relayed) return "relayed";
  if (attachment.throttled?.flow) return "acknowledging";
  return attachment.caller.isAdmin ? "trusted" : "stranger";
}

function ownerOf(attachment: Attachment): string | null {
  if (attachment.kind === "worker") return `token ${attachment.tokenId}`;
  const { caller, relayed } = attachment;
  return caller.isAdmin || relayed ? null : countedAs(caller);
}

function targetOf({
  socket,
  reader,
  attachment: { batch },
}: ObjectSocket<Attachment>): FrameTarget {
  return { socket, reader, batch };
}

/** Whether the session, key or token of a subscriber has expired: it has no right to anything more. */
export function isExpired(attachment: Attachment, now: number): boolean {
  if (attachment.kind === "worker") return false;
  const { expiresAt } = attachment.caller;
  return expiresAt !== null && now >= expiresAt;
}

export function isWorker(connection: Connection): connection is WorkerConnection {
  return connection.attachment.kind === "worker";
}

export function isSubscriber(connection: Connection): connection is SubscriberConnection {
  return connection.attachment.kind === "subscriber";
}

/** Whether it follows the space itself, not one job. */
export function isWatcher(connection: Connection): boolean {
  return isSubscriber(connection) && connection.attachment.jobUlid === null;
}

export function isReady(connection: WorkerConnection): connection is ReadyWorker {
  const { phase } = connection.attachment.state;
  return phase === "ready" || phase === "draining";
}
