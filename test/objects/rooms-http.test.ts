import { env } from "cloudflare:workers";
import type { JWTPayload } from "jose";
import { beforeEach, describe, expect, it, vi } from "vitest";
import { app } from "../../src/http/app.ts";
import { freshRoom, publish, roomOf, userToken } from "./rooms-support.ts";
import { call, expectStatus, OPERATOR, problemOf, TestSocket } from "./support.ts";

/** More rights than a socket can keep. */
const MANY = { rooms: Array.from({ length: 200 }, (_, n) => `project:${n}-${"x".repeat(50)}`) };

async function bearer(userId: string, claims: JWTPayload) {
  return { authorization: `Bearer ${await userToken(userId, claims)}` };
}

function filterOf(types: string[]): string {
  return `filter=${encodeURIComponent(JSON.stringify({ types }))}`;
}

/** Reads a stream until its text contains `wanted`, then cancels it; returns the text. */
async function readUntil(response: Response, wanted: string): Promise<string> {
  await expectStatus(200, response);
  const reader = response.body?.pipeThrough(new TextDecoderStream()).getReader();
  let text = "";
  while (!text.includes(wanted)) {
    const { done, value } = (await reader?.read()) ?? { done: true };
    if (done) throw new Error(`the stream ended: ${text}`);
    text += value;
  }
  await reader?.cancel();
  return text;
}

describe("publishing over HTTP", () => {
  it("refuses types that are names of JavaScript's object members, and the edge's own types (R9b)", async () => {
    const path = `/api/rooms/${freshRoom()}/events`;
    for (const type of ["constructor", "toString", "presence.joined", "connection.expiring"]) {
      const problem = await problemOf(422, call("POST", path, { type, data: {} }, OPERATOR));
      expect(problem.errors?.map(({ path }) => path)).toEqual(["type"]);
    }
  });

  it("refuses an event that is too large as the edge writes it, and says so (R9b)", async () => {
    const room = freshRoom();
    const post = (numbers: number) => {
      const body = `{"type":"a.b","data":{"n":[${Array(numbers).fill("1e20").join()}]}}`;
      const headers = { ...OPERATOR, "content-type": "application/json" };
      return call("POST", `/api/rooms/${room}/events`, body, headers);
    };
    // Each number is written as it was sent: four characters and a comma.
    await expectStatus(201, await post(52_000));
    const { detail } = await problemOf(422, post(53_000));
    expect(detail).toContain("data: may have 262144 bytes at most");
    const socket = await TestSocket.open(`/api/rooms/${room}/ws`, OPERATOR);
    const [type, data] = ["a.b", { text: "x".repeat(262_144) }];
    socket.send({ type: "publish", event: { type, data } });
    const error = await socket.next("error");
    expect(error.message).toContain("event.data: may have 262144 bytes at most");
  });

  it("answers a known id with the place of the stored event, not with the new data (R16, R16a)", async () => {
    const room = freshRoom();
    const path = `/api/rooms/${room}/events`;
    const first = { type: "step.done", data: { n: 1 }, id: "e1" };
    const stored = await (await call("POST", path, first, OPERATOR)).json<object>();
    expect(stored).toMatchObject({ ...first, room, offset: 1, repeated: false });
    const events = [
      { type: "step.undone", data: { n: 2 }, id: "e1" },
      { type: "step.done", id: "e2" },
    ];
    const again = await expectStatus(201, await call("POST", path, { events }, OPERATOR));
    const { type: _, data: __, ...place } = stored as Record<string, unknown>;
    expect(await again.json()).toEqual({
      events: [
        { ...place, repeated: true },
        expect.objectContaining({ type: "step.done", offset: 2, repeated: false }),
      ],
    });
  });

  it("accepts the room of any user that a token can name", async () => {
    const user = `auth0|${crypto.randomUUID()}`;
    await publish(`user:${encodeURIComponent(user)}`, "step.done", { n: 1 });
    const headers = await bearer(user, {});
    const history = await call("GET", `/api/rooms/user:${user}/history`, undefined, headers);
    expect(await history.json()).toMatchObject({ room: `user:${user}`, offset: 1 });
    const socket = await TestSocket.open("/ws", headers);
    await socket.next("connection.established");
    await publish(`user:${encodeURIComponent(user)}`, "step.done", { n: 2 });
    expect(await socket.next("step.done")).toMatchObject({ room: `user:${user}`, offset: 2 });
  });
});

describe("a stream of a room", () => {
  it("that breaks before its first event goes on from where it began, without a gap (R17a)", async () => {
    const room = freshRoom();
    await publish(room, "step.done", { n: 1 });
    const path = `/api/rooms/${room}/events`;
    const { epoch } = await roomOf(room).history(null, 1);
    const opening = await readUntil(await call("GET", path, undefined, OPERATOR), "\n\n");
    expect(opening).toContain(`id: ${epoch}:1\nevent: connection\n`);
    await publish(room, "step.done", { n: 2 });
    const headers = { ...OPERATOR, "last-event-id": `${epoch}:1` };
    const text = await readUntil(await call("GET", path, undefined, headers), '"n":2');
    expect(text).toContain('"recovered":true');
    expect(text).toContain(`id: ${epoch}:2\nevent: step.done\n`);
    expect(text).not.toContain('"n":1');
  });

  it("has an id for each event, even with `?batch=1` (R17)", async () => {
    const room = freshRoom();
    await publish(room, "step.done", { n: 1 });
    await publish(room, "step.done", { n: 2 });
    const { epoch } = await roomOf(room).history(null, 1);
    const path = `/api/rooms/${room}/events?batch=1&since=${epoch}:0`;
    const text = await readUntil(await call("GET", path, undefined, OPERATOR), '"n":2');
    expect(text).toContain(`id: ${epoch}:1\nevent: step.done\n`);
    expect(text).not.toContain("batch");
  });

  it("is refused if the token has more rights than a socket can keep", async () => {
    const headers = await bearer("mia", { rooms: ["*", ...MANY.rooms] });
    const path = `/api/rooms/${freshRoom()}/events`;
    const { code } = await problemOf(403, call("GET", path, undefined, headers));
    expect(code).toBe("not_allowed");
  });
});

describe("the filter in an address", () => {
  it("is refused if it is larger than 4,096 bytes (R3b, R2)", async () => {
    const room = freshRoom();
    const long = filterOf(Array.from({ length: 50 }, (_, n) => `${n}${"x".repeat(100)}`));
    const path = `/api/rooms/${room}`;
    const problem = await problemOf(
      422,
      call("GET", `${path}/events?${long}`, undefined, OPERATOR),
    );
    expect(problem).toMatchObject({ code: "invalid_request" });
    expect(problem.detail).toContain("4096 bytes");
    const socket = await TestSocket.open(`${path}/ws?${long}`, OPERATOR);
    expect(await socket.next("connection.error")).toMatchObject({ code: "invalid_request" });
    expect(await socket.closed).toMatchObject({ code: 4400 });
  });

  it("fits in a socket next to the most rights that are allowed, in any script", async () => {
    const filters = [
      { types: Array.from({ length: 38 }, () => "x".repeat(100)) },
      { types: Array.from({ length: 19 }, () => "語".repeat(100)) },
      Object.fromEntries([["where", { a: numbers(90), b: numbers(90), c: numbers(90) }]]),
    ];
    const rights = [
      { rooms: ["*", ...Array.from({ length: 40 }, () => "x".repeat(190))] },
      { rooms: ["*", ...Array.from({ length: 20 }, () => "語".repeat(190))] },
    ];
    for (const filter of filters) {
      for (const claims of rights) {
        const token = await userToken("nell", claims);
        const query = `token=${token}&filter=${encodeURIComponent(JSON.stringify(filter))}`;
        const socket = await TestSocket.open(`/api/rooms/${freshRoom()}/ws?${query}`);
        expect(await socket.next("connection")).toMatchObject({ offset: 0 });
        socket.close();
      }
    }
  });

  it("that is invalid and written in multi-byte letters is refused (R2)", async () => {
    const filter = encodeURIComponent(JSON.stringify({ ["語".repeat(60)]: 1 }));
    const socket = await TestSocket.open(`/api/rooms/${freshRoom()}/ws?filter=${filter}`, OPERATOR);
    expect(await socket.next("connection.error")).toMatchObject({ code: "invalid_request" });
    expect(await socket.closed).toMatchObject({ code: 4400 });
  });

  function numbers(count: number): number[] {
    return Array.from({ length: count }, () => 0.5);
  }
});

describe("while the keys that check a token can't be fetched", () => {
  /** Nothing listens at this address. */
  const settings = { ...env, JWKS_URL: "http://127.0.0.1:9/keys" };
  // Names a key by its id. The signature is nonsense, but only with that key could the edge find out.
  const token = `${btoa('{"alg":"ES256","kid":"one"}').replaceAll("=", "")}.e30.AAAA`;

  beforeEach(() => {
    const logged = vi.spyOn(console, "error").mockReturnValue();
    return () => logged.mockRestore();
  });

  it("a request is answered 503 with `retry-after` (H3)", async () => {
    const headers = { authorization: `Bearer ${token}` };
    const response = await app.request("/api/rooms/global/history", { headers }, settings);
    expect([response.status, response.headers.get("retry-after")]).toEqual([503, "1"]);
    expect(await response.json()).toMatchObject({ code: "temporarily_unavailable" });
  });

  it.each(["/ws", "/api/rooms/global/ws", "/ws/some-job", "/ws/monitor"])(
    "a socket of %s is closed with 1012, after which its client dials again (R2)",
    async (path) => {
      const headers = { upgrade: "websocket", authorization: `Bearer ${token}` };
      const { webSocket } = await app.request(path, { headers }, settings);
      if (!webSocket) throw new Error("no socket");
      const socket = new TestSocket(webSocket);
      const error = await socket.next("connection.error");
      expect(error).toMatchObject({ code: "temporarily_unavailable" });
      expect(await socket.closed).toMatchObject({ code: 1012 });
    },
  );
});
