import { describe, expect, test } from "vitest";
import {
  type DialoutClient,
  type Gap,
  type HistoryRange,
  isEvent,
  type Presence,
  type RoomEvent,
  type RoomUser,
  type Sending,
} from "../../src/client/index.ts";
import { AT, type FakeRequest, type Frame, problem } from "../support/fake-subscriber-edge.ts";
import { startClient } from "./start.ts";

const ROOM = "project:42";

function event(offset: number, fields: Record<string, unknown> = {}): Frame {
  const about = { room: ROOM, id: `id-${offset}`, offset, timestamp: AT, data: { project_id: 42 } };
  return { type: "project.updated", ...about, ...fields };
}

/** Records the events and gaps that a subscriber received, in order. */
function notes() {
  const told: (RoomEvent | Gap)[] = [];
  const push = (item: RoomEvent | Gap) => void told.push(item);
  const offsets = () => told.map((item) => (item.type === "gap" ? "gap" : item.offset));
  return { told, offsets, handlers: { onEvent: push, onGap: push } };
}

describe("following rooms", () => {
  test("all rooms of a client share one socket, and each receives its own events", async () => {
    const { edge, client } = await startClient({ token: "a.b.c" });
    const [one, other] = [notes(), notes()];
    client.room(ROOM).subscribe(one.handlers);
    client.room("agent:7").subscribe(other.handlers);
    const socket = await edge.socket();
    expect(socket.path).toBe("/ws");
    expect(socket.protocols).toEqual(["dialout.v1", "dialout.token.a.b.c"]);
    socket.establish();
    expect(await socket.subscribed()).toMatchObject({ room: ROOM, presence: false });
    expect(await socket.subscribed()).toMatchObject({ room: "agent:7" });
    socket.send(event(1), event(1, { room: "agent:7", type: "agent.connected" }), event(2));
    await expect.poll(one.offsets).toEqual([1, 2]);
    expect(other.told).toMatchObject([{ type: "agent.connected", position: "e:1" }]);
    expect(edge.unasked).toBe(0);
  });

  test("frames that arrive as one batch are read in order (R13)", async () => {
    const { edge, client } = await startClient();
    const { offsets, handlers } = notes();
    client.room(ROOM).subscribe(handlers);
    const socket = await edge.socket();
    expect(socket.query.get("batch")).toBe("1");
    socket.establish();
    await socket.subscribed();
    socket.send({ type: "batch", frames: [event(1), event(2), event(3)] });
    await expect.poll(offsets).toEqual([1, 2, 3]);
  });

  test("after a broken connection every room resumes where it was (C8, R4)", async () => {
    const { edge, client } = await startClient();
    const { offsets, handlers } = notes();
    const links: string[] = [];
    client.room(ROOM).subscribe({ ...handlers, onLink: (state) => links.push(state) });
    const first = await edge.socket();
    first.establish();
    await first.subscribed({ offset: 4 });
    first.send(event(5), event(6));
    await expect.poll(offsets).toEqual([5, 6]);
    first.drop();
    const second = await edge.socket();
    second.establish();
    expect(await second.subscribed({ offset: 6, recovered: true })).toMatchObject({ since: "e:6" });
    second.send(event(6), event(7));
    await expect.poll(offsets).toEqual([5, 6, 7]);
    expect(links).toEqual(["open", "lost", "open"]);
  });

  test("events lost meanwhile are reported as a gap", async () => {
    const { edge, client } = await startClient();
    const { told, handlers } = notes();
    client.room(ROOM).subscribe({ ...handlers, since: "e:3" });
    const socket = await edge.socket();
    socket.establish();
    await socket.subscribed({ offset: 20 });
    socket.send(event(21));
    await expect.poll(() => told.length).toBe(2);
    expect(told[0]).toEqual({ type: "gap", after: "e:3", until: "e:20" });
  });

  test("a gap is filled from the room's history, and events that arrived meanwhile follow it", async () => {
    const { edge, client } = await startClient();
    const { told, offsets, handlers } = notes();
    edge.answer = ({ path, query }: FakeRequest) => {
      expect(path).toBe("/api/rooms/project%3A42/history");
      const from = Number(query.get("since")?.split(":")[1]) === 3 ? 6 : 9;
      const events = [from, from + 1, from + 2].map((offset) => event(offset));
      return {
        body: { room: ROOM, epoch: "e", offset: 12, recovered: from !== 6, next: "e:12", events },
      };
    };
    client.room(ROOM).subscribe({ ...handlers, since: "e:3", fillGaps: true });
    const socket = await edge.socket();
    socket.establish();
    await socket.subscribed({ offset: 10 });
    socket.send(event(11));
    await expect.poll(offsets).toEqual(["gap", 6, 7, 8, 9, 10, 11]);
    expect(told[0]).toEqual({ type: "gap", after: "e:3", until: "e:5" });
  });

  test("a gap whose history can't be read stays a gap", async () => {
    const { edge, client } = await startClient();
    const { told, handlers } = notes();
    client.room(ROOM).subscribe({ ...handlers, since: "e:3", fillGaps: true });
    const socket = await edge.socket();
    socket.establish();
    await socket.subscribed({ offset: 10 });
    await expect.poll(() => told).toEqual([{ type: "gap", after: "e:3", until: "e:10" }]);
  });

  test("two subscribers of one room share its subscription, each with its own filter", async () => {
    const { edge, client } = await startClient();
    const [picky, keen] = [notes(), notes()];
    const filter = { types: ["project.deleted"] };
    const first = client.room(ROOM).subscribe({ ...picky.handlers, filter });
    const socket = await edge.socket();
    socket.establish();
    expect(await socket.subscribed()).toMatchObject({ filter });
    socket.send(event(3, { type: "project.deleted" }));
    await expect.poll(picky.offsets).toEqual([3]);
    client.room(ROOM).subscribe(keen.handlers);
    const again = await socket.subscribed({ offset: 3, recovered: true });
    expect(again).toMatchObject({ since: "e:3" });
    expect(again.filter).toBeUndefined();
    socket.send(event(4), event(5, { type: "project.deleted" }));
    await expect.poll(keen.offsets).toEqual([4, 5]);
    expect(picky.offsets()).toEqual([3, 5]);
    first.close();
    socket.send(event(6));
    await expect.poll(keen.offsets).toEqual([4, 5, 6]);
  });

  test("a room without subscribers is unsubscribed, and the socket closes after the last room", async () => {
    const { edge, client } = await startClient();
    const subscription = client.room(ROOM).subscribe({});
    const other = client.room("agent:7").subscribe({});
    const socket = await edge.socket();
    socket.establish();
    await socket.subscribed();
    await socket.subscribed();
    subscription.close();
    expect(await socket.next("unsubscribe")).toEqual({ type: "unsubscribe", room: ROOM });
    other.close();
    expect(await socket.closed).toBe(1000);
    expect(await subscription.closed).toBeNull();
  });

  test("a client that was closed can be used again", async () => {
    const { edge, client } = await startClient();
    const before = client.room(ROOM).subscribe({});
    const first = await edge.socket();
    client.close();
    expect(await before.closed).toBeNull();
    await first.closed;
    const { offsets, handlers } = notes();
    client.room(ROOM).subscribe(handlers);
    const second = await edge.socket();
    second.establish();
    await second.subscribed();
    second.send(event(1));
    await expect.poll(offsets).toEqual([1]);
  });

  test("a refused room ends its own subscribers and no others", async () => {
    const { edge, client } = await startClient();
    const { offsets, handlers } = notes();
    const refused = client.room("project:13").subscribe({});
    client.room(ROOM).subscribe(handlers);
    const socket = await edge.socket();
    socket.establish();
    const { room, ref } = await socket.next("subscribe");
    socket.send({ type: "error", code: "not_allowed", message: "Not yours.", room, ref });
    await socket.subscribed();
    expect(await refused.closed).toMatchObject({ code: "not_allowed", message: "Not yours." });
    await socket.next("unsubscribe");
    socket.send(event(1));
    await expect.poll(offsets).toEqual([1]);
  });

  test("a temporarily unavailable room is subscribed to again", async () => {
    const { edge, client } = await startClient();
    const { offsets, handlers } = notes();
    client.room(ROOM).subscribe(handlers);
    const socket = await edge.socket();
    socket.establish();
    const { room, ref } = await socket.next("subscribe");
    socket.send({ type: "error", code: "temporarily_unavailable", message: "Later.", room, ref });
    await socket.subscribed();
    socket.send(event(1));
    await expect.poll(offsets).toEqual([1]);
  });

  test("joins and leaves are reported only if requested (R10)", async () => {
    const { edge, client } = await startClient();
    const presences: Presence[] = [];
    client.room(ROOM).subscribe({ onPresence: (presence) => presences.push(presence) });
    const socket = await edge.socket();
    socket.establish();
    expect(await socket.subscribed()).toMatchObject({ presence: true });
    const joined = { type: "presence.joined", room: ROOM, user_id: "bo", timestamp: AT };
    socket.send(joined);
    await expect.poll(() => presences).toEqual([joined]);
  });

  test("a subscriber begins with the newest events, and those that arrive meanwhile follow them", async () => {
    const { edge, client } = await startClient();
    const { told, offsets, handlers } = notes();
    const filter = { types: ["project.*"] };
    edge.answer = ({ query }: FakeRequest) => {
      expect(query.get("order")).toBe("desc");
      expect(JSON.parse(query.get("filter") ?? "")).toEqual(filter);
      const before = Number(query.get("before")?.split(":")[1]);
      const events = [before - 1, before - 2].map((offset) => event(offset));
      const more = before > 8;
      const place = { room: ROOM, epoch: "e", offset: 11, recovered: true, more };
      return { body: { ...place, next: `e:${before - 2}`, events } };
    };
    client.room(ROOM).subscribe({ ...handlers, filter, last: 3 });
    const socket = await edge.socket();
    socket.establish();
    await socket.subscribed({ offset: 10 });
    socket.send(event(11), event(12));
    await expect.poll(offsets).toEqual([7, 8, 9, 10, 11, 12]);
    expect(told[0]).toMatchObject({ position: "e:7" });
    expect(edge.requests.map(({ query }) => query.get("before"))).toEqual(["e:11", "e:9"]);
    socket.drop();
    const again = await edge.socket();
    again.establish();
    expect(await again.subscribed({ offset: 12, recovered: true })).toMatchObject({
      since: "e:12",
    });
    again.send(event(13));
    await expect.poll(offsets).toEqual([7, 8, 9, 10, 11, 12, 13]);
    expect(edge.requests).toHaveLength(2);
  });

  test("newest events that can't be read are a gap, and later ones follow it", async () => {
    const { edge, client } = await startClient();
    const { told, handlers } = notes();
    client.room(ROOM).subscribe({ ...handlers, last: 5 });
    const socket = await edge.socket();
    socket.establish();
    await socket.subscribed({ offset: 10 });
    socket.send(event(11));
    await expect.poll(() => told.length).toBe(2);
    expect(told).toMatchObject([{ type: "gap", after: "e:0", until: "e:10" }, { offset: 11 }]);
  });

  test("a subscriber that names a position does not begin with older events", async () => {
    const { edge, client } = await startClient();
    const { offsets, handlers } = notes();
    client.room(ROOM).subscribe({ ...handlers, since: "e:4", last: 5 });
    const socket = await edge.socket();
    socket.establish();
    await socket.subscribed({ offset: 4, recovered: true });
    socket.send(event(5));
    await expect.poll(offsets).toEqual([5]);
    expect(edge.requests).toEqual([]);
  });

  test("an iterator returns events and gaps in order", async () => {
    const { edge, client } = await startClient();
    const events = client.room(ROOM).events({ since: "e:1" });
    const socket = await edge.socket();
    socket.establish();
    await socket.subscribed({ offset: 8 });
    socket.send(event(9, { data: { project_id: 42, name: "Ada" } }));
    expect((await events.next()).value).toEqual({ type: "gap", after: "e:1", until: "e:8" });
    const { value } = await events.next();
    if (!value || value.type === "gap" || !isEvent(value, "project.updated")) {
      throw new Error("expected an event");
    }
    expect(value.data).toEqual({ project_id: 42, name: "Ada" });
    await events.return();
    await socket.closed;
  });
});

describe("rooms over HTTP", () => {
  test("a publish repeated after a broken connection has the same id, and so is one event (R16)", async () => {
    const { edge, client } = await startClient({ token: "key" });
    let tries = 0;
    edge.answer = (request) => {
      tries += 1;
      if (tries === 1) return "drop";
      if (tries === 2) return { status: 503 };
      const { type: _, data: __, ...place } = event(1);
      return { status: 200, body: { ...place, id: request.json().id, repeated: true } };
    };
    const published = await client.room(ROOM).publish({ type: "pr.created", data: { pr_id: 1 } });
    const ids = edge.requests.map((request) => request.json().id);
    expect(ids).toEqual(Array(3).fill(published.id));
    expect(edge.requests.map(({ headers }) => headers.authorization)).toEqual(
      Array(3).fill("Bearer key"),
    );
    expect(published).toMatchObject({ room: ROOM, offset: 1, repeated: true });
  });

  test("history and presence are read page by page", async () => {
    const { edge, client } = await startClient();
    edge.answer = ({ path, query }) => {
      if (path.endsWith("/presence")) {
        const isFirst = query.get("after") === null;
        const users = [{ user_id: isFirst ? "ada" : "bo", connections: 2, since: AT }];
        const next = isFirst ? { next: "1:ada" } : {};
        return { body: { room: ROOM, users, connections: 4, total: 2, ...next } };
      }
      const place = { room: ROOM, epoch: "e", offset: 9, recovered: true, next: "e:9" };
      return { body: { ...place, events: [event(9)] } };
    };
    const page = await client.room(ROOM).history({ since: "e:8", limit: 5 });
    expect(page).toMatchObject({ recovered: true, events: [{ offset: 9, position: "e:9" }] });
    expect(Object.fromEntries(edge.requests[0]?.query ?? [])).toEqual({ since: "e:8", limit: "5" });
    const there = await client.room(ROOM).presence();
    expect(there).toMatchObject({ connections: 4, users: [{ user_id: "ada" }, { user_id: "bo" }] });
    expect(there.next).toBeUndefined();
  });

  test("calls about a room take a `timeout` and say how they are being sent", async () => {
    const { edge, client } = await startClient();
    edge.answer = () => "hang";
    const room = client.room(ROOM);
    const states: string[] = [];
    const onSending = ({ state }: Sending) => void states.push(state);
    const options = { timeout: 300, onSending };
    const calls = [
      room.history({ ...options, last: 1 }),
      room.pastEvents(options).next(),
      room.presence(options),
      room.publish({ type: "a.b", data: {} }, options),
    ];
    const ends = await Promise.allSettled(calls);
    expect(ends).toMatchObject(Array(4).fill({ reason: { code: "timed_out" } }));
    expect(states).toEqual(Array(4).fill("sending"));
    for (const { query } of edge.requests) expect([...query.keys()]).not.toContain("timeout");
  });

  test("the newest events of a history are returned oldest first", async () => {
    const { edge, client } = await startClient();
    edge.answer = () => {
      const place = { room: ROOM, epoch: "e", offset: 9, recovered: false, more: true };
      return { body: { ...place, next: "e:8", events: [event(9), event(8)] } };
    };
    const page = await client.room(ROOM).history({ last: 2 });
    expect(page).toMatchObject({ next: "e:8", more: true, events: [{ offset: 8 }, { offset: 9 }] });
    const query = Object.fromEntries(edge.requests[0]?.query ?? []);
    expect(query).toEqual({ order: "desc", limit: "2" });
  });

  test("all past events are read page by page in either direction, with a gap for dropped ones", async () => {
    const { edge, client } = await startClient();
    const pages = new Map([
      ["asc null", { recovered: false, next: "e:2", more: true, events: [event(1), event(2)] }],
      ["asc e:2", { recovered: false, next: "e:6", more: false, events: [event(6)] }],
      ["desc null", { recovered: false, next: "e:5", more: true, events: [event(6), event(5)] }],
      ["desc e:5", { recovered: false, next: "e:5", more: false, events: [] }],
    ]);
    edge.answer = ({ query }) => {
      const order = query.get("order");
      const page = pages.get(`${order} ${query.get(order === "asc" ? "since" : "before")}`);
      return { body: { room: ROOM, epoch: "e", offset: 6, ...page } };
    };
    const read = async (range: HistoryRange) => {
      const items: unknown[] = [];
      for await (const item of client.room(ROOM).pastEvents(range)) {
        items.push(item.type === "gap" ? `${item.after}-${item.until}` : item.offset);
      }
      return items;
    };
    expect(await read({})).toEqual([1, 2, "e:2-e:5", 6]);
    expect(await read({ order: "desc" })).toEqual([6, 5]);
  });
});

describe("the users in a room", () => {
  const joined = (user_id: string) => {
    return { type: "presence.joined", room: ROOM, user_id, timestamp: AT };
  };
  const left = (user_id: string) => ({ ...joined(user_id), type: "presence.left" });

  /** Answers with these users; `release` lets a held answer go. */
  function listOf(...users: string[]) {
    const list = users.map((user_id) => ({ user_id, connections: 1, since: AT }));
    return { body: { room: ROOM, users: list, connections: users.length } };
  }

  function watch(client: DialoutClient) {
    const lists: string[] = [];
    const onUsers = (users: readonly RoomUser[]) =>
      lists.push(users.map(({ user_id }) => user_id).join());
    return { lists, subscription: client.room(ROOM).watchPresence({ onUsers }) };
  }

  test("are known from the start, and kept up to date, without any event being asked for", async () => {
    const { edge, client } = await startClient();
    edge.answer = () => listOf("ada");
    const { lists, subscription } = watch(client);
    const socket = await edge.socket();
    socket.establish();
    const { presence, filter } = await socket.subscribed();
    expect([presence, filter]).toEqual([true, { types: ["-"] }]);
    await expect.poll(() => lists).toEqual(["ada"]);
    socket.send(joined("bo"), joined("bo"), left("ada"));
    await expect.poll(() => lists).toEqual(["ada", "ada,bo", "ada,bo", "bo"]);
    subscription.close();
    expect(await socket.closed).toBe(1000);
  });

  test("are right even if somebody joins or leaves before the list arrives", async () => {
    const { edge, client } = await startClient();
    let answer: ReturnType<typeof listOf> | null = null;
    edge.answer = () => answer ?? { status: 503, body: { code: "temporarily_unavailable" } };
    const { lists } = watch(client);
    const socket = await edge.socket();
    socket.establish();
    await socket.subscribed();
    socket.send(joined("bo"), left("ada"));
    await socket.read();
    answer = listOf("ada", "cy");
    await expect.poll(() => lists, { timeout: 5_000 }).toEqual(["cy,bo"]);
  });

  test("are fetched again after a broken connection", async () => {
    const { edge, client } = await startClient();
    edge.answer = () => listOf("ada", "bo");
    const { lists } = watch(client);
    const first = await edge.socket();
    first.establish();
    await first.subscribed();
    await expect.poll(() => lists).toEqual(["ada,bo"]);
    first.drop();
    edge.answer = () => listOf("ada", "cy");
    const second = await edge.socket();
    second.establish();
    expect(await second.subscribed()).not.toHaveProperty("since");
    await expect.poll(() => lists).toEqual(["ada,bo", "ada,cy"]);
  });

  test("that may not be read end the watching with the edge's reason", async () => {
    const { edge, client } = await startClient();
    edge.answer = () => problem(403, "not_allowed", "Not yours.");
    const { subscription } = watch(client);
    const socket = await edge.socket();
    socket.establish();
    await socket.subscribed();
    expect(await subscription.closed).toMatchObject({ code: "not_allowed" });
  });

  test("are watched beside events with a filter of their own", async () => {
    const { edge, client } = await startClient();
    edge.answer = () => listOf("ada");
    const { offsets, handlers } = notes();
    const filter = { types: ["project.deleted"] };
    client.room(ROOM).subscribe({ ...handlers, filter });
    const { lists } = watch(client);
    const socket = await edge.socket();
    socket.establish();
    expect(await socket.subscribed()).toMatchObject({ presence: true, filter });
    socket.send(event(2, { type: "project.deleted" }), joined("bo"));
    await expect.poll(offsets).toEqual([2]);
    await expect.poll(() => lists.at(-1)).toBe("ada,bo");
    socket.drop();
    const again = await edge.socket();
    again.establish();
    expect(await again.subscribed({ offset: 2, recovered: true })).toMatchObject({ since: "e:2" });
  });
});
