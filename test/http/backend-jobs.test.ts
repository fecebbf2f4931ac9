import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import { asUser, body, Edge, ObjectSocket, OPERATOR, refusal, socketOf } from "./edge.ts";

beforeEach(() => {
  vi.spyOn(console, "error").mockReturnValue();
});

afterEach(() => {
  vi.restoreAllMocks();
});

describe("a job of a backend", () => {
  function edgeWith(isRepeat = false) {
    const edge = new Edge();
    edge.answers.create = () => ({ ...body({ id: "a" }), isRepeat });
    edge.answers.report = () => body({ status: "processing" });
    edge.answers.job = () => body({ id: "a" });
    return edge;
  }

  it("is created at its own object, 201 if it is new, and has its address (B1)", async () => {
    const edge = edgeWith();
    const given = { id: "a", input: { n: 1 }, visibility: "private" };
    const response = await edge.request("POST", "/api/jobs", given, OPERATOR);
    expect([response.status, response.headers.get("location")]).toEqual([201, "/api/jobs/a"]);
    expect(await response.json()).toEqual({ id: "a" });
    expect(edge.asked).toEqual(["job a: create"]);
    expect(JSON.parse(String(edge.argsOf("create")[0]?.[0]))).toMatchObject(given);
    expect((await edgeWith(true).request("POST", "/api/jobs", given, OPERATOR)).status).toBe(200);
  });

  it("is created only by a token that may publish to it (B6)", async () => {
    const edge = edgeWith();
    const create = async (headers: Record<string, string>, id?: string) =>
      (await edge.problem("POST", "/api/jobs", id === undefined ? {} : { id }, headers))[0];
    const user = await asUser("ann", { rooms: ["*"], publish: ["job:b"] });
    expect([await create({}, "a"), await create(user, "a"), await create(user)]).toEqual([
      401, 403, 403,
    ]);
    expect(edge.calls).toEqual([]);
    expect(await create(user, "b")).toBe(201);
  });

  it("can't be named like the monitor: no object is asked", async () => {
    const edge = edgeWith();
    for (const [method, path] of [
      ["GET", "/api/jobs/monitor"],
      ["POST", "/api/jobs/monitor/cancel"],
    ] as const) {
      const [status, problem] = await edge.problem(method, path, undefined, OPERATOR);
      expect([status, problem.code]).toEqual([404, "job_not_found"]);
    }
    expect(edge.calls).toEqual([]);
  });

  it("without an id gets one that can't be guessed (B1a)", async () => {
    const edge = edgeWith();
    for (const _ of [1, 2]) await edge.request("POST", "/api/jobs", { input: {} }, OPERATOR);
    const names = edge.calls.map(({ object }) => object);
    for (const name of names) expect(name).toMatch(/^job [0-9A-HJKMNP-TV-Z]{26}$/);
    expect(new Set(names).size).toBe(2);
  });

  it("with an input that is too large is refused, and no object is called", async () => {
    const edge = edgeWith();
    const given = { input: { text: "x".repeat(524_288) } };
    const [status] = await edge.problem("POST", "/api/jobs", given, OPERATOR);
    expect([status, edge.calls]).toEqual([413, []]);
  });

  it.each(["progress", "output", "complete", "fail", "cancel"])(
    "takes the report `%s` from a token that may publish to it (B2, B6)",
    async (type) => {
      const reports: Record<string, object> = {
        progress: { progress: 5 },
        output: { delta: "x" },
        complete: { result: 1 },
        fail: { message: "no" },
        cancel: { reason: "why" },
      };
      const edge = edgeWith();
      const path = `/api/jobs/a/${type}`;
      const post = async (headers: Record<string, string>) =>
        (await edge.problem("POST", path, reports[type], headers)) as [number, { code: string }];
      expect((await post({}))[1].code).toBe("not_authenticated");
      const wrong = await asUser("ann", { rooms: ["*"], publish: ["job:b", "project:*"] });
      expect((await post(wrong))[1].code).toBe("not_allowed");
      expect(edge.calls).toEqual([]);
      for (const publish of [["job:a"], ["job:*"], ["*"]]) {
        expect((await post(await asUser("ann", { publish })))[0]).toBe(200);
      }
      expect(edge.asked[0]).toBe("job a: report");
      const report = JSON.parse(String(edge.argsOf("report")[0]?.[0]));
      expect(report).toMatchObject({ ...reports[type], type });
    },
  );

  it("is canceled without a body too, but no other report may lack it", async () => {
    const edge = edgeWith();
    expect((await edge.request("POST", "/api/jobs/a/cancel", undefined, OPERATOR)).status).toBe(
      200,
    );
    expect((await edge.request("POST", "/api/jobs/a/fail", undefined, OPERATOR)).status).toBe(415);
    expect((await edge.request("POST", "/api/jobs/a/cancel", "{", OPERATOR)).status).toBe(400);
    expect((await edge.request("POST", "/api/jobs/a/cancel", [], OPERATOR)).status).toBe(422);
    expect(edge.argsOf("report")).toHaveLength(1);
  });

  it("can't have its type of report set in the body", async () => {
    const edge = edgeWith();
    const given = { type: "complete", progress: 5 };
    expect((await edge.request("POST", "/api/jobs/a/progress", given, OPERATOR)).status).toBe(200);
    expect(JSON.parse(String(edge.argsOf("report")[0]?.[0])).type).toBe("progress");
  });

  it("is read by whoever may read a private one, as the object is told (B6a)", async () => {
    const edge = edgeWith();
    const readers = [
      [{}, false],
      [OPERATOR, true],
      [await asUser("ann", { rooms: ["job:a"] }), true],
      [await asUser("ann", { publish: ["job:*"] }), true],
      [await asUser("ann", { rooms: ["job:b", "project:*"] }), false],
    ] as const;
    for (const [headers] of readers) {
      expect((await edge.request("GET", "/api/jobs/a", undefined, headers)).status).toBe(200);
    }
    // Besides, whoever it was made for may read it (B6d).
    const asked = readers.map(([, mayRead], index) => [mayRead, index < 2 ? null : "ann"]);
    expect(edge.argsOf("job")).toEqual(asked);
  });

  it("is erased by whoever may report it (B6e)", async () => {
    const edge = edgeWith();
    edge.answers.eraseNow = () => undefined;
    const erase = async (headers: Record<string, string>) =>
      (await edge.request("DELETE", "/api/jobs/a", undefined, headers)).status;
    expect(await erase({})).toBe(401);
    expect(await erase(await asUser("ann", { rooms: ["*"], publish: ["job:b"] }))).toBe(403);
    expect(edge.argsOf("eraseNow")).toEqual([]);
    expect(await erase(await asUser("ann", { publish: ["job:a"] }))).toBe(204);
    expect(await erase(OPERATOR)).toBe(204);
    expect(edge.argsOf("eraseNow")).toHaveLength(2);
  });

  it("that is private is 401 to a stranger, whom a token might help, and 403 to others (B6)", async () => {
    const edge = edgeWith();
    edge.answers.job = () => refusal("not_allowed");
    expect((await edge.problem("GET", "/api/jobs/a"))[0]).toBe(401);
    expect((await edge.problem("GET", "/api/jobs/a", undefined, await asUser("ann")))[0]).toBe(403);
    edge.answers.job = () => refusal("job_not_found");
    expect((await edge.problem("GET", "/api/jobs/a"))[0]).toBe(404);
  });

  it("has a socket that is opened with its reader's rights, and what its address asks for (B5)", async () => {
    const edge = edgeWith();
    edge.answers.fetch = () => new ObjectSocket().answer;
    const headers = {
      upgrade: "websocket",
      "sec-websocket-protocol": "dialout.v1, dialout.token.x",
    };
    const user = await asUser("ann", { rooms: ["job:a"] });
    const query = "?ping=20&max_rate=5&acks=1&since=e:3";
    await edge.request("GET", `/ws/a${query}`, undefined, { ...headers, ...user });
    await edge.request("GET", "/api/jobs/a/ws", undefined, { upgrade: "websocket" });
    const [first, second] = edge.calls.map(socketOf);
    expect(first).toMatchObject({
      kind: "backend-job",
      principal: { kind: "user", userId: "ann", rooms: ["job:a"] },
      pingS: 20,
      maxRate: 5,
      acks: true,
      since: "e:3",
      mustExist: false,
    });
    expect(second).toMatchObject({ principal: null, pingS: null, maxRate: null, acks: false });
    expect(edge.asked).toEqual(["job a: fetch", "job a: fetch"]);
  });

  it("has a stream that needs the job to exist, of which HEAD has the headers alone", async () => {
    const edge = edgeWith();
    const head = await edge.request("HEAD", "/api/jobs/a/events", undefined, OPERATOR);
    expect(head.headers.get("content-type")).toBe("text/event-stream; charset=utf-8");
    expect(edge.argsOf("fetch")).toEqual([]);
    edge.answers.job = () => refusal("job_not_found");
    expect((await edge.problem("GET", "/api/jobs/a/events"))[1].code).toBe("job_not_found");
  });
});
