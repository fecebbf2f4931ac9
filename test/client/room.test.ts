import { describe, expect, test } from "vitest";
import { type Gap, isEvent, type Presence, type RoomEvent } from "../../src/client/index.ts";
import { AT, type FakeRequest, type Frame } from "../support/fake-subscriber-edge.ts";
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
    expect(new Set(ids)).toEqual(new Set([published.id]));
    expect(edge.requests.map(({ headers }) => headers.authorization)).toEqual(
      Array(3).fill("Bearer key"),
    );
    expect(published).toMatchObject({ room: ROOM, offset: 1, repeated: true });
  });

  test("history and presence are read page by page", async () => {
    const { edge, client } = await startClient();
    edge.answer = ({ path }) => {
      if (path.endsWith("/presence")) {
        const users = [{ user_id: "ada", connections: 2, since: AT }];
        return { body: { room: ROOM, users, connections: 2 } };
      }
      const place = { room: ROOM, epoch: "e", offset: 9, recovered: true, next: "e:9" };
      return { body: { ...place, events: [event(9)] } };
    };
    const page = await client.room(ROOM).history({ since: "e:8", limit: 5 });
    expect(page).toMatchObject({ recovered: true, events: [{ offset: 9, position: "e:9" }] });
    expect(Object.fromEntries(edge.requests[0]?.query ?? [])).toEqual({ since: "e:8", limit: "5" });
    expect(await client.room(ROOM).presence()).toMatchObject({ connections: 2 });
  });
});
