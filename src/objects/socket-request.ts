import { z } from "zod";
import { caller } from "../auth/caller.ts";
import { sessionPrincipal } from "../auth/session.ts";
import { eventFilter } from "../protocol/room-frames.ts";

/** Who opened the socket, as its token says; `null` if it came without a token or key. */
const principal = sessionPrincipal.nullable();
/** Where the client left off, `<epoch>:<offset>`; with any other text it starts from a snapshot. */
const since = z.string().optional();
/** The client reads batches of frames, and may send them. */
const batch = z.boolean().default(false);
/** The client acknowledges the events that it receives. */
const acks = z.boolean().default(false);
/** The most progress frames a second that the client wants; `null` means every one. */
const maxRate = z.number().nullable().default(null);

/** The client's network address. Its sockets are counted by this. */
const address = z.string().default("unknown");
/** The edge itself reads the socket, for a stream or a gateway's client. */
const relayed = z.boolean().default(false);

const worker = z.object({
  kind: z.literal("worker"),
  /** The origin under which the worker reaches the edge. Addresses of files that it is sent begin with it. */
  origin: z.string(),
  tokenId: z.string(),
  /** When the Worker began to check the token, milliseconds since 1970; a Worker of an earlier release doesn't say. */
  checkedAt: z.number().default(Number.MAX_SAFE_INTEGER),
  batch,
});

const subscriber = z.object({
  kind: z.literal("subscriber"),
  /** ULID of the one job that the socket follows; `null` means the whole space. */
  jobUlid: z.string().nullable().default(null),
  caller,
  origin: z.string().default(""),
  /** The job is canceled if the socket closes with any code but 1000 (decision 0019). */
  leaving: z.boolean().default(false),
  since,
  maxRate,
  acks,
  batch,
  relayed,
});

const backendJob = z.object({
  kind: z.literal("backend-job"),
  principal,
  /** If the job does not exist yet, refuses the socket instead of letting it wait. */
  mustExist: z.boolean().default(false),
  /** The socket waited until the job was made: its token was checked when it began to wait, and may have expired. */
  waited: z.boolean().default(false),
  address,
  /** Seconds between two `ping` frames from the edge; `null` means none are sent. */
  pingS: z.number().nullable().default(null),
  since,
  maxRate,
  acks,
  relayed,
});

const room = z.object({
  kind: z.literal("room"),
  principal,
  filter: eventFilter.nullable(),
  /** The client wants `presence.joined` and `presence.left`. */
  presence: z.boolean(),
  since,
  acks,
  batch,
  relayed,
});

const gateway = z.object({ kind: z.literal("gateway"), principal, acks, batch });

const monitor = z.object({ kind: z.literal("monitor"), principal });

const socketRequest = z.discriminatedUnion("kind", [
  worker,
  subscriber,
  backendJob,
  room,
  gateway,
  monitor,
]);

/** What the Worker tells an object about a socket that it has authenticated. */
export type SocketRequest = z.infer<typeof socketRequest>;
type SocketKind = SocketRequest["kind"];
export type SocketRequestOf<K extends SocketKind> = Extract<SocketRequest, { kind: K }>;

const HEADER = "x-dialout-socket";

/**
 * Makes the headers with which the Worker opens a socket at an object. They are made from scratch: if the
 * client's own headers were passed on, a client could send this header itself and claim any rights it likes.
 * A header carries only ASCII, so the JSON is percent-encoded.
 *
 * @param protocol the header with the client's subprotocol, if it offered one
 */
export function socketHeaders(
  request: z.input<typeof socketRequest>,
  protocol: Record<string, string> = {},
): Headers {
  const text = encodeURIComponent(JSON.stringify(request));
  return new Headers({ upgrade: "websocket", ...protocol, [HEADER]: text });
}

/**
 * Reads what the Worker wrote with `socketHeaders`.
 *
 * @throws {Error} if the header is missing or malformed, or describes a socket of another kind
 */
export function readSocketRequest<K extends SocketKind>(
  headers: Headers,
  ...kinds: readonly K[]
): SocketRequestOf<K> {
  const text = decodeURIComponent(headers.get(HEADER) ?? "null");
  const request = socketRequest.parse(JSON.parse(text));
  if (isOf(request, kinds)) return request;
  throw new Error(`A socket of kind ${request.kind} was opened at the wrong object.`);
}

function isOf<K extends SocketKind>(
  request: SocketRequest,
  kinds: readonly K[],
): request is SocketRequestOf<K> {
  return kinds.some((kind) => kind === request.kind);
}
