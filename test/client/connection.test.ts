import { createServer, type Server } from "node:http";
import { type AddressInfo, createServer as createTcpServer } from "node:net";
import { afterEach, beforeEach, describe, expect, onTestFinished, test } from "vitest";
import { WebSocketServer } from "ws";
import type { ClientOptions, Connection } from "../../src/client/index.ts";
import { type FakeAnswer, problem } from "../support/fake-subscriber-edge.ts";
import { freePort } from "../support/port.ts";
import { connection, jobResource, progress } from "./jobs.ts";
import { clientOf, JOB_ID, speedTimeUp, startClient, tokenFor } from "./start.ts";

const PORTAL: FakeAnswer = { html: "<!doctype html><title>Log in</title>" };

/** Nothing that the client does by itself may end as a rejection that nobody can handle. */
let unhandled: unknown[] = [];
const onUnhandled = (reason: unknown) => void unhandled.push(reason);
beforeEach(() => {
  unhandled = [];
  process.on("unhandledRejection", onUnhandled);
});
afterEach(async () => {
  await new Promise((resolve) => setImmediate(resolve));
  process.off("unhandledRejection", onUnhandled);
  expect(unhandled).toEqual([]);
});

/** Watches a space and records the states of its connection. */
function watch(url: string, options: ClientOptions = {}) {
  const states: Connection[] = [];
  const client = clientOf({ url }, options);
  const following = client.space("demo").watch({
    onConnection: (state) => states.push(state),
  });
  const reaches = (state: Connection["state"]) =>
    expect.poll(() => states.at(-1)?.state).toBe(state);
  return { states, client, following, reaches };
}

async function listening(server: Server): Promise<string> {
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  onTestFinished(() => {
    server.closeAllConnections();
    server.close();
  });
  return `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
}

describe("the connection of a subscription", () => {
  test("is unreachable while nothing listens at the address, since when and how often it was tried", async () => {
    const startedAt = Date.now();
    const { states, reaches } = watch(`http://127.0.0.1:${await freePort()}`);
    await reaches("unreachable");
    await expect.poll(() => states.length).toBeGreaterThan(1);
    const last = states.at(-1);
    if (last?.state !== "unreachable") return expect.fail("it is unreachable");
    expect(last.error.message).toContain("ECONNREFUSED");
    expect(last.attempts).toBeGreaterThan(1);
    expect(last.since - startedAt).toBeLessThan(1_000);
    expect(last.since).toBeGreaterThanOrEqual(startedAt);
  });

  test("is unreachable if the address takes connections and never answers", async () => {
    const server = createTcpServer();
    await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
    const sockets: { destroy(): void }[] = [];
    server.on("connection", (socket) => sockets.push(socket));
    onTestFinished(() => {
      for (const socket of sockets) socket.destroy();
      server.close();
    });
    const url = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
    speedTimeUp();
    const { states } = watch(url, { requestTimeout: 200 });
    await expect
      .poll(() => states.at(-1))
      .toMatchObject({ state: "unreachable", error: { code: "timed_out" } });
  });

  test("says that there is no edge at the address while a page of HTML comes, and goes on trying", async () => {
    const { edge } = await startClient();
    edge.answer = () => PORTAL;
    edge.refuse(200);
    edge.refuse(404);
    const { states, reaches } = watch(edge.url);
    await reaches("not_an_edge");
    const socket = await edge.socket();
    socket.send({ ...connection(1), job_id: undefined, space: "demo" });
    await reaches("open");
    expect(states.map(({ state }) => state)).not.toContain("closed");
  });

  test.each([401, 403, 404, 409])("goes on after somebody else's %i", async (status) => {
    const { edge, client } = await startClient();
    edge.answer = () => ({ status, html: "<h1>Not here</h1>" });
    edge.refuse(status);
    const events = client.job(JOB_ID).events();
    const socket = await edge.socket();
    socket.send(connection(1), progress(1));
    expect(await events.next()).toMatchObject({ done: false });
    client.close();
  });

  test.each([429, 502])("is `unavailable` while a proxy answers with %i", async (status) => {
    const { edge } = await startClient();
    edge.answer = () => ({ status, html: "<h1>Not now</h1>" });
    edge.refuse(status);
    const { states, reaches } = watch(edge.url);
    await reaches("unavailable");
    expect(states.at(-1)).toMatchObject({ error: { code: `http_${status}`, status } });
  });

  test("ends with the edge's own refusal: the space does not exist", async () => {
    const { edge } = await startClient();
    edge.answer = () => problem(404, "space_not_found", "There is no space demo.");
    edge.refuse(404);
    const { states, following } = watch(edge.url);
    expect(await following.closed).toMatchObject({ code: "space_not_found", status: 404 });
    expect(states.at(-1)).toMatchObject({
      state: "closed",
      error: { code: "space_not_found", message: "There is no space demo." },
    });
  });

  test("says that the scheme is wrong if a server without TLS is dialed with https:", async () => {
    const { edge } = await startClient();
    const { states, reaches } = watch(edge.url.replace("http:", "https:"));
    await reaches("wrong_scheme");
    const last = states.at(-1);
    expect(last && "error" in last && last.error?.message).toContain("speaks http:, not https:");
  });

  test("says that sockets are not let through if the edge answers only over HTTP", async () => {
    const { edge } = await startClient();
    const status = { worker: "connected", queue_size: 0, processing: 0, estimated_wait_s: 0 };
    const { DEFAULT_SETTINGS } = await import("../../src/protocol/resources.ts");
    const { created_at, updated_at } = jobResource();
    const urls = { self: "/s", page: "/p", jobs: "/j", ws: "/w" };
    const whose = { owner: null, access: "use" };
    const space = {
      ...{ ...DEFAULT_SETTINGS, ...whose },
      ...{ name: "demo", created_at, updated_at, status, urls },
    };
    edge.answer = () => ({ body: space });
    edge.refuse(502);
    const { states, reaches } = watch(edge.url);
    await reaches("unavailable");
    expect(states.at(-1)).toMatchObject({ error: { code: "socket_refused" } });
  });

  test("says why for rooms and backend jobs too, which have nothing to ask for over HTTP", async () => {
    const { edge, client } = await startClient({ token: tokenFor(600) });
    edge.answer = () => PORTAL;
    edge.refuse(404);
    edge.refuse(404);
    const states: string[] = [];
    const onConnection = ({ state }: Connection) => void states.push(state);
    client.job("render-42").follow({ onConnection });
    await expect.poll(() => states).toEqual(["not_an_edge"]);
    const reasons: unknown[] = [];
    client.room("project:42").subscribe({ onLink: (_state, error) => reasons.push(error?.code) });
    await expect.poll(() => reasons).toContain("not_an_edge");
  });

  test("says so if what answers opens any WebSocket, but is no edge", async () => {
    const server = createServer((_request, response) => response.end("hello"));
    const sockets = new WebSocketServer({ server });
    onTestFinished(() => {
      for (const socket of sockets.clients) socket.terminate();
    });
    const url = await listening(server);
    speedTimeUp();
    const { states } = watch(url);
    await expect.poll(() => states.at(-1)?.state).toBe("not_an_edge");
  });

  test("is reported by iterators and by whoever waits for a result", async () => {
    const { edge, client } = await startClient();
    edge.answer = () => PORTAL;
    for (let dial = 0; dial < 3; dial += 1) edge.refuse(503);
    const stop = new AbortController();
    const states: string[][] = [[], [], []];
    const options = states.map((list) => ({
      signal: stop.signal,
      onConnection: ({ state }: Connection) => void list.push(state),
    }));
    const job = client.job(JOB_ID);
    const waiting = [
      job.result(options[0]),
      job.output(options[1]).next(),
      client.space("demo").statuses(options[2]).next(),
    ];
    await expect.poll(() => states.map(([first]) => first)).toEqual(Array(3).fill("not_an_edge"));
    stop.abort(new Error("enough"));
    for (const wait of waiting) await expect(wait).rejects.toThrow("enough");
  });

  test("is `unavailable` while no token can be obtained", async () => {
    const { edge } = await startClient();
    const { states, reaches } = watch(edge.url, {
      token: () => {
        throw new Error("signed out");
      },
    });
    await reaches("unavailable");
    expect(states.at(-1)).toMatchObject({ error: { code: "invalid_token" } });
  });

  test("says so if the browser does not let the page open a socket", async () => {
    class Forbidding {
      constructor() {
        throw new Error(
          "An insecure WebSocket connection may not be initiated from a page over HTTPS.",
        );
      }
    }
    const fetch = () => Promise.reject(new TypeError("Failed to fetch"));
    const { reaches } = watch("http://edge", { WebSocket: Forbidding, fetch });
    await reaches("unreachable");
  });

  test("is `reconnecting` after a break, and `open` again without an error", async () => {
    const { edge } = await startClient();
    const { states, reaches } = watch(edge.url);
    const hello = { ...connection(1), job_id: undefined, space: "demo" };
    const first = await edge.socket();
    first.send(hello);
    await reaches("open");
    first.drop();
    const second = await edge.socket();
    second.send(hello);
    await expect
      .poll(() => states)
      .toMatchObject([
        { state: "open" },
        { state: "reconnecting", since: expect.any(Number) },
        { state: "open" },
      ]);
  });

  test("the stored end of a job is fetched for as long as that takes", async () => {
    const { edge, client } = await startClient();
    let failures = 2;
    edge.answer = () => {
      failures -= 1;
      if (failures >= 0) return PORTAL;
      return { body: jobResource({ status: "completed", result: 42, attempt: 1 }) };
    };
    const ends: unknown[] = [];
    const following = client.job(JOB_ID).follow({
      since: "e:9",
      onEnd: ({ result }) => ends.push(result),
    });
    const socket = await edge.socket();
    socket.send(connection(9, true));
    socket.close(1000);
    expect(await following.closed).toBeNull();
    expect(ends).toEqual([42]);
  });

  test("closing while a dial or its probe is under way leaves nothing behind", async () => {
    const { edge } = await startClient();
    edge.answer = () => "hang";
    edge.refuse(500);
    const { client, following, states } = watch(edge.url);
    await expect.poll(() => edge.requests.length).toBe(1);
    client.close();
    expect(await following.closed).toBeNull();
    const count = states.length;
    const { client: other, following: early } = watch(edge.url);
    other.close();
    expect(await early.closed).toBeNull();
    expect(states).toHaveLength(count);
  });
});
