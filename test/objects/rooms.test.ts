import { evictDurableObject, runInDurableObject } from "cloudflare:test";
import { describe, expect, it, onTestFinished, vi } from "vitest";
import {
  connectUser,
  expireEvents,
  freshRoom,
  hibernateGateways,
  objectOf,
  publish,
  publishUntilNobodyFollows,
  roomOf,
  subscribe,
  userToken,
} from "./rooms-support.ts";
import { call, type Frame, OPERATOR, problemOf, TestSocket } from "./support.ts";

const ANY = { rooms: ["*"], publish: ["*"] };

function dataOf(frames: Frame[]) {
  return frames.map(({ data }) => (data as { n: number }).n);
}

describe("a socket of /ws", () => {
  it("starts with `connection.established`, and follows the user's own room and `global` (R3)", async () => {
    const socket = await TestSocket.open("/ws", {
      authorization: `Bearer ${await userToken("alice")}`,
    });
    const [established] = await socket.until(() => true);
    expect(established).toMatchObject({ user_id: "alice", rooms: ["global", "user:alice"] });
    const { offset } = await publish("user:alice", "project.updated", { project_id: 1 });
    expect(await socket.next("project.updated")).toMatchObject({ room: "user:alice", offset });
    await publish("global", "news.posted", { n: 1 });
    expect(await socket.next("news.posted")).toMatchObject({ room: "global", data: { n: 1 } });
  });

  it("accepts its token in the address or as a subprotocol (R1a)", async () => {
    const token = await userToken("bob");
    const byQuery = await TestSocket.open(`/ws?token=${token}`);
    expect(await byQuery.next("connection.established")).toMatchObject({ user_id: "bob" });
    const byProtocol = await TestSocket.open("/ws", {
      "sec-websocket-protocol": `dialout.v1, dialout.token.${token}`,
    });
    expect(await byProtocol.next("connection.established")).toMatchObject({ user_id: "bob" });
  });

  it("without a valid token gets the reason and is closed with 4401 (R2)", async () => {
    for (const headers of [{}, { authorization: `Bearer ${await userToken("alice", {}, -60)}` }]) {
      const socket = await TestSocket.open("/ws", headers as Record<string, string>);
      const error = await socket.next("connection.error");
      expect(error).toMatchObject({ code: "not_authenticated", message: expect.any(String) });
      expect(await socket.closed).toMatchObject({ code: 4401 });
    }
  });

  it("gets every event of its rooms in order, and none of other rooms (R6)", async () => {
    const [room, other] = [freshRoom(), freshRoom()];
    const socket = await connectUser("carol", { rooms: [room] });
    expect(await subscribe(socket, room)).toMatchObject({ offset: 0, recovered: false });
    for (let n = 1; n <= 5; n += 1) {
      await publish(other, "step.done", { n: -n });
      await publish(room, "step.done", { n });
    }
    const got = await socket.until(({ offset }) => offset === 5);
    expect(dataOf(got)).toEqual([1, 2, 3, 4, 5]);
    expect(got.map(({ offset }) => offset)).toEqual([1, 2, 3, 4, 5]);
  });

  it("can't subscribe to a room that its token doesn't name, nor to one that can't exist (R4a)", async () => {
    const room = freshRoom();
    const socket = await connectUser("dave");
    socket.send({ type: "subscribe", room, ref: 1 });
    expect(await socket.next("error")).toMatchObject({ code: "not_allowed", room, ref: 1 });
    for (const odd of [
      "",
      "project",
      "project:",
      "a b:c",
      "project:../x",
      "Room:1",
      "user:bob?",
      "space:",
    ]) {
      socket.send({ type: "subscribe", room: odd });
      expect((await socket.next("error")).code).toMatch(
        /room_not_found|malformed_frame|not_allowed/,
      );
      socket.send({ type: "ping" });
      await socket.next("pong");
    }
    await publish(room, "secret.told", { n: 1 });
    socket.send({ type: "ping", ref: 9 });
    const frames = await socket.until("pong");
    expect(frames.map(({ type }) => type)).toEqual(["pong"]);
  });

  it("gets exactly the events after its position, or starts after the newest one if the position is unknown (R4b)", async () => {
    const room = freshRoom();
    const first = await connectUser("erin", ANY);
    const { epoch } = await subscribe(first, room);
    for (let n = 1; n <= 3; n += 1) await publish(room, "step.done", { n });
    await first.next(({ offset }) => offset === 3);
    first.close();
    for (let n = 4; n <= 6; n += 1) await publish(room, "step.done", { n });
    const second = await connectUser("erin", ANY);
    const since = `${epoch}:3`;
    expect(await subscribe(second, room, { since })).toMatchObject({ recovered: true, offset: 3 });
    await publish(room, "step.done", { n: 7 });
    expect(dataOf(await second.until(({ offset }) => offset === 7))).toEqual([4, 5, 6, 7]);
    expect(await subscribe(second, room, { since: "lost:3" })).toMatchObject({
      recovered: false,
      offset: 7,
    });
  });

  it("gets every event after its position, even if it missed thousands (R4b)", async () => {
    const room = freshRoom();
    const { epoch } = await roomOf(room).join("none", [], false);
    for (let batch = 0; batch < 3; batch += 1) {
      const events = Array.from({ length: 700 }, (_, n) => ({
        type: "step.done",
        data: { n: batch * 700 + n + 1 },
      }));
      const path = `/api/rooms/${room}/events`;
      expect((await call("POST", path, { events }, OPERATOR)).status).toBe(201);
    }
    const socket = await connectUser("zoe", ANY);
    expect(await subscribe(socket, room, { since: `${epoch}:0` })).toMatchObject({
      recovered: true,
    });
    const missed = await socket.until(
      ({ offset, type }) => type === "step.done" && offset === 2_100,
    );
    expect(dataOf(missed)).toEqual(Array.from({ length: 2_100 }, (_, n) => n + 1));
  });

  it("gets only the events that match its filter (R7)", async () => {
    const room = freshRoom();
    const socket = await connectUser("frank", ANY);
    const filter = { types: ["workflow.*"], where: { "owner.name": ["x", "y"], urgent: true } };
    await subscribe(socket, room, { filter });
    const event = (owner: string, urgent: boolean) => ({
      workflow_id: 1,
      owner: { name: owner },
      urgent,
    });
    await publish(room, "workflow.started", event("x", false));
    await publish(room, "workflow.started", event("z", true));
    await publish(room, "project.updated", { project_id: 1, ...event("x", true) });
    const { offset } = await publish(room, "workflow.completed", event("y", true));
    expect(await socket.next(({ room: of }) => of === room)).toMatchObject({ offset });
  });

  it("publishes to rooms that its token names, and gets the event's offset (R9, R9a)", async () => {
    const room = freshRoom();
    const backend = await connectUser("backend", { publish: ["project:*"], rooms: [room] });
    await subscribe(backend, room);
    const event = { type: "step.done", data: { n: 1 }, id: "once" };
    backend.send({ type: "publish", room, event, ref: "a" });
    expect(await backend.next("published")).toMatchObject({ offset: 1, id: "once", ref: "a" });
    backend.send({ type: "publish", room, event, ref: "b" });
    expect(await backend.next("published")).toMatchObject({ offset: 1, ref: "b" });
    backend.send({ type: "publish", room: "global", event });
    expect(await backend.next("error")).toMatchObject({ code: "not_allowed", room: "global" });
  });

  it("gets no events of a room that it has unsubscribed from", async () => {
    const room = freshRoom();
    const socket = await connectUser("grace", ANY);
    await subscribe(socket, room);
    socket.send({ type: "unsubscribe", room });
    await socket.next("unsubscribed");
    await publishUntilNobodyFollows(room);
    socket.send({ type: "ping" });
    expect((await socket.until("pong")).map(({ type }) => type)).toEqual(["pong"]);
  });

  it("follows at most 100 rooms, and is closed with 4429 if it sends too fast (R14, R14a)", async () => {
    const socket = await connectUser("heidi", ANY);
    for (let n = 0; n < 99; n += 1) socket.send({ type: "subscribe", room: `flood:${n}` });
    expect(await socket.next("error")).toMatchObject({ code: "too_many_rooms" });
    // A slow machine would take a second to send them, in which more are allowed.
    const clock = vi.spyOn(Date, "now").mockReturnValue(Date.now());
    onTestFinished(() => clock.mockRestore());
    for (let n = 0; n < 400; n += 1) socket.send({ type: "unsubscribe", room: `flood:${n}` });
    expect(await socket.next("error")).toMatchObject({ code: "rate_limited" });
    expect(await socket.closed).toMatchObject({ code: 4429 });
  });

  it("gets `presence.joined` and `presence.left` of other users, if it asks for presence (R10)", async () => {
    const room = freshRoom();
    const watcher = await connectUser("ivan", ANY);
    await subscribe(watcher, room, { presence: true });
    const guest = await connectUser("judy", ANY);
    await subscribe(guest, room);
    expect(await watcher.next(({ user_id }) => user_id === "judy")).toMatchObject({
      type: "presence.joined",
      room,
    });
    const present = await call("GET", `/api/rooms/${room}/presence`, undefined, OPERATOR);
    expect(await present.json()).toMatchObject({
      connections: 2,
      users: [{ user_id: "ivan" }, { user_id: "judy", connections: 1 }],
    });
    guest.close();
    expect(await watcher.next("presence.left")).toMatchObject({ room, user_id: "judy" });
  });

  it("that was opened with the operator's key accepts no token (R11c)", async () => {
    const socket = await TestSocket.open("/ws", OPERATOR);
    await socket.next("connection.established");
    socket.send({ type: "authenticate", token: await userToken("kim"), ref: 1 });
    expect(await socket.next("error")).toMatchObject({ code: "not_allowed", ref: 1 });
  });

  it("is unsubscribed from rooms that a fresh token no longer names (R11a)", async () => {
    const room = freshRoom();
    const socket = await connectUser("mia", ANY);
    await subscribe(socket, room);
    socket.send({ type: "authenticate", token: await userToken("mia") });
    expect(await socket.next("error")).toMatchObject({ code: "not_allowed", room });
    await publishUntilNobodyFollows(room);
    socket.send({ type: "ping" });
    expect((await socket.until("pong")).map(({ type }) => type)).toEqual(["pong"]);
  });

  it("gets every event once even though the gateway and the room hibernate in between (R6)", async () => {
    const room = freshRoom();
    const socket = await connectUser("nina", ANY);
    await subscribe(socket, room, { filter: { types: ["step.*"] } });
    for (let n = 1; n <= 6; n += 1) {
      if (n % 2 === 0) await hibernateGateways();
      if (n % 3 === 0) await evictDurableObject(objectOf(room));
      await publish(room, "step.done", { n });
    }
    expect(dataOf(await socket.until(({ offset }) => offset === 6))).toEqual([1, 2, 3, 4, 5, 6]);
  });

  it("gets events that are published together in one `batch` frame, if it asks for batches (R13)", async () => {
    const room = freshRoom();
    const socket = await TestSocket.open(`/ws?batch=1&token=${await userToken("olga", ANY)}`);
    await socket.next("connection.established");
    await subscribe(socket, room);
    const events = [1, 2, 3].map((n) => ({ type: "step.done", data: { n } }));
    await call("POST", `/api/rooms/${room}/events`, { events }, OPERATOR);
    const { frames } = await socket.next("batch");
    expect(dataOf(frames as Frame[])).toEqual([1, 2, 3]);
  });
});

describe("a room over HTTP", () => {
  it("stores each event id once, from those that may publish, if the data fits the type (R16, R16a)", async () => {
    const room = freshRoom();
    const event = { type: "workflow.progress", data: { workflow_id: "w", progress: 5 }, id: "e1" };
    const path = `/api/rooms/${room}/events`;
    expect((await problemOf(401, call("POST", path, event))).code).toBe("not_authenticated");
    const reader = { authorization: `Bearer ${await userToken("alice", { rooms: ["*"] })}` };
    expect((await problemOf(403, call("POST", path, event, reader))).code).toBe("not_allowed");
    const writer = { authorization: `Bearer ${await userToken("api", { publish: [room] })}` };
    const first = await call("POST", path, event, writer);
    expect([first.status, (await first.json<{ offset: number }>()).offset]).toEqual([201, 1]);
    const again = await call("POST", path, event, writer);
    expect(again.status).toBe(200);
    expect(await again.json()).toMatchObject({ offset: 1, id: "e1", repeated: true });
    for (const wrong of [
      { type: "workflow.progress", data: { workflow_id: "w", progress: 500 } },
      { type: "workflow.progress", data: {} },
      { type: "connection.established", data: {} },
      { type: "nodot", data: {} },
      { type: "a.b", data: [] },
    ]) {
      expect((await problemOf(422, call("POST", path, wrong, writer))).code).toBe(
        "invalid_request",
      );
    }
  });

  it("returns its history after a position, page by page", async () => {
    const room = freshRoom();
    for (let n = 1; n <= 5; n += 1) await publish(room, "step.done", { n });
    const get = async (query: string) => {
      const response = await call(
        "GET",
        `/api/rooms/${room}/history?${query}`,
        undefined,
        OPERATOR,
      );
      return response.json<{ recovered: boolean; offset: number; next: string; events: Frame[] }>();
    };
    const first = await get("limit=2");
    expect(dataOf(first.events)).toEqual([1, 2]);
    const second = await get(`limit=2&since=${first.next}`);
    expect([second.recovered, dataOf(second.events)]).toEqual([true, [3, 4]]);
    expect(dataOf((await get(`since=${second.next}`)).events)).toEqual([5]);
    await problemOf(401, call("GET", `/api/rooms/${room}/history`));
  });

  it("streams its events from after the `Last-Event-ID` on (R17, C8)", async () => {
    const room = freshRoom();
    await publish(room, "step.done", { n: 1 });
    const headers = { ...OPERATOR, accept: "text/event-stream" };
    const path = `/api/rooms/${room}/events`;
    const head = await roomOf(room).history(null, 1);
    const stream = await call("GET", path, undefined, {
      ...headers,
      "last-event-id": `${head.epoch}:0`,
    });
    await publish(room, "step.done", { n: 2 });
    const reader = stream.body?.pipeThrough(new TextDecoderStream()).getReader();
    let text = "";
    while (!text.includes('"n":2')) text += (await reader?.read())?.value ?? "";
    expect(text).toContain(`id: ${head.epoch}:1\nevent: step.done\n`);
    expect(text).toContain(`id: ${head.epoch}:2\nevent: step.done\n`);
    await reader?.cancel();
  });
});

describe("the socket of one room", () => {
  it("gets events from a position on, publishes, and gets presence (R3a, R9, R10)", async () => {
    const room = freshRoom();
    await publish(room, "step.done", { n: 1 });
    const { epoch } = await roomOf(room).history(null, 1);
    const token = await userToken("pat", ANY);
    const socket = await TestSocket.open(
      `/api/rooms/${room}/ws?token=${token}&since=${epoch}:0&presence=1`,
    );
    expect(await socket.next("connection")).toMatchObject({ room, epoch, recovered: true });
    expect(await socket.next("step.done")).toMatchObject({ offset: 1 });
    socket.send({ type: "publish", event: { type: "step.done", data: { n: 2 } }, ref: 7 });
    expect(await socket.next("published")).toMatchObject({ offset: 2, ref: 7 });
    const guest = await connectUser("quinn", ANY);
    await subscribe(guest, room);
    expect(await socket.next(({ user_id }) => user_id === "quinn")).toMatchObject({
      type: "presence.joined",
    });
  });

  it("is refused with 4403 if the token doesn't name the room (R2)", async () => {
    const room = freshRoom();
    const token = await userToken("rob");
    const socket = await TestSocket.open(`/api/rooms/${room}/ws?token=${token}`);
    expect(await socket.next("connection.error")).toMatchObject({ code: "not_allowed" });
    expect(await socket.closed).toMatchObject({ code: 4403 });
  });

  it("still gets events after the room's object was evicted from memory", async () => {
    const room = freshRoom();
    const token = await userToken("sam", ANY);
    const socket = await TestSocket.open(`/api/rooms/${room}/ws?token=${token}`);
    await socket.next("connection");
    await evictDurableObject(objectOf(room));
    await publish(room, "step.done", { n: 1 });
    expect(await socket.next("step.done")).toMatchObject({ offset: 1 });
  });
});

describe("a room that nobody follows", () => {
  it("erases its log once its events are too old, and starts again at offset 1", async () => {
    const room = freshRoom();
    await publish(room, "step.done", { n: 1 });
    await expireEvents(room);
    const tables = await runInDurableObject(objectOf(room), (_room, { storage }) =>
      storage.sql.exec("SELECT name FROM sqlite_master WHERE name = 'channel_log'").toArray(),
    );
    expect(tables).toEqual([]);
    expect(await publish(room, "step.done", { n: 2 })).toMatchObject({ offset: 1 });
  });
});
