/// <reference lib="dom" />
import { createServer, type Server } from "node:http";
import type { AddressInfo } from "node:net";
import { type Browser, type BrowserContext, chromium, type Page } from "playwright-core";
import { afterAll, beforeAll, beforeEach, describe, expect, it } from "vitest";
import { operatorKey } from "../../scripts/local.ts";
import { FrameSocket } from "../support/frame-socket.ts";
import { freePort } from "../support/port.ts";
import { CHROMIUM } from "./chromium.ts";
import { EdgeClient } from "./client.ts";
import { makeState, type RunningEdge, removeState, runEdge } from "./edge.ts";

const ADMIN = { name: "Ada", email: "ada@example.com", password: "a long password 1" };
const MARKUP = `<img src=x onerror="window.hacked=1"><script>window.hacked=2</script>`;

let edge: RunningEdge;
let client: EdgeClient;
let state: string;
let browser: Browser;
let admin: BrowserContext;
/** The page of a stranger on the same host: browsers send the edge's cookies with its requests. */
let evil: { url: string; server: Server; html: string };

beforeAll(async () => {
  state = await makeState();
  [browser, edge, evil] = await Promise.all([
    chromium.launch(CHROMIUM),
    runEdge(state, await freePort()),
    serveEvil(),
  ]);
  client = new EdgeClient(edge.url);
  admin = await browser.newContext();
  admin.setDefaultTimeout(15_000);
  const data = { ...ADMIN, key: operatorKey() };
  const made = await admin.request.post(`${edge.url}/api/auth/setup`, {
    data,
    headers: { origin: edge.url },
  });
  expect(made.status()).toBe(201);
});
afterAll(async () => {
  await browser.close();
  evil.server.close();
  await edge.program.stop();
  await removeState(state);
});

async function serveEvil(): Promise<typeof evil> {
  const server = createServer((_request, response) => {
    response.setHeader("content-type", "text/html");
    response.end(evil.html);
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const { port } = server.address() as AddressInfo;
  return { url: `http://127.0.0.1:${port}/`, server, html: "" };
}

/** Opens the stranger's page as a visitor who is signed in to the edge. */
async function visitEvil(html: string): Promise<Page> {
  evil.html = html;
  const page = await admin.newPage();
  await page.goto(evil.url);
  return page;
}

async function auditActions(): Promise<string[]> {
  const { entries } = await client.asOperator<{ entries: { action: string }[] }>(
    "GET",
    "/api/audit?limit=100",
  );
  return entries.map(({ action }) => action);
}

describe("a page of another origin, visited by an admin who is signed in", () => {
  let before: string[];
  beforeEach(async () => {
    before = await auditActions();
    // The session is good, so what follows is refused because of where it comes from.
    const me = await admin.request.get(`${edge.url}/api/users`);
    expect(me.status()).toBe(200);
    return async () => expect(await auditActions()).toEqual(before);
  });

  it.each([
    ["text/plain", `<input name='{"name":"csrf-plain","x":"' value='"}'>`],
    ["application/x-www-form-urlencoded", `<input name="name" value="csrf-form">`],
    ["multipart/form-data", `<input name="input" value='{"name":"csrf-multipart"}'>`],
  ])("changes nothing with a form as %s (H9)", async (type, field) => {
    for (const path of ["/api/spaces", "/api/keys", "/api/users", "/api/auth/sign-out"]) {
      const action = `${edge.url}${path}`;
      const form = `<form method="post" enctype="${type}" action="${action}">${field}</form>`;
      const page = await visitEvil(form);
      const answered = page.waitForResponse((response) => response.url() === action);
      await page.evaluate(() => document.forms[0]?.submit());
      expect((await answered).status()).toBeGreaterThanOrEqual(400);
      await page.close();
    }
    expect((await admin.request.get(`${edge.url}/api/users`)).status()).toBe(200);
  });

  it("changes and reads nothing with fetch, with and without cookies (H9)", async () => {
    const page = await visitEvil("<p>hello</p>");
    const outcomes = await page.evaluate(async (url) => {
      const json = { "content-type": "application/json" };
      const tries: [string, RequestInit][] = [
        ["/api/spaces", { method: "POST", headers: json, body: `{"name":"csrf-fetch"}` }],
        ["/api/keys", { method: "POST", body: `{"name":"csrf","scopes":["jobs:read"]}` }],
        ["/api/users", {}],
        ["/api/me", {}],
      ];
      const found: string[] = [];
      for (const [path, init] of tries) {
        for (const credentials of ["include", "omit"] as const) {
          const answer = await fetch(url + path, { ...init, credentials }).catch(() => null);
          found.push(answer === null ? "blocked" : await answer.text());
        }
      }
      return found;
    }, edge.url);
    expect(outcomes.join("\n")).not.toContain(ADMIN.email);
    expect(outcomes.filter((text) => text === "blocked").length).toBeGreaterThanOrEqual(4);
  });

  it("opens no socket with the visitor's session: CSWSH (H9)", async () => {
    const space = await client.makeSpace({ visibility: "private" });
    before = await auditActions();
    const page = await visitEvil("<p>hello</p>");
    const open = (from: Page) =>
      from.evaluate(
        ([url, paths]) =>
          Promise.all(
            paths.map(
              (path) =>
                new Promise<string>((resolve) => {
                  const socket = new WebSocket(url.replace(/^http/, "ws") + path);
                  socket.onmessage = ({ data }) => resolve(JSON.parse(data).type);
                  socket.onerror = () => resolve("refused");
                }),
            ),
          ),
        [edge.url, ["/ws", "/api/rooms/global/ws", `/api/spaces/${space.name}/ws`]] as const,
      );
    expect(await open(page)).toEqual(["connection.error", "connection.error", "refused"]);
    const own = await admin.newPage();
    await own.goto(edge.url);
    expect((await open(own))[0]).toBe("connection.established");
  });

  it("can't show a page of the edge in a frame, nor reach its window (H23)", async () => {
    const page = await visitEvil(`<iframe src="${edge.url}/admin"></iframe>`);
    await expect
      .poll(() => page.frames().map((frame) => frame.url()))
      .toContain("chrome-error://chromewebdata/");
    const [popup] = await Promise.all([
      page.waitForEvent("popup"),
      page.evaluate((url) => {
        Object.assign(window, { other: open(url) });
      }, edge.url),
    ]);
    await popup.waitForLoadState();
    expect(await popup.evaluate(() => window.opener)).toBeNull();
  });
});

describe("what users write", () => {
  it("is text in the pages: names, titles, prompts, output and results (H23)", async () => {
    const settings = { title: MARKUP, description: MARKUP, offline: "queue" } as const;
    const space = await client.makeSpace({ ...settings, title: MARKUP.slice(0, 80) });
    const worker = await FrameSocket.open(`${edge.url}/api/spaces/${space.name}/connect`, {
      authorization: `Bearer ${space.token}`,
    });
    worker.send({ type: "register", worker_id: "evil", name: MARKUP });
    await worker.next("registered");
    const page = await admin.newPage();
    await page.goto(`${edge.url}/spaces/${space.name}`);
    await page.getByTestId("prompt").fill(MARKUP);
    await page.getByTestId("submit").click();
    const { job_id, attempt } = await worker.next("job");
    worker.send({ type: "progress", job_id, attempt, progress: 5, message: MARKUP });
    worker.send({ type: "output", job_id, attempt, delta: MARKUP });
    worker.send({ type: "result", job_id, attempt, output: { text: MARKUP, html: MARKUP } });
    const job = page.getByTestId("job").first();
    await job.getByText("completed", { exact: false }).first().waitFor();
    expect(await job.textContent()).toContain("<img src=x");
    await page.reload();
    await page.getByTestId("job").first().waitFor();
    const seen = await page.evaluate(() => [
      "hacked" in window,
      document.querySelectorAll("img[src=x]").length,
    ]);
    expect(seen).toEqual([false, 0]);
    worker.close();
  });

  it("could not run either if a mistake made it markup: no inline script, no text as HTML (H23)", async () => {
    const page = await admin.newPage();
    await page.goto(edge.url);
    const outcome = await page.evaluate(() => {
      const script = document.createElement("script");
      const tries = [
        () => document.body.append(Object.assign(script, { text: "window.hacked=1" })),
        () => document.body.insertAdjacentHTML("beforeend", "<img src=x onerror=window.hacked=2>"),
        () => document.body.setAttribute("onclick", "window.hacked=4"),
      ];
      for (const attempt of tries) {
        try {
          attempt();
        } catch {
          // Refused, as it should be.
        }
      }
      document.body.click();
      return "hacked" in window;
    });
    expect(outcome).toBe(false);
  });
});

describe("an uploaded file", () => {
  const HTML = `<!doctype html><script>opener?.postMessage("ran", "*"); document.title = "ran";</script>`;
  const SVG = `<svg xmlns="http://www.w3.org/2000/svg"><script>document.title = "ran"</script></svg>`;

  it.each([
    ["page.html", "text/html", HTML],
    ["picture.svg", "image/svg+xml", SVG],
    ["code.js", "text/javascript", "document.title = 'ran'"],
    ["page.xhtml", "application/xhtml+xml", HTML],
  ])("%s can't run in the edge's origin: it is downloaded (W14g)", async (name, type, content) => {
    const space = await client.makeSpace({ enable_file_upload: true });
    const worker = await FrameSocket.open(`${edge.url}/api/spaces/${space.name}/connect`, {
      authorization: `Bearer ${space.token}`,
    });
    worker.send({ type: "register", worker_id: "w" });
    await worker.next("registered");
    const form = new FormData();
    form.append("file", new File([content], name, { type }));
    const sent = { method: "POST", body: form };
    const submitted = await fetch(`${edge.url}/api/spaces/${space.name}/jobs`, sent);
    expect(submitted.status).toBe(202);
    const { files } = (await worker.next("job")) as unknown as { files: { url: string }[] };
    const url = files[0]?.url ?? "";

    const answer = await fetch(url);
    expect(answer.headers.get("content-type")).toBe("application/octet-stream");
    expect(answer.headers.get("content-disposition")).toBe("attachment");
    expect(answer.headers.get("content-security-policy")).toContain("sandbox");

    const page = await admin.newPage();
    await page.goto(edge.url);
    const [download] = await Promise.all([
      page.waitForEvent("download"),
      page.evaluate((address) => {
        location.href = address;
      }, url),
    ]);
    expect(download.url()).toBe(url);
    // As parts of a page, too: a stranger's, because pages of the edge may have none of these.
    const parts = ["script src", "iframe src", "embed src", "object data", "img src"].map(
      (part) => {
        const [tag] = part.split(" ");
        return `<${part}="${url}" onload="shown.push('${tag}')"></${tag}>`;
      },
    );
    const stranger = await visitEvil(`<script>shown = []</script>${parts.join("")}`);
    expect(await stranger.evaluate(() => document.title)).not.toBe("ran");
    expect(await stranger.evaluate(() => Reflect.get(window, "shown"))).not.toContain("img");
    expect(await stranger.evaluate(() => Reflect.get(window, "shown"))).not.toContain("script");
    worker.close();
  });
});

describe("the edge's log", () => {
  it("has no token and no signature that stands in an address (H24)", async () => {
    const secret = "SECRET-IN-ADDRESS";
    const query = `token=${secret}&signature=${secret}&expires=1`;
    for (const path of ["/api/spaces", "/api/rooms/global/events", "/api/files/x", "/nothing"]) {
      const answer = await fetch(`${edge.url}${path}?${query}`);
      expect(await answer.text()).not.toContain(secret);
    }
    for (const path of ["/ws", "/api/rooms/global/ws", "/ws/monitor"]) {
      const socket = await FrameSocket.open(`${edge.url}${path}?${query}`);
      expect(JSON.stringify(await socket.next("connection.error"))).not.toContain(secret);
      await socket.closed;
    }
    await fetch(`${edge.url}/api/spaces/none/connect?${query}`);
    await fetch(`${edge.url}/last`);
    await edge.program.prints("GET /last");
    expect(edge.program.printed).toContain("GET /api/rooms/global/events");
    expect(edge.program.printed).not.toContain(secret);
  });
});

describe("files of the pages", () => {
  it("are sent with headers of their own, which the Worker does not add (H23)", async () => {
    const html = await (await fetch(edge.url)).text();
    const addresses = [...html.matchAll(/(?:src|href)="(\/static\/[^"]+)"/g)].map(
      ([, path]) => path,
    );
    expect(addresses.length).toBeGreaterThanOrEqual(2);
    for (const path of [...addresses, "/static/none.js"]) {
      const { headers } = await fetch(edge.url + path);
      expect(headers.get("x-content-type-options"), path).toBe("nosniff");
      expect(headers.get("content-security-policy"), path).toContain("default-src 'none'");
      expect(headers.get("cross-origin-resource-policy"), path).toBe("same-origin");
    }
  });
});
