import { maySubscribe, type Principal } from "../auth/principal.ts";
import { fitsSession, type SessionPrincipal, socketPrincipalOf } from "../auth/session.ts";
import { closeQuietly } from "../objects/close-quietly.ts";
import { socketHeaders } from "../objects/socket-request.ts";
import { protocolHeader } from "../objects/subprotocol.ts";
import { attachmentSize } from "../protocol/attachment-size.ts";
import { CLOSE, type ProblemCode } from "../protocol/codes.ts";
import { type EventFilter, eventFilter } from "../protocol/room-frames.ts";
import { RoomHandle } from "../room/room-handle.ts";
import { type AppContext, hasFlag } from "./context.ts";
import { principalOf } from "./principal.ts";
import { checked, ProblemError } from "./problems.ts";

interface SocketFlags {
  /** Whether it may be sent batches; a stream of events has an id for each. */
  batch: boolean;
  /** It acknowledges what arrives. */
  acks: boolean;
}

interface RoomSocketCall extends SocketFlags {
  since: string | undefined;
  filter: EventFilter | null;
}

/** A socket that follows one room: the shortest way to it. */
export async function openRoom(c: AppContext, room: string): Promise<Response> {
  return orRefused(c, async () => {
    const principal = await sessionPrincipalOf(c);
    if (!maySubscribe(principal, room)) {
      throw new ProblemError("not_allowed", `Your token does not let you follow ${room}.`);
    }
    const asked = {
      since: c.req.query("since"),
      batch: hasFlag(c, "batch"),
      acks: hasFlag(c, "acks"),
    };
    return openRoomSocket(c, room, principal, { ...asked, filter: filterOf(c) });
  });
}

/** A socket that follows many channels, at one of the gateways near its client. */
export async function openGateway(c: AppContext): Promise<Response> {
  return orRefused(c, async () => {
    const principal = await sessionPrincipalOf(c);
    const { name, locationHint } = nearestGateway(c);
    const stub = c.env.GATEWAY.getByName(name, { locationHint });
    const headers = socketHeaders(
      {
        kind: "gateway",
        principal: keptPrincipalOf(principal),
        batch: hasFlag(c, "batch"),
        acks: hasFlag(c, "acks"),
      },
      protocolHeader(c.req.raw),
    );
    return stub.fetch("https://gateway/socket", { headers });
  });
}

/** @throws {ProblemError} where the principal's rights don't fit a socket */
export async function openRoomSocket(
  c: AppContext,
  room: string,
  principal: Principal,
  call: RoomSocketCall,
): Promise<Response> {
  const presence = hasFlag(c, "presence");
  const headers = socketHeaders(
    { kind: "room", principal: keptPrincipalOf(principal), presence, ...call },
    protocolHeader(c.req.raw),
  );
  return new RoomHandle(c.env, room).open(headers);
}

/** `?filter=` has JSON as `subscribe` has. */
export function filterOf(c: AppContext): EventFilter | null {
  const text = c.req.query("filter");
  if (text === undefined) return null;
  const filter = checked(eventFilter, parsedOr(text));
  if (attachmentSize(filter) <= FILTER_BYTES) return filter;
  const detail = `filter: may take ${FILTER_BYTES} bytes at most. Ask for less, and choose on your side.`;
  throw new ProblemError("invalid_request", detail);
}

/** It lives in the socket's attachment, beside what its token may do. */
const FILTER_BYTES = 4_096;

function parsedOr(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    throw new ProblemError("invalid_request", "filter: must be JSON.");
  }
}

async function sessionPrincipalOf(c: AppContext): Promise<Principal> {
  const principal = await principalOf(c);
  if (principal.kind === "anonymous") {
    const how = "in `Authorization`, `?token=` or the subprotocol `dialout.token.<token>`";
    throw new ProblemError("not_authenticated", `This socket needs a token, ${how}.`);
  }
  return principal;
}

/** @throws {ProblemError} if the principal's rights are too large to be kept with a socket */
function keptPrincipalOf(principal: Principal): SessionPrincipal | null {
  if (fitsSession(principal)) return socketPrincipalOf(principal);
  throw new ProblemError("not_allowed", "The token's rights are too many: use patterns.");
}

/** Where gateways are put, by the continent their clients are on. */
const HINTS = new Map<string, DurableObjectLocationHint>([
  ["AF", "afr"],
  ["AS", "apac"],
  ["EU", "weur"],
  ["NA", "enam"],
  ["OC", "oc"],
  ["SA", "sam"],
]);
const DEFAULT_GATEWAYS = 4;

/** One of a few for each part of the world, at random: each has its share of the sockets. */
function nearestGateway(c: AppContext) {
  const { continent } = (c.req.raw.cf ?? {}) as { continent?: string };
  const shards = Number(c.env.GATEWAYS ?? DEFAULT_GATEWAYS);
  const shard = Math.floor(Math.random() * shards);
  const locationHint = HINTS.get(continent ?? "");
  return { name: `${continent ?? "local"}-${shard}`, locationHint };
}

/** Browsers tell nothing of a refused upgrade: who is not let in is told over the socket. */
export async function orRefused(c: AppContext, open: () => Promise<Response>): Promise<Response> {
  try {
    return await open();
  } catch (error) {
    if (error instanceof ProblemError) return refusedSocket(c, error.code, error.message);
    throw error;
  }
}

/** How a socket is closed that is refused with this; 4403 with any other. */
const CLOSE_OF = new Map<ProblemCode, { code: number }>([
  ["not_authenticated", CLOSE.notAuthenticated],
  ["invalid_request", CLOSE.malformed],
  ["temporarily_unavailable", CLOSE.restart],
]);

/** Accepts a socket only to say why it is refused, and closes it. */
function refusedSocket(c: AppContext, code: ProblemCode, message: string): Response {
  const { 0: client, 1: server } = new WebSocketPair();
  server.accept();
  server.send(JSON.stringify({ type: "connection.error", code, message }));
  const { code: close } = CLOSE_OF.get(code) ?? CLOSE.notAllowed;
  closeQuietly(server, close, message);
  const headers = protocolHeader(c.req.raw);
  return new Response(null, { status: 101, webSocket: client, headers });
}
