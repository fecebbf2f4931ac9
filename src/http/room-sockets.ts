import { maySubscribe, type Principal } from "../auth/principal.ts";
import { fitsSession, type SessionPrincipal, socketPrincipalOf } from "../auth/session.ts";
import { closeQuietly } from "../objects/close-quietly.ts";
import type { Refusal } from "../objects/reply.ts";
import { socketHeaders } from "../objects/socket-request.ts";
import { protocolHeader } from "../objects/subprotocol.ts";
import { attachmentSize } from "../protocol/attachment-size.ts";
import { whyNotJson } from "../protocol/broken-json.ts";
import { CLOSE, type ProblemCode } from "../protocol/codes.ts";
import { type EventFilter, eventFilter } from "../protocol/room-frames.ts";
import { RoomStub } from "../room/room-stub.ts";
import { type AppContext, hasFlag, refused } from "./context.ts";
import { principalOf } from "./principal.ts";
import { ProblemError, validate } from "./problems.ts";

interface SocketFlags {
  /** The client reads batches. A stream of events asks for none, because each of its events has an id. */
  batch: boolean;
  /** The client acknowledges the frames that arrive. */
  acks: boolean;
}

interface RoomSocketOptions extends SocketFlags {
  since: string | undefined;
  filter: EventFilter | null;
  /** The socket is read here, for a stream. */
  relayed?: boolean;
}

/** Opens a socket that follows one room, directly at the room's object. */
export async function openRoom(c: AppContext, room: string): Promise<Response> {
  return openOrRefuse(c, async () => {
    const principal = await requirePrincipal(c);
    if (!maySubscribe(principal, room)) {
      throw new ProblemError(
        "not_allowed",
        `Your token does not let you follow ${room}: its claim \`rooms\` does not name it.`,
      );
    }
    const options = {
      since: c.req.query("since"),
      batch: hasFlag(c, "batch"),
      acks: hasFlag(c, "acks"),
    };
    return openRoomSocket(c, room, principal, { ...options, filter: filterOf(c) });
  });
}

/** Opens a socket that follows many channels, at a gateway near the client (decision 0021). */
export async function openGateway(c: AppContext): Promise<Response> {
  return openOrRefuse(c, async () => {
    const principal = await requirePrincipal(c);
    const { name, locationHint } = nearestGateway(c);
    const stub = c.env.GATEWAY.getByName(name, { locationHint });
    const headers = socketHeaders(
      {
        kind: "gateway",
        principal: storedPrincipalOf(principal),
        batch: hasFlag(c, "batch"),
        acks: hasFlag(c, "acks"),
      },
      protocolHeader(c.req.raw),
    );
    return opened(await stub.fetch("https://gateway/socket", { headers }));
  });
}

/** @throws {ProblemError} if the principal's rights are too large to be stored with a socket */
export async function openRoomSocket(
  c: AppContext,
  room: string,
  principal: Principal,
  options: RoomSocketOptions,
): Promise<Response> {
  const presence = hasFlag(c, "presence");
  const headers = socketHeaders(
    { kind: "room", principal: storedPrincipalOf(principal), presence, ...options },
    protocolHeader(c.req.raw),
  );
  return opened(await new RoomStub(c.env, room).open(headers));
}

/** @throws {ProblemError} if the object refused the socket */
export async function opened(response: Response): Promise<Response> {
  const isRefusal = response.headers.get("content-type")?.startsWith("application/json");
  if (!isRefusal) return response;
  throw refused(await response.json<Refusal>());
}

/** Reads the filter in `?filter=`: the same JSON as `filter` in a `subscribe` frame. */
export function filterOf(c: AppContext): EventFilter | null {
  const text = c.req.query("filter");
  if (text === undefined) return null;
  const filter = validate(eventFilter, parseFilterJson(text), "the filter");
  if (attachmentSize(filter) <= FILTER_BYTES) return filter;
  const detail = `filter: may have ${FILTER_BYTES} bytes at most. Send a smaller one and filter the rest yourself.`;
  throw new ProblemError("invalid_request", detail);
}

/** A filter is stored in the socket's attachment, which the rights of the token must fit into too. */
const FILTER_BYTES = 4_096;

function parseFilterJson(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    const detail = `filter: must be JSON: ${whyNotJson(text)}.`;
    throw new ProblemError("invalid_request", detail);
  }
}

async function requirePrincipal(c: AppContext): Promise<Principal> {
  const principal = await principalOf(c);
  if (principal.kind === "anonymous") {
    const how = "in `Authorization`, `?token=` or the subprotocol `dialout.token.<token>`";
    throw new ProblemError("not_authenticated", `This socket needs a token, ${how}.`);
  }
  return principal;
}

/** @throws {ProblemError} if the principal's rights are too large to be stored with a socket */
function storedPrincipalOf(principal: Principal): SessionPrincipal | null {
  if (fitsSession(principal)) return socketPrincipalOf(principal);
  throw new ProblemError(
    "not_allowed",
    "The token has too many rights: use patterns such as `project:*`.",
  );
}

/** Where to create a gateway, by the continent of its clients. */
const HINTS = new Map<string, DurableObjectLocationHint>([
  ["AF", "afr"],
  ["AS", "apac"],
  ["EU", "weur"],
  ["NA", "enam"],
  ["OC", "oc"],
  ["SA", "sam"],
]);
const DEFAULT_GATEWAYS = 4;

/**
 * Chooses one of the continent's gateways at random, so that each gets about the same number of sockets. A continent
 * that is not known has none of its own: on one's own server, a client could name as many as it likes.
 */
function nearestGateway(c: AppContext) {
  const { continent } = (c.req.raw.cf ?? {}) as { continent?: string };
  const shards = Number(c.env.GATEWAYS ?? DEFAULT_GATEWAYS);
  const shard = Math.floor(Math.random() * shards);
  const locationHint = HINTS.get(continent ?? "");
  const place = locationHint === undefined ? "local" : continent;
  return { name: `${place}-${shard}`, locationHint };
}

/** A page can't read why an upgrade was refused, so the socket is accepted and the reason sent over it (R2). */
export async function openOrRefuse(
  c: AppContext,
  open: () => Promise<Response>,
): Promise<Response> {
  try {
    return await open();
  } catch (error) {
    if (error instanceof ProblemError) return socketWithRefusal(c, error.code, error.message);
    throw error;
  }
}

/** The close code for a refused socket; 4403 for every other problem. */
const CLOSE_OF = new Map<ProblemCode, { code: number }>([
  ["not_authenticated", CLOSE.notAuthenticated],
  ["invalid_request", CLOSE.malformed],
  ["temporarily_unavailable", CLOSE.restart],
  ["rate_limited", CLOSE.tooMany],
]);

/** Accepts a socket, sends why it is refused, and closes it. */
function socketWithRefusal(c: AppContext, code: ProblemCode, message: string): Response {
  const { 0: client, 1: server } = new WebSocketPair();
  server.accept();
  server.send(JSON.stringify({ type: "connection.error", code, message }));
  const { code: close } = CLOSE_OF.get(code) ?? CLOSE.notAllowed;
  closeQuietly(server, close, message);
  const headers = protocolHeader(c.req.raw);
  return new Response(null, { status: 101, webSocket: client, headers });
}
