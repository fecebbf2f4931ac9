import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import { settle } from "../support/fake-object.ts";
import { asUser, body, Edge, ObjectSocket, OPERATOR, refusal, socketOf } from "./edge.ts";

const ULID = "01JCQ9X4T3N5V7W8Y2Z6A1B3C4";
const EVENTS = `/api/jobs/demo.${ULID}/events`;
const JOBS = "/api/spaces/demo/jobs";

const NOW = "2026-11-29T12:00:00.000Z";
const JOB = {
  id: `demo.${ULID}`,
  space: "demo",
  status: "processing",
  progress: 0,
  message: null,
  estimated_remaining: null,
  queue_position: null,
  attempt: 1,
  input: {},
  files: [],
  output: null,
  output_truncated: false,
  result: null,
  error: null,
  user: null,
  priority: 0,
  created_at: NOW,
  updated_at: NOW,
  started_at: NOW,
  completed_at: null as string | null,
  worker: null,
  metrics: null,
  cached: false,
  urls: { self: "", events: "", ws: "", cancel: "" },
};

beforeEach(() => {
  vi.spyOn(console, "error").mockReturnValue();
});

afterEach(() => {
  vi.restoreAllMocks();
});

/** An edge whose objects open `socket`; `frames` are there when it is followed. */
function streaming(job: object = JOB) {
  const edge = new Edge();
  const sockets: ObjectSocket[] = [];
  let onOpen: (socket: ObjectSocket) => void = () => undefined;
  edge.answers.job = () => body(job);
  edge.answers.fetch = () => {
    const socket = new ObjectSocket();
    sockets.push(socket);
    setTimeout(() => onOpen(socket), 0);
    return socket.answer;
  };
  edge.answers.submit = () => [
    { ok: true, body: JSON.stringify(job), ulid: ULID, isRepeat: false },
  ];
  const opened = (): Record<string, unknown> => {
    const call = edge.calls.find(({ method }) => method === "fetch");
    if (!call) throw new Error("no socket was opened");
    return { object: call.object, ...socketOf(call) };
  };
  return {
    edge,
    sockets,
    opened,
    onOpen: (handle: (socket: ObjectSocket) => void) => {
      onOpen = handle;
    },
  };
}

const CONNECTION = { type: "connection", epoch: "e", offset: 0, recovered: false };
const ENDED = { ...JOB, status: "completed", completed_at: NOW };

function idsOf(text: string): unknown[] {
  return text
    .split("\n\n")
    .filter(Boolean)
    .map((event) => [/^id: (.*)/m.exec(event)?.[1] ?? null, /^event: (.*)/m.exec(event)?.[1]]);
}

describe("the stream of a job's events", () => {
  it("has the frames of its socket, and ends without an error when the job ends (C12)", async () => {
    const { edge, opened, onOpen, sockets } = streaming();
    onOpen((socket) => {
      socket.receive(CONNECTION, { type: "progress", status: "processing", offset: 1 });
      socket.receive({ type: "output", delta: "a", offset: 2 });
      socket.end(1000);
    });
    const response = await edge.request("GET", EVENTS);
    expect(response.headers.get("content-type")).toBe("text/event-stream; charset=utf-8");
    expect(response.headers.get("cache-control")).toBe("no-store");
    expect(response.headers.get("x-accel-buffering")).toBe("no");
    expect(idsOf(await response.text())).toEqual([
      [null, "connection"],
      ["e:1", "progress"],
      ["e:2", "output"],
    ]);
    expect(opened()).toMatchObject({
      object: "space demo",
      kind: "subscriber",
      jobUlid: ULID,
      caller: { isAdmin: false },
      leaving: false,
    });
    // A close is answered.
    expect(sockets[0]?.closes).toEqual([undefined]);
  });

  it.each([
    [4404, "space_not_found"],
    [4401, "not_authenticated"],
    [4403, "not_allowed"],
    [4429, "too_slow"],
    [1012, "temporarily_unavailable"],
    [1006, "temporarily_unavailable"],
    [4999, "temporarily_unavailable"],
  ])("says why it ends if its socket closes with %i (C12f)", async (code, expected) => {
    const { edge, onOpen } = streaming();
    onOpen((socket) => {
      socket.receive(CONNECTION);
      socket.end(code, "why");
    });
    const text = await (await edge.request("GET", EVENTS)).text();
    const last = JSON.parse(/data: (.*)\n\n$/.exec(text)?.[1] ?? "null");
    expect(last).toMatchObject({ type: "error", code: expected });
    if (expected !== "temporarily_unavailable") expect(last.message).toBe("why");
  });

  it("says that it may go on if its socket breaks off (C12f)", async () => {
    const { edge, onOpen } = streaming();
    onOpen((socket) => {
      socket.receive(CONNECTION);
      socket.break();
    });
    expect(await (await edge.request("GET", EVENTS)).text()).toContain("temporarily_unavailable");
  });

  it("is answered 204 if the job is over and its reader has the end, or else streamed (C13)", async () => {
    const { edge, onOpen } = streaming(ENDED);
    onOpen((socket) => {
      socket.receive({ ...CONNECTION, recovered: true });
      socket.end(1000);
    });
    expect((await edge.request("GET", EVENTS)).status).toBe(204);
    onOpen((socket) => {
      socket.receive({ ...CONNECTION, recovered: true }, { type: "output", delta: "", offset: 1 });
      socket.end(1000);
    });
    expect((await edge.request("GET", EVENTS)).status).toBe(200);
    onOpen((socket) => {
      socket.receive(CONNECTION);
      socket.end(1000);
    });
    expect((await edge.request("GET", EVENTS)).status).toBe(200);
    onOpen((socket) => {
      socket.receive({ ...CONNECTION, recovered: true });
      socket.end(1012);
    });
    const broken = await edge.request("GET", EVENTS);
    expect([broken.status, await broken.text()]).toEqual([
      200,
      expect.stringContaining("temporarily_unavailable"),
    ]);
  });

  it.each([
    ["e:5", "?since=e:3", "e:5"],
    [undefined, "?since=e:3", "e:3"],
    ["nonsense", "?since=e:3", "e:3"],
    ["", "?since=nonsense", "nonsense"],
    [undefined, "", undefined],
  ])("begins at `Last-Event-ID` %j, or at %j (C13)", async (lastEventId, query, since) => {
    const { edge, opened, onOpen } = streaming();
    onOpen((socket) => {
      socket.receive(CONNECTION);
      socket.end(1000);
    });
    const headers: Record<string, string> =
      lastEventId === undefined ? {} : { "last-event-id": lastEventId };
    await (await edge.request("GET", EVENTS + query, undefined, headers)).text();
    expect(opened().since).toBe(since);
  });

  it("closes its socket when its reader leaves", async () => {
    const { edge, onOpen, sockets } = streaming();
    onOpen((socket) => socket.receive(CONNECTION));
    const { body: stream } = await edge.request("GET", EVENTS, undefined, OPERATOR);
    await stream?.cancel();
    await vi.waitUntil(() => sockets[0]?.closes.length === 1);
    expect(sockets[0]?.closes).toEqual([1001]);
  });

  it("opens no socket for HEAD, nor for a job that doesn't exist", async () => {
    const { edge } = streaming();
    const head = await edge.request("HEAD", EVENTS);
    expect([head.status, head.headers.get("content-type")]).toEqual([
      200,
      "text/event-stream; charset=utf-8",
    ]);
    edge.answers.job = () => refusal("space_not_found");
    expect((await edge.problem("GET", EVENTS))[1].code).toBe("job_not_found");
    expect(edge.argsOf("fetch")).toEqual([]);
  });

  it("is refused if the job goes before its socket is opened", async () => {
    const { edge } = streaming();
    edge.answers.fetch = () => Response.json(refusal("space_not_found"), { status: 404 });
    expect((await edge.problem("GET", EVENTS))[1].code).toBe("job_not_found");
  });
});

describe("a submit that is answered with its events", () => {
  const accepts = (accept: string) => ({ accept });

  it.each([
    ["text/event-stream", true],
    ["TEXT/EVENT-STREAM", true],
    ["text/event-stream, application/json", true],
    ["application/json, text/event-stream;q=0.9", false],
    ["text/event-stream;q=0.9, */*;q=0.8", true],
    ["text/event-stream;q=0", false],
    ["text/*", false],
    ["*/*", false],
    ["application/*, text/event-stream;q=0.5", false],
    ["", false],
  ])("is one that accepts %j: %j (H12)", async (accept, isStream) => {
    const { edge, onOpen } = streaming();
    onOpen((socket) => {
      socket.receive(CONNECTION);
      socket.end(1000);
    });
    const response = await edge.request("POST", JOBS, { input: {} }, accepts(accept));
    expect([response.status, response.headers.get("content-type")?.split(";")[0]]).toEqual(
      isStream ? [200, "text/event-stream"] : [202, "application/json"],
    );
    expect(response.headers.get("location")).toBe(`/api/jobs/demo.${ULID}`);
    await response.text();
  });

  it.each([
    [true, false, true],
    [true, true, false],
    [false, false, false],
    [undefined, false, false],
  ])(
    "with `cancel_on_disconnect` %j, made before: %j, cancels its job: %j (H12a)",
    async (...row) => {
      const [cancel_on_disconnect, isRepeat, leaving] = row;
      const { edge, onOpen, opened } = streaming();
      edge.answers.submit = () => [{ ok: true, body: "{}", ulid: ULID, isRepeat }];
      onOpen((socket) => {
        socket.receive(CONNECTION);
        socket.end(1000);
      });
      const given = { input: {}, cancel_on_disconnect };
      await (await edge.request("POST", JOBS, given, accepts("text/event-stream"))).text();
      expect(opened()).toMatchObject({ object: "space demo", jobUlid: ULID, leaving });
    },
  );
});

describe("a submit that waits for its end", () => {
  const WAIT = { prefer: "wait=30" };

  it("is answered 200 with the job once its socket has closed (H7)", async () => {
    const { edge, onOpen } = streaming();
    edge.answers.submit = () => [{ ok: true, body: "{}", ulid: ULID, isRepeat: false }];
    onOpen((socket) => {
      edge.answers.job = () => body(ENDED);
      socket.end(1000);
    });
    const response = await edge.request("POST", JOBS, { input: {} }, WAIT);
    expect([response.status, response.headers.get("preference-applied")]).toEqual([200, "wait=30"]);
    expect(await response.json()).toMatchObject({ status: "completed" });
  });

  it("waits on if the socket closes while the job runs (H7)", async () => {
    const { edge, onOpen, sockets } = streaming();
    onOpen((socket) => {
      if (sockets.length === 2) edge.answers.job = () => body(ENDED);
      socket.end(1012);
    });
    const response = await edge.request("POST", JOBS, { input: {} }, WAIT);
    expect([response.status, sockets.length]).toEqual([200, 2]);
  });

  it("is answered 202 with the job as it is when the wait is over, and its socket is closed (H7)", async () => {
    const { edge, sockets } = streaming();
    const response = await edge.request("POST", JOBS, { input: {} }, { prefer: "wait=0" });
    expect([response.status, response.headers.get("preference-applied")]).toEqual([202, "wait=0"]);
    expect(await response.json()).toMatchObject({ status: "processing" });
    expect(sockets[0]?.closes).toEqual([1000]);
  });
});

describe("the stream of a room's events", () => {
  const ROOM_EVENTS = "/api/rooms/project:1/events";

  it("has an id from its `connection` on, and asks for no batches (R17, R17a)", async () => {
    const { edge, opened, onOpen } = streaming();
    onOpen((socket) => {
      socket.receive({ ...CONNECTION, offset: 3 }, { type: "step.done", offset: 4 });
      socket.end(4401, "expired");
    });
    const user = await asUser("ann", { rooms: ["project:1"] });
    const query = '?since=e:3&presence=1&batch=1&acks=1&filter={"types":["step.*"]}';
    const response = await edge.request("GET", ROOM_EVENTS + query, undefined, user);
    expect(idsOf(await response.text())).toEqual([
      ["e:3", "connection"],
      ["e:4", "step.done"],
      [null, "error"],
    ]);
    expect(opened()).toMatchObject({
      object: "room project:1",
      kind: "room",
      principal: { kind: "user", userId: "ann", rooms: ["project:1"] },
      presence: true,
      batch: false,
      acks: false,
      relayed: true,
      since: "e:3",
      filter: { types: ["step.*"] },
    });
  });

  it("opens no socket for HEAD", async () => {
    const { edge } = streaming();
    const head = await edge.request("HEAD", ROOM_EVENTS, undefined, OPERATOR);
    expect([head.status, head.headers.get("content-type"), edge.calls]).toEqual([
      200,
      "text/event-stream; charset=utf-8",
      [],
    ]);
  });

  it("needs the right to follow the room, and a socket of it", async () => {
    const { edge } = streaming();
    const user = await asUser("ann", { rooms: ["project:2"], publish: ["project:1"] });
    expect((await edge.problem("GET", ROOM_EVENTS, undefined, user))[1].code).toBe("not_allowed");
    expect((await edge.problem("GET", ROOM_EVENTS))[1].code).toBe("not_authenticated");
    expect(edge.calls).toEqual([]);
    edge.answers.fetch = () => new Response("no", { status: 500 });
    const [status] = await edge.problem("GET", ROOM_EVENTS, undefined, OPERATOR);
    expect(status).toBe(503);
  });

  it("closes its socket when its reader leaves", async () => {
    const { edge, onOpen, sockets } = streaming();
    onOpen((socket) => socket.receive(CONNECTION));
    const { body: stream } = await edge.request("GET", ROOM_EVENTS, undefined, OPERATOR);
    await settle();
    await stream?.cancel();
    await vi.waitUntil(() => sockets[0]?.closes.length === 1);
    expect(sockets[0]?.closes).toEqual([1001]);
  });
});
