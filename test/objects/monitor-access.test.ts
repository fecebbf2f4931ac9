import { env } from "cloudflare:workers";
import { beforeEach, describe, expect, it } from "vitest";
import { eraseEverything, Watcher } from "./monitor-support.ts";
import {
  call,
  connectWorker,
  expectStatus,
  makeSpace,
  OPERATOR,
  problemOf,
  submit,
  TestSocket,
} from "./support.ts";

beforeEach(eraseEverything);

const WRONG = { authorization: "Bearer a-key-that-is-not-the-operators" };

describe("the numbers of the edge", () => {
  it.each(["/api/v1/websocket/stats", "/metrics"])(
    "at %s are for the operator only (M1a)",
    async (path) => {
      for (const headers of [{}, WRONG]) {
        const { code } = await problemOf(401, call("GET", path, undefined, headers));
        expect(code).toBe("not_authenticated");
      }
      await problemOf(401, call("GET", `${path}?token=${env.OPERATOR_KEY}`));
      await expectStatus(200, await call("GET", path, undefined, OPERATOR));
    },
  );

  it.each([
    ["", {}],
    ["?token=wrong", {}],
    ["", WRONG],
  ])(
    "on a socket with %j %j are refused over the socket, which is closed with 4401 (M1a)",
    async (query, headers) => {
      const socket = await TestSocket.open(`/ws/monitor${query}`, headers);
      expect(await socket.next("connection.error")).toMatchObject({ code: "not_authenticated" });
      expect((await socket.closed).code).toBe(4401);
    },
  );

  it("come over a socket with the operator's key in its address, and with the subprotocol it offers (M1a, M2)", async () => {
    const path = `/ws/monitor?token=${env.OPERATOR_KEY}`;
    const socket = await TestSocket.open(path);
    expect(await socket.next("system_status")).toMatchObject({ jobs: { total: 0 } });
    const headers = { upgrade: "websocket", "sec-websocket-protocol": "other, dialout.v1" };
    const response = await call("GET", path, undefined, headers);
    expect(response.headers.get("sec-websocket-protocol")).toBe("dialout.v1");
    response.webSocket?.accept();
  });

  it("at /ws/monitor need a WebSocket (H3)", async () => {
    expect(await problemOf(426, call("GET", "/ws/monitor", undefined, OPERATOR))).toMatchObject({
      code: "upgrade_required",
    });
  });

  it("can be read by Prometheus (M3)", async () => {
    const space = await makeSpace({ offline: "queue" });
    const { socket: worker } = await connectWorker(space);
    const watcher = await Watcher.open();
    const { id } = await submit(space.name);
    worker.send({ type: "result", job_id: id, attempt: 1, output: null });
    await watcher.nextStatus(({ jobs }) => jobs.completed === 1);
    const answer = await call("GET", "/metrics", undefined, OPERATOR);
    expect(answer.headers.get("content-type")).toContain("text/plain; version=0.0.4");
    const lines = (await answer.text()).split("\n").filter((line) => !line.startsWith("#"));
    expect(lines.filter(Boolean)).toEqual([
      'dialout_jobs{status="completed"} 1',
      'dialout_jobs{status="failed"} 0',
      'dialout_jobs{status="canceled"} 0',
      "dialout_jobs_active 0",
      'dialout_websocket_connections{kind="space"} 1',
      'dialout_websocket_connections{kind="job"} 0',
      'dialout_websocket_connections{kind="room"} 0',
      'dialout_websocket_connections{kind="gateway"} 0',
      'dialout_sources{kind="space"} 1',
      'dialout_sources{kind="job"} 0',
      'dialout_sources{kind="room"} 0',
      'dialout_sources{kind="gateway"} 0',
      "dialout_jobs_with_connections 0",
    ]);
  });
});

describe("a socket of the monitor", () => {
  it("answers a ping, and is closed after three malformed frames in a row (M5)", async () => {
    const { socket } = await Watcher.open();
    for (const frame of ["{", "{", { type: "ping" }, "{", { type: "submit" }, "[]"]) {
      socket.send(frame);
      await socket.next(({ type }) => type === "pong" || type === "error");
    }
    expect((await socket.closed).code).toBe(4400);
  });
});
