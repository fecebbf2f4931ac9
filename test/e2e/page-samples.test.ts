/// <reference lib="dom" />
import { createServer } from "node:http";
import { type Browser, chromium, type Page } from "playwright-core";
import { afterAll, beforeAll, describe, expect, it, onTestFinished } from "vitest";
import { freePort } from "../support/port.ts";
import { watchPageErrors } from "./chromium.ts";
import { EdgeClient } from "./client.ts";
import { makeState, type RunningEdge, removeState, runEdge } from "./edge.ts";
import { sampleOf } from "./samples.ts";

const CHROMIUM = {
  executablePath: process.env.CHROMIUM ?? "/usr/bin/chromium",
  args: ["--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-sync"],
};
const JOB = "render-42";
/** What the samples call, as a page might have it: `shown` is what its visitor sees. */
const PAGE = `
  const shown = { output: "", status: "" };
  function clear() { shown.output = ""; shown.status = ""; }
  function append(delta) { shown.output += delta; }
  function show(status, progress, message, result, error) {
    shown.status = status + " " + progress + " " + JSON.stringify(result ?? null);
  }`;

let state: string;
let edge: RunningEdge;
let browser: Browser;
let client: EdgeClient;

beforeAll(async () => {
  state = await makeState();
  edge = await runEdge(state, await freePort());
  client = new EdgeClient(edge.url);
  browser = await chromium.launch(CHROMIUM);
});
afterAll(async () => {
  await browser?.close();
  await edge.program.stop();
  await removeState(state);
});

async function openPage(sample: string, job: string): Promise<Page> {
  const page = await browser.newPage();
  onTestFinished(() => page.close());
  onTestFinished(watchPageErrors(page));
  const here = sample.replaceAll("127.0.0.1:8787", new URL(edge.url).host).replaceAll(JOB, job);
  await page.addInitScript(`globalThis.shown = (() => {${PAGE}\n${here}\nreturn shown;})();`);
  await page.goto(`${edge.url}/healthz`);
  return page;
}

const shown = (page: Page) =>
  page.evaluate(() => Reflect.get(globalThis, "shown") as { output: string; status: string });

function report(job: string, kind: string, body: object): Promise<unknown> {
  return client.asOperator("POST", `/api/jobs/${job}/${kind}`, body);
}

/** Answers 503 at this port, as a proxy does while its server restarts, until both pages have asked for events. */
async function refuseOnce(port: number): Promise<void> {
  const server = createServer();
  await new Promise<void>((resolve) => server.listen(port, "127.0.0.1", resolve));
  const streamRefused = new Promise<void>((resolve) =>
    server.on("request", (request, response) => {
      response.writeHead(503).end();
      if (request.url?.includes("/events")) resolve();
    }),
  );
  const socketRefused = new Promise<void>((resolve) =>
    server.on("upgrade", (_request, socket) => {
      socket.end("HTTP/1.1 503 Busy\r\ncontent-length: 0\r\n\r\n");
      resolve();
    }),
  );
  await Promise.all([streamRefused, socketRefused]);
  server.closeAllConnections();
  await new Promise((resolve) => server.close(resolve));
}

describe("the samples of docs/jobs.md in a browser", () => {
  it("follow a job to its end over a WebSocket and as an EventSource, over a restart with 503 (C8)", async () => {
    await client.asOperator("POST", "/api/jobs", { id: "lake" });
    const pages = [
      await openPage(sampleOf("docs/jobs.md", "new WebSocket", "js"), "lake"),
      await openPage(sampleOf("docs/jobs.md", "new EventSource", "js"), "lake"),
    ];
    await report("lake", "output", { delta: "one " });
    await report("lake", "progress", { progress: 40 });
    const before = { output: "one ", status: "processing 40 null" };
    for (const page of pages) await expect.poll(() => shown(page)).toEqual(before);
    await edge.program.killAll();
    const port = Number(new URL(edge.url).port);
    await refuseOnce(port);
    edge = await runEdge(state, port);
    await report("lake", "output", { delta: "two " });
    await report("lake", "complete", { result: 7 });
    const after = { output: "one two ", status: "completed 100 7" };
    for (const page of pages) {
      await expect.poll(() => shown(page), { timeout: 30_000 }).toEqual(after);
    }
  });
});
