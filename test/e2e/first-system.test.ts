/// <reference lib="dom" />
import { createServer, request, type Server } from "node:http";
import type { AddressInfo } from "node:net";
import { chromium } from "playwright-core";
import { afterAll, beforeAll, beforeEach, describe, expect, it, onTestFinished } from "vitest";
import { FrameSocket } from "../support/frame-socket.ts";
import { freePort } from "../support/port.ts";
import { CHROMIUM, watchPageErrors } from "./chromium.ts";
import { EdgeClient } from "./client.ts";
import { makeState, type RunningEdge, removeState, runEdge } from "./edge.ts";

/** As the pages of the first system did it: a form, a token in a `meta`, and a poll until the request has ended. */
const PAGE = `<!doctype html><meta name="csrf-token"><form>
  <textarea name="prompt"></textarea><input name="audio_url"><input type="file" name="other_file">
</form><pre></pre><script>
  const token = () => document.querySelector("meta[name=csrf-token]").content;
  async function start() {
    const answer = await (await fetch("/websockets/csrf-token")).json();
    document.querySelector("meta[name=csrf-token]").content = answer.csrf_token;
  }
  async function run(space) {
    const body = new FormData(document.forms[0]);
    const sent = await fetch("/websockets/submit/" + space, {
      method: "POST", headers: { "X-CSRFToken": token() }, body });
    const data = await sent.json();
    if (!sent.ok) throw new Error(data.error);
    for (;;) {
      const status = await (await fetch("/websockets/status?request_id=" + data.request_id)).json();
      if (status.status === "completed" || status.status === "failed") return status;
    }
  }
</script>`;

let edge: RunningEdge;
let client: EdgeClient;
let state: string;
/** Serves the first system's page, and passes everything else on to the edge, as a proxy before both would. */
let proxy: Server;
let origin: string;
let cookie: string;
let space: { name: string; token: string };

beforeAll(async () => {
  state = await makeState();
  const port = await freePort();
  proxy = createServer((incoming, answer) => {
    if (incoming.url === "/page") return answer.setHeader("content-type", "text/html").end(PAGE);
    const { method, url, headers } = incoming;
    const onward = request({ port, host: "127.0.0.1", method, path: url, headers }, (from) => {
      answer.writeHead(from.statusCode ?? 502, from.headers);
      from.pipe(answer);
    });
    incoming.pipe(onward);
    return undefined;
  });
  await new Promise<void>((resolve) => proxy.listen(0, "127.0.0.1", resolve));
  origin = `http://127.0.0.1:${(proxy.address() as AddressInfo).port}`;
  edge = await runEdge(state, port, ["--no-worker"], { PUBLIC_URL: origin });
  client = new EdgeClient(origin);
  cookie = await signUp();
});
afterAll(async () => {
  proxy.close();
  proxy.closeAllConnections();
  await edge.program.stop();
  await removeState(state);
});
beforeEach(async () => {
  space = await client.makeSpace({ enable_file_upload: true, enable_audio: true });
});

async function signUp(): Promise<string> {
  const path = "/api/invitations";
  const { code } = await client.asOperator<{ code: string }>("POST", path, { role: "member" });
  const email = `${crypto.randomUUID()}@example.com`;
  const person = { name: "Ann", email, password: "a long password 1", invitation: code };
  const made = await client.call("POST", "/api/auth/sign-up", person, { origin });
  expect(made.status).toBe(201);
  return made.headers
    .getSetCookie()
    .map((set) => set.split(";")[0])
    .join("; ");
}

async function csrfToken(of = cookie): Promise<string> {
  const answer = await client.call("GET", "/websockets/csrf-token", undefined, { cookie: of });
  expect([answer.status, answer.headers.get("cache-control")]).toEqual([200, "no-store"]);
  return ((await answer.json()) as { csrf_token: string }).csrf_token;
}

async function connectWorker(): Promise<FrameSocket> {
  const worker = await FrameSocket.open(`${edge.url}/api/spaces/${space.name}/connect`, {
    authorization: `Bearer ${space.token}`,
  });
  onTestFinished(() => worker.close());
  worker.send({ type: "register", worker_id: "w" });
  await worker.next("registered");
  return worker;
}

interface Answer {
  status: number;
  body: Record<string, unknown>;
}

async function send(path: string, init: RequestInit = {}): Promise<Answer> {
  const answer = await fetch(origin + path, init);
  expect(answer.headers.get("content-type")).toBe("application/json");
  return { status: answer.status, body: (await answer.json()) as Record<string, unknown> };
}

function submit(
  fields: Record<string, string>,
  headers: Record<string, string>,
  to = space.name,
): Promise<Answer> {
  const body = new URLSearchParams(fields);
  return send(`/websockets/submit/${to}`, { method: "POST", body, headers });
}

/** Asks as the page does whose visitor is signed in: the request is theirs. */
const statusOf = (id: unknown) =>
  send(`/websockets/status?request_id=${id}`, { headers: { cookie } });

async function ended(id: unknown) {
  await expect.poll(async () => (await statusOf(id)).body.status).toMatch(/^(completed|failed)$/);
  return statusOf(id);
}

describe("the first system's submit", () => {
  it("takes its form and its token, and its status tells the request from start to end (F1, F3)", async () => {
    const worker = await connectWorker();
    const form = {
      prompt: "hello",
      audio_url: "https://a.example/b.wav",
      other: "",
      csrf_token: "",
    };
    form.csrf_token = await csrfToken();
    const submitted = await submit(form, { cookie });
    expect(submitted).toMatchObject({ status: 200, body: { success: true, connected: true } });
    const id = submitted.body.request_id;
    const { job_id, attempt, input } = await worker.next("job");
    expect([job_id, input]).toEqual([id, { prompt: "hello", audio: "https://a.example/b.wav" }]);
    const running = await statusOf(id);
    expect(running.body).toMatchObject({ request_id: id, status: "processing", result: null });
    expect(running.body).toMatchObject({ error: null, connected: true, queue_size: 0 });
    worker.send({ type: "result", job_id, attempt, output: { text: "hi" } });
    await worker.next("ack");
    const { body } = await statusOf(id);
    expect(body).toMatchObject({ status: "completed", result: { text: "hi" }, error: null });
    expect(Date.parse(String(body.updated_at))).toBeGreaterThanOrEqual(
      Date.parse(String(body.created_at)),
    );
    // The same job, in the same queue.
    const job = await client.asOperator("GET", `/api/jobs/${id}`);
    expect(job).toMatchObject({ id, status: "completed" });
  });

  it("tells a failed and a canceled request apart from one that goes on (F3)", async () => {
    const worker = await connectWorker();
    const token = await csrfToken();
    const ids: unknown[] = [];
    for (const prompt of ["one", "two"]) {
      ids.push((await submit({ prompt }, { cookie, "x-csrftoken": token })).body.request_id);
    }
    const { job_id, attempt } = await worker.next("job");
    worker.send({ type: "fail", job_id, attempt, code: "bad", message: "No.", retryable: false });
    await client.asOperator("POST", `/api/jobs/${ids[1]}/cancel`);
    expect((await ended(ids[0])).body).toMatchObject({ status: "failed", error: "bad: No." });
    const { body } = await ended(ids[1]);
    expect(body).toMatchObject({ status: "failed", result: null, error: expect.any(String) });
  });

  it("is refused without a session, and without the token of that session: CSRF (F2)", async () => {
    await connectWorker();
    const others = await csrfToken(await signUp());
    const token = await csrfToken();
    const form = { prompt: "x" };
    expect((await submit({ ...form, csrf_token: token }, {})).status).toBe(401);
    for (const wrong of [
      "",
      others,
      `${token}x`,
      "a.b",
      token.replace(/^./, (first) => (first === "_" ? "-" : "_")),
    ]) {
      const answer = await submit({ ...form, csrf_token: wrong }, { cookie });
      expect(answer).toMatchObject({
        status: 400,
        body: { error: expect.stringContaining("CSRF") },
      });
    }
    const elsewhere = { cookie, origin: "https://evil.test", "x-csrftoken": token };
    expect((await submit(form, elsewhere)).status).toBe(401);
    const types = { cookie, "content-type": "text/plain" };
    const plain = { method: "POST", body: `csrf_token=${token}`, headers: types };
    expect((await send(`/websockets/submit/${space.name}`, plain)).status).toBe(415);
    const page = { cookie, origin: "https://evil.test" };
    const read = await client.call("GET", "/websockets/csrf-token", undefined, page);
    expect([read.status, read.headers.get("access-control-allow-origin")]).toEqual([403, null]);
    const { jobs } = await client.asOperator<{ jobs: object[] }>(
      "GET",
      `/api/spaces/${space.name}/jobs`,
    );
    expect(jobs).toEqual([]);
  });

  it("says why nothing can be done, with the statuses that its pages know (F4)", async () => {
    const headers = { cookie, "x-csrftoken": await csrfToken() };
    expect(await submit({ prompt: "x" }, headers, "missing")).toMatchObject({
      status: 404,
      body: { error: expect.any(String) },
    });
    expect(await submit({ prompt: "x" }, headers)).toMatchObject({
      status: 503,
      body: { error: expect.stringContaining("worker"), code: "worker_not_connected" },
    });
    expect(await send("/websockets/status")).toEqual({
      status: 400,
      body: { error: "Missing request_id" },
    });
    for (const id of ["no-such-request", `${space.name}.${"0".repeat(26)}`]) {
      expect((await statusOf(id)).status).toBe(404);
    }
    expect(await send(`/websockets/connection/${space.name}`)).toEqual({
      status: 200,
      body: { connected: false, queue_size: 0 },
    });
    await connectWorker();
    expect((await send(`/websockets/connection/${space.name}`)).body.connected).toBe(true);
  });

  it("needs no token from a program with a key (F2)", async () => {
    const worker = await connectWorker();
    const body = { name: "program", scopes: ["jobs:write"] };
    const made = await client.call("POST", "/api/keys", body, { cookie, origin });
    const { key } = (await made.json()) as { key: string };
    const sent = await submit({ prompt: "by key" }, { authorization: `Bearer ${key}` });
    expect(sent.status).toBe(200);
    expect((await worker.next("job")).input).toEqual({ prompt: "by key" });
    expect((await submit({ prompt: "x" }, { authorization: "Bearer wrong" })).status).toBe(401);
  });
});

it("a page of the first system keeps working in a browser, with its files (F1)", async () => {
  const worker = await connectWorker();
  const browser = await chromium.launch(CHROMIUM);
  onTestFinished(() => browser.close());
  const context = await browser.newContext();
  const cookies = cookie.split("; ").map((text) => {
    const [name = "", ...value] = text.split("=");
    return { name, value: value.join("="), url: origin };
  });
  await context.addCookies(cookies);
  const page = await context.newPage();
  onTestFinished(watchPageErrors(page));
  await page.goto(`${origin}/page`);
  await page.evaluate("start()");
  await page.locator("[name=prompt]").fill("from the page");
  const file = { name: "a.txt", mimeType: "text/plain", buffer: Buffer.from("content") };
  await page.locator("[name=other_file]").setInputFiles(file);
  const result = page.evaluate(`run("${space.name}")`);
  const job = await worker.next("job");
  expect(job.input).toEqual({ prompt: "from the page" });
  expect(job.files).toMatchObject([{ field: "file", name: "a.txt", size: 7 }]);
  const { job_id, attempt } = job;
  worker.send({ type: "result", job_id, attempt, output: "done" });
  expect(await result).toMatchObject({ status: "completed", result: "done" });
});
