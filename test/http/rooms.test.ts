import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import { app } from "../../src/http/app.ts";
import { asUser, Edge, ObjectSocket, OPERATOR, socketOf } from "./edge.ts";

const ROOM = "/api/rooms/project:1";
const AT = Date.parse("2026-11-29T12:00:00.000Z");

beforeEach(() => {
  vi.spyOn(console, "error").mockReturnValue();
});

afterEach(() => {
  vi.restoreAllMocks();
});

describe("publishing over HTTP", () => {
  /** A room that has the events with an id that begins with `old`. */
  function publishing() {
    const edge = new Edge();
    edge.answers.publish = ({ args }) =>
      JSON.parse(String(args[1])).map(({ id = "made" }: { id?: string }, n: number) => {
        return { id, offset: n + 1, at: AT, repeated: id.startsWith("old") };
      });
    return edge;
  }

  it("one event is answered with it, 201 if it was stored (R16, R16a)", async () => {
    const edge = publishing();
    const event = { type: "step.done", data: { n: 1 } };
    const response = await edge.request("POST", `${ROOM}/events`, event, OPERATOR);
    expect([response.status, await response.json()]).toEqual([
      201,
      {
        ...event,
        room: "project:1",
        id: "made",
        offset: 1,
        timestamp: "2026-11-29T12:00:00.000Z",
        repeated: false,
      },
    ]);
    expect(edge.asked).toEqual(["room project:1: publish"]);
    const again = await edge.request("POST", `${ROOM}/events`, { ...event, id: "old" }, OPERATOR);
    expect([again.status, await again.json()]).toEqual([
      200,
      {
        room: "project:1",
        id: "old",
        offset: 1,
        timestamp: "2026-11-29T12:00:00.000Z",
        repeated: true,
      },
    ]);
  });

  it("many are answered in order, 200 only if all were known (R16, R16a)", async () => {
    const edge = publishing();
    const events = ["old1", "a", "b"].map((id) => ({ id, type: "step.done", data: { id } }));
    const response = await edge.request("POST", `${ROOM}/events`, { events }, OPERATOR);
    expect(response.status).toBe(201);
    expect((await response.json<{ events: object[] }>()).events).toMatchObject([
      { id: "old1", repeated: true },
      { id: "a", type: "step.done", data: { id: "a" }, offset: 2, repeated: false },
      { id: "b", type: "step.done", data: { id: "b" }, offset: 3, repeated: false },
    ]);
    const known = { events: events.slice(0, 1) };
    expect((await edge.request("POST", `${ROOM}/events`, known, OPERATOR)).status).toBe(200);
  });

  it("takes a body of 1 MiB at most (H3)", async () => {
    const edge = publishing();
    const text = `{"type":"step.done","data":{}${" ".repeat(1_048_576)}}`;
    expect((await edge.problem("POST", `${ROOM}/events`, text, OPERATOR))[0]).toBe(413);
    expect(edge.calls).toEqual([]);
  });

  it("needs the right to publish to that room (R16)", async () => {
    const edge = publishing();
    const event = { type: "step.done", data: {} };
    const post = async (headers: Record<string, string>) =>
      (await edge.request("POST", `${ROOM}/events`, event, headers)).status;
    expect(await post({})).toBe(401);
    expect(await post(await asUser("ann", { rooms: ["*"], publish: ["project:2"] }))).toBe(403);
    expect(edge.calls).toEqual([]);
    expect(await post(await asUser("ann", { publish: ["project:*"] }))).toBe(201);
  });

  it("says which claim of the token is missing", async () => {
    const edge = publishing();
    const user = await asUser("ann");
    const event = { type: "step.done", data: {} };
    const [, publish] = await edge.problem("POST", `${ROOM}/events`, event, user);
    expect(publish.detail).toContain("publish to project:1: its claim `publish`");
    const [, follow] = await edge.problem("GET", `${ROOM}/history`, undefined, user);
    expect(follow.detail).toContain("follow project:1: its claim `rooms`");
  });

  it.each(["space:a", "job:a", "room:a", "Project:1", "project", "project:a b"])(
    "to %j is refused: that is no room (R4a)",
    async (room) => {
      const edge = publishing();
      const path = `/api/rooms/${encodeURIComponent(room)}/events`;
      const [status] = await edge.problem("POST", path, { type: "a.b", data: {} }, OPERATOR);
      expect([status, edge.calls]).toEqual([422, []]);
    },
  );
});

describe("the history of a room over HTTP", () => {
  async function asked(query: string, page: object = {}) {
    const edge = new Edge();
    edge.answers.history = () => {
      const events = [{ offset: 4, text: '{"n":12345678901234567890}' }];
      return { epoch: "e", last: 9, recovered: true, end: 4, more: true, events, ...page };
    };
    const response = await edge.request("GET", `${ROOM}/history${query}`, undefined, OPERATOR);
    return {
      status: response.status,
      text: await response.text(),
      args: edge.argsOf("history")[0],
    };
  }

  it("is a page with where the next one begins, and its events as they were stored (R18, R18b)", async () => {
    const { status, text } = await asked("");
    expect(status).toBe(200);
    expect(text).toBe(
      '{"room":"project:1","epoch":"e","offset":9,"recovered":true,"next":"e:4","more":true,"events":[{"n":12345678901234567890}]}',
    );
  });

  it("of a room that nobody has used has a position, too (R18f)", async () => {
    const { text } = await asked("", { epoch: "", last: 0, end: 0, more: false, events: [] });
    expect(JSON.parse(text)).toMatchObject({
      epoch: "none",
      offset: 0,
      next: "none:0",
      events: [],
    });
  });

  it.each([
    ["", { since: null, before: null, order: "asc", limit: 100, filter: null }],
    ["?since=e:1&limit=5", { since: { epoch: "e", offset: 1 }, order: "asc", limit: 5 }],
    ["?before=e:7", { since: null, before: { epoch: "e", offset: 7 }, order: "desc" }],
    ["?before=e:7&order=asc", { before: { epoch: "e", offset: 7 }, order: "asc" }],
    ["?since=e:1&before=e:7", { order: "asc" }],
    ["?order=desc", { order: "desc", since: null }],
    ["?types=a.*,b.c", { filter: { types: ["a.*", "b.c"] } }],
    ["?types=a.*&types=%20b.c", { filter: { types: ["a.*", "b.c"] } }],
    ['?filter={"where":{"n":1}}', { filter: { where: { n: 1 } } }],
    ['?filter={"where":{"n":1}}&types=a.b', { filter: { where: { n: 1 }, types: ["a.b"] } }],
  ])("%s asks the room for the right page (R18, R18a, R18c)", async (query, expected) => {
    const { args } = await asked(query);
    expect(args?.[0]).toBe("project:1");
    expect(args?.[1]).toMatchObject(expected);
  });

  it.each([
    "?limit=0",
    "?limit=1001",
    "?limit=x",
    "?order=up",
    "?since=nonsense",
    "?before=e:-1",
    "?filter={",
    "?filter=7",
    '?filter={"types":["a"]}&types=b',
    "?types=",
    `?filter={"where":{"a":"${"x".repeat(490)}"},"types":[${Array(40).fill(`"${"y".repeat(100)}"`)}]}`,
  ])("%s is refused (R18e)", async (query) => {
    expect((await asked(query)).status).toBe(422);
  });

  it("and who is present need the right to follow the room", async () => {
    const edge = new Edge();
    for (const path of ["history", "presence"]) {
      const user = await asUser("ann", { rooms: ["project:2"], publish: ["*"] });
      expect((await edge.problem("GET", `${ROOM}/${path}`, undefined, user))[0]).toBe(403);
      expect((await edge.problem("GET", `${ROOM}/${path}`))[0]).toBe(401);
    }
    expect(edge.calls).toEqual([]);
  });
});

describe("who is present in a room over HTTP", () => {
  it("is the room's list, and the sum of the sockets (R10c)", async () => {
    const edge = new Edge();
    const users = [
      { user_id: "ann", connections: 2, since: "x" },
      { user_id: "bob", connections: 3, since: "y" },
    ];
    edge.answers.presence = () => ({ users, connections: 5, total: 2, next: null });
    const user = await asUser("ann", { rooms: ["project:*"] });
    const response = await edge.request("GET", `${ROOM}/presence`, undefined, user);
    const whole = { room: "project:1", users, connections: 5, total: 2 };
    expect(await response.json()).toEqual(whole);
    edge.answers.presence = () => ({ users, connections: 9, total: 4, next: "17:bob" });
    const page = await edge.request("GET", `${ROOM}/presence?after=16:ann`, undefined, user);
    expect(await page.json()).toEqual({ ...whole, connections: 9, total: 4, next: "17:bob" });
    expect(edge.argsOf("presence").at(-1)).toEqual(["project:1", "16:ann"]);
    const wrong = await edge.problem("GET", `${ROOM}/presence?after=ann`, undefined, user);
    expect(wrong[0]).toBe(422);
  });
});

describe("a socket of rooms", () => {
  async function opened(path: string, headers: Record<string, string> = OPERATOR, cf?: object) {
    const edge = new Edge();
    edge.answers.fetch = () => new ObjectSocket().answer;
    const request = new Request(`https://edge.test${path}`, {
      headers: { upgrade: "websocket", ...headers },
    });
    await app.request(Object.assign(request, { cf }), undefined, edge.env);
    const [call] = edge.calls;
    if (!call) throw new Error("no socket was opened");
    return { object: call.object, ...socketOf(call) };
  }

  it("of one room is opened at the room with what its address asks for (R3a)", async () => {
    const user = await asUser("ann", { rooms: ["project:*"], publish: ["a:1"] });
    const query = '?since=e:1&presence=1&batch=1&acks=1&filter={"types":["a.*"]}';
    expect(await opened(`${ROOM}/ws${query}`, user)).toMatchObject({
      object: "room project:1",
      kind: "room",
      principal: { kind: "user", userId: "ann", rooms: ["project:*"], publish: ["a:1"] },
      since: "e:1",
      presence: true,
      batch: true,
      acks: true,
      filter: { types: ["a.*"] },
    });
    expect(await opened(`${ROOM}/ws?presence=0&batch=true&acks=`, user)).toMatchObject({
      presence: false,
      batch: false,
      acks: false,
      filter: null,
    });
  });

  it("of a user's own room is opened at the object that keeps it", async () => {
    const user = await asUser("alice");
    expect((await opened("/api/rooms/user:alice/ws", user)).object).toBe("room user:*16");
  });

  it("for many channels is opened at a gateway of the client's continent", async () => {
    const random = vi.spyOn(Math, "random");
    random.mockReturnValue(0);
    expect(await opened("/ws?batch=1")).toMatchObject({
      object: "gateway local-0",
      kind: "gateway",
      principal: { kind: "operator" },
      batch: true,
      acks: false,
    });
    random.mockReturnValue(0.999);
    expect(await opened("/ws?acks=1", OPERATOR, { continent: "EU" })).toMatchObject({
      object: "gateway EU-3",
      acks: true,
      batch: false,
    });
    random.mockReturnValue(0);
    expect(await opened("/ws", OPERATOR, { continent: "made up" })).toMatchObject({
      object: "gateway local-0",
    });
  });
});
