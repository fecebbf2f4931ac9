import { createExecutionContext } from "cloudflare:test";
import { env } from "cloudflare:workers";
import { describe, expect, it } from "vitest";
import type { Env } from "../../src/env.ts";
import { app } from "../../src/http/app.ts";
import {
  call,
  expectStatus,
  makeSpace,
  OPERATOR,
  problemOf,
  TestSocket,
  type WorkerSpace,
} from "./support.ts";

type Settings = Partial<Pick<Env, "PUBLIC_URL" | "TRUSTED_PROXIES" | "LOCAL" | "SUBMITS">>;

/** Sends a request to an edge with other settings than that of the other tests. */
async function request(
  settings: Settings,
  path: string,
  init: RequestInit = {},
): Promise<Response> {
  const edge: Env = { ...env, ...settings };
  const call = new Request(`http://127.0.0.1:8787${path}`, { redirect: "manual", ...init });
  return app.fetch(call, edge, createExecutionContext());
}

/** The address of a job's file, as a worker gets it that dials with these headers. */
async function fileAddress(
  settings: Settings,
  headers: Record<string, string> = {},
  path = "",
): Promise<string> {
  const space = await makeSpace({ enable_file_upload: true, offline: "queue" });
  const form = new FormData();
  form.append("image", new File(["bytes"], "a.png"));
  const sent = { method: "POST", body: form };
  await expectStatus(202, await request(settings, `/api/spaces/${space.name}/jobs`, sent));
  const worker = await dialWorker(settings, space, headers, path);
  const { files } = await worker.next("job");
  return String((files as { url: string }[])[0]?.url);
}

async function dialWorker(
  settings: Settings,
  space: WorkerSpace,
  headers: Record<string, string>,
  path: string,
): Promise<TestSocket> {
  const authorization = `Bearer ${space.token}`;
  const { webSocket } = await request(settings, `/api/spaces/${space.name}/connect${path}`, {
    headers: { upgrade: "websocket", authorization, ...headers },
  });
  if (!webSocket) throw new Error("refused");
  const worker = new TestSocket(webSocket);
  worker.send({ type: "register", worker_id: "worker-1" });
  return worker;
}

const FORGED = {
  "x-forwarded-proto": "https",
  "x-forwarded-host": "evil.example",
  "x-forwarded-for": "203.0.113.1",
  forwarded: "for=203.0.113.1;proto=https;host=evil.example",
};

describe("the address of a file (W14)", () => {
  it("begins with PUBLIC_URL, whatever the worker's request says (W14c)", async () => {
    const settings = { PUBLIC_URL: "https://dialout.example/", TRUSTED_PROXIES: "127.0.0.1" };
    const address = await fileAddress(settings, FORGED);
    expect(address).toMatch(/^https:\/\/dialout\.example\/api\/files\//);
    const { pathname, search } = new URL(address);
    await expectStatus(200, await request(settings, pathname + search));
  });

  it("begins with what a trusted proxy reports (H9b)", async () => {
    const reported = { ...FORGED, "x-forwarded-host": "dialout.example:8443" };
    const address = await fileAddress({ TRUSTED_PROXIES: "10.0.0.1" }, reported);
    expect(address).toMatch(/^https:\/\/dialout\.example:8443\/api\/files\//);
  });

  it("is not changed by a stranger's headers if no proxy is trusted (H9b)", async () => {
    expect(await fileAddress({}, FORGED)).toMatch(/^http:\/\/127\.0\.0\.1:8787\/api\/files\//);
  });
});

describe("an address with slashes at its end", () => {
  it("is the same address for every method, with its body and query (H9a)", async () => {
    const space = await makeSpace({ offline: "queue" });
    const path = `/api/spaces/${space.name}`;
    expect((await call("GET", `${path}/`)).status).toBe(200);
    expect((await call("HEAD", `${path}/`)).status).toBe(200);
    expect((await call("PATCH", `${path}/`, { title: "New" }, OPERATOR)).status).toBe(200);
    const body = { input: { prompt: "hello" } };
    const answer = await expectStatus(202, await call("POST", `${path}/jobs/?x=1`, body));
    const { id, input } = await answer.json<{ id: string; input: object }>();
    expect(input).toEqual(body.input);
    expect((await call("POST", `/api/jobs/${id}/cancel//`)).status).toBe(200);
    const socket = await TestSocket.open(`${path}/ws/`);
    await socket.next("connection");
    expect((await problemOf(405, call("PUT", `${path}/`))).code).toBe("method_not_allowed");
    expect((await call("DELETE", `${path}/`, undefined, OPERATOR)).status).toBe(204);
  });

  it.each([
    ["/spaces/demo/", "/spaces/demo", 301],
    ["/spaces/demo//?a=/", "/spaces/demo?a=/", 301],
    ["/spaces/", "/spaces", 301],
    ["/spaces", "/", 302],
  ])(
    "of a page, %s, leads to %s on the same host, whichever the request names (H9a)",
    async (path, to, status) => {
      const answer = await request({}, path, { headers: { host: "evil.example" } });
      expect(answer.status).toBe(status);
      expect(answer.headers.get("location")).toBe(to);
    },
  );

  it("never leads to another host", async () => {
    for (const path of ["//evil.example/", "/\\evil.example/", "//evil.example//", "///", "//"]) {
      const answer = await request({}, path);
      expect(answer.headers.get("location"), path).toBeNull();
    }
  });
});

describe("an edge on one's own server", () => {
  const PRIVATE = { input: {}, webhook: "http://127.0.0.1:9/hook" };

  async function submitFrom(settings: Settings, headers: Record<string, string>) {
    const space = await makeSpace({ offline: "queue" });
    return request(settings, `/api/spaces/${space.name}/jobs`, {
      method: "POST",
      headers: { "content-type": "application/json", ...headers },
      body: JSON.stringify(PRIVATE),
    });
  }

  /** Submits over a socket of the space; returns the answer. */
  async function submitOverSocket(settings: Settings, headers: Record<string, string>) {
    const space = await makeSpace({ offline: "queue" });
    const path = `/api/spaces/${space.name}/ws`;
    const init = { headers: { upgrade: "websocket", ...headers } };
    const { webSocket } = await request(settings, path, init);
    if (!webSocket) throw new Error("refused");
    const socket = new TestSocket(webSocket);
    socket.send({ type: "submit", ref: 1, ...PRIVATE });
    return socket.next((frame) => frame.ref === 1);
  }

  it.each<Record<string, string>>([
    {},
    { host: "127.0.0.1:8787" },
    { host: "localhost:8787" },
    { host: "[::1]:8787" },
  ])("lets this machine have webhooks sent to private addresses: %j (H14f)", async (headers) => {
    expect((await submitFrom({}, headers)).status).toBe(202);
    expect(await submitOverSocket({}, headers)).toMatchObject({ type: "accepted" });
  });

  it.each<Record<string, string>>([
    { host: "dialout.example" },
    { "x-forwarded-for": "192.0.2.9" },
    { "x-forwarded-for": "127.0.0.1" },
    { "x-real-ip": "192.0.2.9" },
    { forwarded: "for=192.0.2.9" },
    { via: "1.1 proxy" },
    { origin: "https://evil.example" },
    { origin: "null" },
  ])("gives strangers behind a proxy no such right: %j (H9c)", async (headers) => {
    const problem = await problemOf(422, submitFrom({}, headers));
    expect(problem.detail).toContain("webhook: must be an https: URL");
    expect(await submitOverSocket({}, headers)).toMatchObject({ code: "invalid_request" });
  });

  it.each([
    { PUBLIC_URL: "https://dialout.example" },
    { TRUSTED_PROXIES: "127.0.0.1" },
    { LOCAL: "network" },
  ])("that is public gives it to nobody: %j (H9c)", async (settings) => {
    await problemOf(422, submitFrom(settings, {}));
    expect(await submitOverSocket(settings, {})).toMatchObject({ code: "invalid_request" });
  });

  it("counts submits by the address that a trusted proxy reports, and never by a stranger's word (H9b)", async () => {
    const counted: string[] = [];
    const SUBMITS = {
      limit: async ({ key }: { key: string }) => ({ success: counted.push(key) < 0 }),
    };
    const chain = {
      "x-forwarded-for": "203.0.113.1, 192.0.2.9",
      "cf-connecting-ip": "203.0.113.2",
    };
    await problemOf(429, submitFrom({ SUBMITS, TRUSTED_PROXIES: "127.0.0.1" }, chain));
    await problemOf(429, submitFrom({ SUBMITS }, chain));
    await problemOf(429, submitFrom({ SUBMITS, PUBLIC_URL: "https://dialout.example" }, chain));
    await problemOf(429, submitFrom({ SUBMITS, LOCAL: "false" }, chain));
    expect(counted).toEqual(
      ["192.0.2.9", "127.0.0.1", "127.0.0.1", "203.0.113.2"].map((from) => `address ${from}`),
    );
  });

  it("does not limit this machine (H9c)", async () => {
    const SUBMITS = { limit: async () => ({ success: false }) };
    expect((await submitFrom({ SUBMITS }, { host: "127.0.0.1:8787" })).status).toBe(202);
  });
});

describe("a socket that is asked for without an upgrade", () => {
  it("is answered with what the client and a proxy in between must send (W4)", async () => {
    const space = await makeSpace();
    for (const path of [
      `/api/spaces/${space.name}/connect`,
      `/api/spaces/${space.name}/ws`,
      "/ws",
    ]) {
      const { code, detail } = await problemOf(426, call("GET", path));
      expect(code).toBe("upgrade_required");
      expect(detail).toContain("Upgrade: websocket");
      expect(detail).toContain("proxy");
    }
  });
});

describe("a wrong setting", () => {
  it("is named in the edge's log, and nothing is served", async () => {
    const answer = request({ PUBLIC_URL: "https://host.example/dialout" }, "/healthz");
    expect((await problemOf(500, answer)).code).toBe("internal");
  });
});
