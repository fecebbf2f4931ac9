import { runDurableObjectAlarm, runInDurableObject } from "cloudflare:test";
import { afterEach, describe, expect, it, vi } from "vitest";
import { bearer, objectOf as jobObjectOf, makeJob, reportOk } from "./backend-jobs-support.ts";
import { EventReader } from "./event-reader.ts";
import {
  freshRoom,
  passTime,
  publish,
  objectOf as roomObjectOf,
  roomOf,
  userToken,
} from "./rooms-support.ts";
import {
  call,
  connectWorker,
  expectStatus,
  makeSpace,
  type NamedSpace,
  OPERATOR,
  objectOf,
  problemOf,
  submit,
} from "./support.ts";

const DAY_MS = 86_400_000;
/** What Python's `splitlines` takes for the end of a line, besides the control characters. */
const LINE_BREAKS = /[\p{Cc}\u2028\u2029]/u;

afterEach(() => {
  vi.restoreAllMocks();
});

async function openStream(path: string, headers: Record<string, string> = {}) {
  return new EventReader(await expectStatus(200, await call("GET", path, undefined, headers)));
}

async function openJobStream(space: NamedSpace) {
  const { id } = await submit(space.name);
  const stream = await openStream(`/api/jobs/${id}/events`);
  return { id, stream };
}

/** The last event of a stream that ends. */
async function lastEvent(stream: EventReader) {
  return (await stream.rest()).at(-1);
}

describe("a stream that ends before its channel does says why as its last event", () => {
  it("if the space is deleted (C12f)", async () => {
    const space = await makeSpace({ offline: "queue" });
    const { id, stream } = await openJobStream(space);
    await expectStatus(204, await call("DELETE", `/api/spaces/${space.name}`, undefined, OPERATOR));
    expect(await lastEvent(stream)).toMatchObject({
      event: "error",
      frame: { type: "error", code: "space_not_found", message: "The space was deleted." },
    });
    await problemOf(404, call("GET", `/api/jobs/${id}/events`));
  });

  it("if the space becomes private (C12f)", async () => {
    const space = await makeSpace({ offline: "queue" });
    const { id, stream } = await openJobStream(space);
    const path = `/api/spaces/${space.name}`;
    await expectStatus(200, await call("PATCH", path, { visibility: "private" }, OPERATOR));
    expect(await lastEvent(stream)).toMatchObject({
      event: "error",
      frame: { code: "not_authenticated", message: "You have no right to this any more." },
    });
    await problemOf(401, call("GET", `/api/jobs/${id}/events`));
  });

  it("if the object of the space restarts (C12f)", async () => {
    const space = await makeSpace({ offline: "queue" });
    const { stream } = await openJobStream(space);
    await runInDurableObject(objectOf(space), (_object, state) => state.abort("test")).catch(
      () => undefined,
    );
    const last = await lastEvent(stream);
    expect(last).toMatchObject({ event: "error", frame: { code: "temporarily_unavailable" } });
    expect(last?.id).toBeUndefined();
  });

  it("if the job of a backend is erased, once (C12f)", async () => {
    const id = await makeJob();
    const stream = await openStream(`/api/jobs/${id}/events`);
    const later = Date.now() + 8 * DAY_MS;
    vi.spyOn(Date, "now").mockReturnValue(later);
    await runDurableObjectAlarm(jobObjectOf(id));
    const events = await stream.rest();
    expect(events.filter(({ event }) => event === "error")).toMatchObject([
      { frame: { code: "job_not_found" } },
    ]);
  });

  it("if the token of its reader expires (C12f, R11, B7a)", async () => {
    const room = freshRoom();
    const token = await userToken("ann", { rooms: [room] });
    const headers = { authorization: `Bearer ${token}` };
    const ofRoom = await openStream(`/api/rooms/${room}/events`, headers);
    const id = await makeJob({ visibility: "private" });
    const reader = await bearer({ rooms: [`job:${id}`] });
    const ofJob = await openStream(`/api/jobs/${id}/events`, reader);
    await passTime(3_600_000, [roomObjectOf(room), jobObjectOf(id)]);
    expect(await lastEvent(ofRoom)).toMatchObject({
      event: "connection.error",
      frame: { code: "not_authenticated" },
    });
    expect(await lastEvent(ofJob)).toMatchObject({
      event: "error",
      frame: { code: "not_authenticated" },
    });
  });
});

describe("a stream whose job has ended", () => {
  it("has no error (C12)", async () => {
    const id = await makeJob();
    const stream = await openStream(`/api/jobs/${id}/events`);
    await reportOk(id, "complete", { result: 1 });
    expect(await lastEvent(stream)).toMatchObject({ event: "progress" });
  });
});

describe("the data of an event of a stream", () => {
  const breaks = "a\u2028b\u2029c\u0085d\re\nf\u000bg\u000ch\u001ci";

  it("is one line for every reader, and the same text (C12e)", async () => {
    const space = await makeSpace();
    const { socket: worker } = await connectWorker(space);
    const { id, stream: ofJob } = await openJobStream(space);
    worker.send({ type: "result", job_id: id, attempt: 1, output: breaks });
    const backendJob = await makeJob();
    const ofBackendJob = await openStream(`/api/jobs/${backendJob}/events`);
    await reportOk(backendJob, "complete", { result: breaks });
    for (const stream of [ofJob, ofBackendJob]) {
      const last = await lastEvent(stream);
      expect(last?.frame.result).toBe(breaks);
      expect(last?.data).not.toMatch(LINE_BREAKS);
    }
    const room = freshRoom();
    const ofRoom = await openStream(`/api/rooms/${room}/events`, OPERATOR);
    await ofRoom.next();
    await publish(room, "step.done", { text: breaks });
    const event = await ofRoom.next();
    expect(event?.frame.data).toEqual({ text: breaks });
    expect(event?.data).not.toMatch(LINE_BREAKS);
    await ofRoom.cancel();
  });
});

describe("a position that a reader names", () => {
  it.each([["nonsense"], [""], ["e:-1"], ["e:1, f:2"]])(
    "is the one in `?since=` if `Last-Event-ID` is %j (C13a)",
    async (lastEventId) => {
      const id = await makeJob();
      await reportOk(id, "complete");
      const whole = await (await openStream(`/api/jobs/${id}/events`)).rest();
      const path = `/api/jobs/${id}/events?since=${whole.at(-1)?.id}`;
      const header = { "last-event-id": lastEventId };
      expect((await call("GET", path, undefined, header)).status).toBe(204);
      const room = freshRoom();
      await publish(room, "step.done", { n: 1 });
      const { epoch } = await roomOf(room).history(null, 1);
      const headers = { ...OPERATOR, ...header };
      const events = await openStream(`/api/rooms/${room}/events?since=${epoch}:0`, headers);
      expect(await events.next()).toMatchObject({ frame: { recovered: true } });
      await events.cancel();
    },
  );

  it("is the one in `Last-Event-ID` if both can be read (C13)", async () => {
    const id = await makeJob();
    await reportOk(id, "complete");
    const whole = await (await openStream(`/api/jobs/${id}/events`)).rest();
    const path = `/api/jobs/${id}/events?since=other:1`;
    const header = { "last-event-id": whole.at(-1)?.id ?? "" };
    expect((await call("GET", path, undefined, header)).status).toBe(204);
  });
});

describe("a submit", () => {
  it.each([
    ["text/event-stream", true],
    ["TEXT/Event-Stream;charset=utf-8", true],
    ["application/json, text/event-stream", true],
    ["text/event-stream, */*;q=0.1", true],
    ["text/event-stream;q=0.5, application/json;q=0.4", true],
    ["*/*, text/event-stream", true],
    ["text/event-stream;q=0", false],
    ["text/event-stream; q=0.000, application/json", false],
    ["application/json, text/event-stream;q=0.9", false],
    ["*/*", false],
    ["text/*", false],
    ["text/event-stream-not", false],
    ['application/json;note="text/event-stream"', false],
    ["", false],
  ])("with `Accept: %s` is answered with a stream: %s (H12c)", async (accept, streams) => {
    const space = await makeSpace({ offline: "queue" });
    const path = `/api/spaces/${space.name}/jobs`;
    const answer = await call("POST", path, { input: {} }, { accept });
    const type = streams ? "text/event-stream; charset=utf-8" : "application/json";
    expect([answer.status, answer.headers.get("content-type")]).toEqual([
      streams ? 200 : 202,
      type,
    ]);
    await answer.body?.cancel();
  });
});

describe("the routes of streams and sockets", () => {
  it("answer HEAD with the headers of the stream, and OPTIONS as a preflight (H9)", async () => {
    const id = await makeJob();
    const room = freshRoom();
    for (const path of [`/api/jobs/${id}/events`, `/api/rooms/${room}/events`]) {
      const head = await call("HEAD", path, undefined, OPERATOR);
      expect([head.status, head.headers.get("content-type"), await head.text()]).toEqual([
        200,
        "text/event-stream; charset=utf-8",
        "",
      ]);
      const preflight = await call("OPTIONS", path, undefined, {
        origin: "https://other.test",
        "access-control-request-method": "GET",
        "access-control-request-headers": "last-event-id",
      });
      expect(preflight.status).toBe(204);
      expect(preflight.headers.get("access-control-allow-headers")).toContain("last-event-id");
    }
  });

  it("answer 426 to a request without an upgrade, and say which is needed (H3)", async () => {
    const id = await makeJob();
    for (const path of [`/ws/${id}`, `/api/jobs/${id}/ws`, "/ws", "/ws/monitor"]) {
      const answer = await call("GET", path);
      expect(answer.headers.get("upgrade")).toBe("websocket");
      const { code, detail } = await problemOf(426, Promise.resolve(answer));
      expect(code).toBe("upgrade_required");
      expect(detail).toContain("Upgrade: websocket");
    }
  });
});
