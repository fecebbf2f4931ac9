import { Hono } from "hono";
import { z } from "zod";
import { mayPublish, maySubscribe, type Principal } from "../auth/principal.ts";
import { socketPrincipalOf } from "../auth/session.ts";
import { RoomCatalog } from "../catalog/room-catalog.ts";
import { formatPosition, parsePosition } from "../channel/position.ts";
import { countedPrincipal } from "../objects/allowances.ts";
import { roomName } from "../protocol/address.ts";
import { iso } from "../protocol/iso.ts";
import { LIMITS } from "../protocol/limits.ts";
import {
  type EventToPublish,
  historyQuery,
  listRoomsQuery,
  type PublishedResource,
  publishBody,
} from "../protocol/room-events.ts";
import { type EventFilter, eventFilter, presenceQuery } from "../protocol/room-frames.ts";
import { RoomStub } from "../room/room-stub.ts";
import { requireAdmin } from "./access.ts";
import { note } from "./audit.ts";
import { readJson } from "./body.ts";
import { type AppContext, type AppEnv, answerJson, refused } from "./context.ts";
import { EventStreamWriter, STREAM_HEADERS } from "./event-stream-writer.ts";
import { readFrames } from "./follow.ts";
import { sinceOf } from "./job-events.ts";
import { principalOf } from "./principal.ts";
import { ProblemError, validate } from "./problems.ts";
import { filterOf, openRoomSocket } from "./room-sockets.ts";
import { lastFrameOf } from "./stream-end.ts";
import { limitUnused, noteUsed } from "./unused-rooms.ts";

/** Rooms over HTTP: backends publish events, and clients that may follow a room read its history. */
export const rooms = new Hono<AppEnv>()
  .get("/", async (c) => {
    await requireAdmin(c);
    const { prefix, cursor, limit } = validate(listRoomsQuery, c.req.query());
    const catalog = new RoomCatalog(c.env.DB);
    const found = await catalog.list({ prefix, after: cursor, limit: limit + 1 });
    const page = found.slice(0, limit);
    const next = found.length > limit ? (page.at(-1)?.room ?? null) : null;
    return c.json({ rooms: page, next_cursor: next });
  })
  .delete("/:room/events", clearRoom)
  .delete("/:room", clearRoom)
  .post("/:room/events", async (c) => {
    const room = roomParam(c);
    const principal = await principalOf(c);
    requirePublish(principal, room);
    const body = validate(publishBody, await readJson(c, LIMITS.jsonBodyBytes));
    const events = "events" in body ? body.events : [body];
    const stored = socketPrincipalOf(principal);
    const publisher = stored && countedPrincipal(stored);
    const published = await new RoomStub(c.env, room).publishFor(publisher, events);
    if (!Array.isArray(published)) throw refused(published);
    const frames = published.map(({ id, offset, at, repeated }, index): PublishedResource => {
      const place = { room, id, offset, timestamp: iso(at) };
      // The event that was stored under this id may differ from the one that was sent now.
      if (repeated) return { ...place, repeated };
      const { type, data } = events[index] as EventToPublish;
      return { type, ...place, data, repeated };
    });
    const isNew = published.some(({ repeated }) => !repeated);
    return c.json("events" in body ? { events: frames } : frames[0], isNew ? 201 : 200);
  })
  .get("/:room/history", async (c) => {
    const room = roomParam(c);
    const principal = await principalOf(c);
    requireSubscribe(principal, room);
    const {
      since: after,
      before: until,
      order: named,
      limit,
    } = validate(historyQuery, c.req.query());
    const [since, before] = [parsePosition(after), parsePosition(until)];
    // Whoever names only where to end wants the events just before it.
    const order = named ?? (before !== null && since === null ? "desc" : "asc");
    const options = { before, order, filter: historyFilterOf(c) };
    limitUnused(principal, room, Date.now());
    const page = await new RoomStub(c.env, room).history(since, limit, options);
    if (page.epoch !== "") noteUsed(principal, room, Date.now());
    const { last: offset, recovered, end, more, events } = page;
    const epoch = page.epoch || NO_EPOCH;
    const next = formatPosition({ epoch, offset: end });
    const fields = JSON.stringify({ room, epoch, offset, recovered, next, more });
    return answerJson(
      c,
      `${fields.slice(0, -1)},"events":[${events.map(({ text }) => text).join()}]}`,
    );
  })
  .get("/:room/presence", async (c) => {
    const room = roomParam(c);
    const principal = await principalOf(c);
    requireSubscribe(principal, room);
    limitUnused(principal, room, Date.now());
    const stub = new RoomStub(c.env, room);
    const { after = null } = validate(presenceQuery, c.req.query());
    const { users, connections, total, next } = await stub.presence(after);
    // A room without users may be in use all the same.
    const isUsed = total > 0 || (await stub.history(null, 1)).epoch !== "";
    if (isUsed) noteUsed(principal, room, Date.now());
    return c.json({ room, users, connections, total, ...(next === null ? {} : { next }) });
  })
  .get("/:room/events", async (c) => {
    const room = roomParam(c);
    const principal = await principalOf(c);
    requireSubscribe(principal, room);
    const filter = filterOf(c);
    if (c.req.method === "HEAD") return c.body(null, 200, STREAM_HEADERS);
    return streamRoom(c, room, principal, filter);
  });

/** Answers with server-sent events: the frames of the room's socket, each with its position as `id`. */
async function streamRoom(
  c: AppContext,
  room: string,
  principal: Principal,
  filter: EventFilter | null,
): Promise<Response> {
  const options = { since: sinceOf(c), filter, batch: false, acks: false, relayed: true };
  const response = await openRoomSocket(c, room, principal, options);
  const { webSocket: socket } = response;
  if (!socket)
    throw new ProblemError(
      "temporarily_unavailable",
      "The room can't be followed now: try again soon.",
    );
  const stream = new EventStreamWriter(false);
  const stop = readFrames(socket, {
    onFrame: (text) => stream.send(JSON.parse(text), text),
    onEnd: (close) => stream.end(lastFrameOf(close)),
  });
  stream.onReaderLeft(() => stop("goingAway"));
  return c.body(stream.readable, 200, STREAM_HEADERS);
}

/** Erases a room's events, for admins. */
async function clearRoom(c: AppContext): Promise<Response> {
  await requireAdmin(c);
  const room = roomParam(c);
  await new RoomStub(c.env, room).clear();
  await note(c, "room.clear", `room:${room}`);
  return c.body(null, 204);
}

/** The epoch in the history of a room that nobody has used yet, so that `next` is a position all the same. */
const NO_EPOCH = "none";

/** The filter of a page of history: `?filter=`, `?types=`, or both. */
function historyFilterOf(c: AppContext): EventFilter | null {
  const filter = filterOf(c);
  const types = c.req
    .queries("types")
    ?.flatMap((list) => list.split(",").map((type) => type.trim()));
  if (types === undefined) return filter;
  if (filter?.types) {
    throw new ProblemError("invalid_request", "types: `filter` has `types` too; send only one.");
  }
  return validate(eventFilter, { ...filter, types });
}

const roomPath = z.object({ room: roomName });

export function roomParam(c: AppContext): string {
  return validate(roomPath, { room: c.req.param("room") }).room;
}

function requireSubscribe(principal: Principal, room: string): void {
  requireRight(principal, maySubscribe(principal, room), `follow ${room}`, "rooms");
}

function requirePublish(principal: Principal, room: string): void {
  requireRight(principal, mayPublish(principal, room), `publish to ${room}`, "publish");
}

function requireRight(principal: Principal, may: boolean, what: string, claim: string): void {
  if (may) return;
  if (principal.kind === "anonymous") {
    const detail = "Rooms need a token: `Authorization: Bearer <token>` or `?token=`.";
    throw new ProblemError("not_authenticated", detail);
  }
  throw new ProblemError(
    "not_allowed",
    `Your token does not let you ${what}: its claim \`${claim}\` does not name it.`,
  );
}
