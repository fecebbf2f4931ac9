import { z } from "zod";
import { sessionPrincipal } from "../auth/session.ts";
import { eventFilter } from "../protocol/room-frames.ts";

/** `null`: nobody who showed anything. */
const principal = sessionPrincipal.nullable();
/** Where the client left off, `<epoch>:<offset>`; anything else starts from a snapshot. */
const since = z.string().optional();
/** The client reads batches of frames, and may send them. */
const batch = z.boolean().default(false);
/** The client acknowledges what arrives. */
const acks = z.boolean().default(false);
/** Progress frames a second at most; `null`: every one. */
const maxRate = z.number().nullable().default(null);

const worker = z.object({
  kind: z.literal("worker"),
  /** Where the worker dialed: the base of the file addresses it is sent. */
  origin: z.string(),
  tokenId: z.string(),
  batch,
});

const subscriber = z.object({
  kind: z.literal("subscriber"),
  /** ULID of the one job it follows; `null`: the whole space. */
  jobUlid: z.string().nullable().default(null),
  /** It may see what is private. */
  operator: z.boolean(),
  origin: z.string().default(""),
  /** The address it comes from: its submits are counted by this. */
  address: z.string().default("unknown"),
  /** Its one job is canceled when the socket breaks off. */
  leaving: z.boolean().default(false),
  since,
  maxRate,
  acks,
  batch,
});

const backendJob = z.object({
  kind: z.literal("backend-job"),
  principal,
  /** Refused if there is no such job yet, rather than kept waiting for it. */
  mustExist: z.boolean().default(false),
  /** The edge sends a `ping` this often, seconds; `null`: never. */
  pingS: z.number().nullable().default(null),
  since,
  maxRate,
  acks,
});

const room = z.object({
  kind: z.literal("room"),
  principal,
  filter: eventFilter.nullable(),
  /** It wants to know who comes and goes. */
  presence: z.boolean(),
  since,
  acks,
  batch,
});

const gateway = z.object({ kind: z.literal("gateway"), principal, acks, batch });

const socketRequest = z.discriminatedUnion("kind", [worker, subscriber, backendJob, room, gateway]);

/** What the Worker tells an object about a socket that it has authenticated. */
export type SocketRequest = z.infer<typeof socketRequest>;
type SocketKind = SocketRequest["kind"];
export type SocketRequestOf<K extends SocketKind> = Extract<SocketRequest, { kind: K }>;

const HEADER = "x-dialout-socket";

/**
 * Headers for the `fetch` of an object that opens a socket. Made from nothing: a client's own headers must
 * not get there, or it could say of itself what it likes. A header carries ASCII alone, hence the encoding.
 *
 * @param protocol the client's subprotocol, as a header
 */
export function socketHeaders(
  request: z.input<typeof socketRequest>,
  protocol: Record<string, string> = {},
): Headers {
  const text = encodeURIComponent(JSON.stringify(request));
  return new Headers({ upgrade: "websocket", ...protocol, [HEADER]: text });
}

/** @throws {Error} if the request is not the Worker's, or is for another kind of object */
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
