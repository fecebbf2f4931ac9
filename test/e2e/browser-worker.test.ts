/// <reference lib="dom" />
import { cp, mkdtemp, readFile, rm } from "node:fs/promises";
import { createServer, type Server } from "node:http";
import type { AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { build } from "esbuild";
import { type Browser, type BrowserContext, chromium, type Page } from "playwright-core";
import {
  afterAll,
  beforeAll,
  beforeEach,
  describe,
  expect,
  inject,
  it,
  onTestFinished,
} from "vitest";
import { ROOT } from "../../scripts/local.ts";
import { Network } from "../support/network.ts";
import { CHROMIUM, watchPageErrors } from "./chromium.ts";
import { EdgeClient } from "./client.ts";

const EXAMPLE = join(ROOT, "docs/examples/browser-worker");
const TEXT =
  "Ada wrote a program. It is wonderful! Nobody ran it. That is sad. Charles never finished.";
const TYPES: Record<string, string> = { html: "text/html", js: "text/javascript" };

const edge = new EdgeClient(inject("edgeUrl"));
let folder: string;
let server: Server;
let site: string;
let browser: Browser;
let context: BrowserContext;

/** Bundles the example as its first lines say, and serves it from another origin than the edge's. */
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "dialout-tab-"));
  await cp(join(EXAMPLE, "index.html"), join(folder, "index.html"));
  await build({
    entryPoints: [join(EXAMPLE, "main.js")],
    outfile: join(folder, "bundle.js"),
    bundle: true,
    format: "esm",
    alias: { "dialout/worker/browser": join(ROOT, "dist/worker-client/browser/index.js") },
  });
  server = createServer(async ({ url = "/" }, response) => {
    const name = url === "/" ? "index.html" : url.slice(1);
    const body = await readFile(join(folder, name)).catch(() => null);
    if (body === null) response.writeHead(404).end();
    else response.writeHead(200, { "content-type": TYPES[name.split(".").at(-1) ?? ""] }).end(body);
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  site = `http://127.0.0.1:${(server.address() as AddressInfo).port}/`;
  browser = await chromium.launch(CHROMIUM);
});
afterAll(async () => {
  await browser?.close();
  server?.close();
  await rm(folder, { recursive: true, force: true });
});
beforeEach(async () => {
  context = await browser.newContext();
  context.setDefaultTimeout(30_000);
  return () => context.close();
});

type Space = { name: string; token: string };

/** Opens the page and lets it serve the space. */
async function openTab(space: Space, url = edge.url): Promise<Page> {
  const page = await context.newPage();
  onTestFinished(watchPageErrors(page));
  await page.goto(site);
  for (const [name, value] of Object.entries({ url, space: space.name, token: space.token })) {
    await page.locator(`[name=${name}]`).fill(value);
  }
  await page.getByRole("button", { name: "Serve" }).click();
  return page;
}

function untilPhase(page: Page, phase: string): Promise<void> {
  return page.locator(`#state[data-phase=${phase}]`).waitFor();
}

async function serving(space: Space, url?: string): Promise<Page> {
  const page = await openTab(space, url);
  await untilPhase(page, "serving");
  return page;
}

/** Resolves when pieces of the job's output have come. */
function untilOutput(id: string) {
  return expect.poll(async () => (await edge.job(id)).output).toBeTruthy();
}

describe("a worker in a tab", () => {
  it("serves a job that was submitted over HTTP, with its file; its token is in no address (W2a, W14)", async () => {
    const space = await edge.makeSpace({ enable_file_upload: true });
    const addresses: string[] = [];
    context.on("page", (page) => page.on("websocket", (socket) => addresses.push(socket.url())));
    context.on("request", (request) => addresses.push(request.url()));
    const page = await serving(space);
    const form = new FormData();
    form.set("prompt", TEXT);
    form.set("other_file", new File([new Uint8Array(200_000)], "zeros.bin"));
    const answer = await fetch(`${edge.url}/api/spaces/${space.name}/jobs`, {
      method: "POST",
      body: form,
    });
    expect(answer.status).toBe(202);
    const { id } = (await answer.json()) as { id: string };
    const job = await edge.ended(id);
    expect(job).toMatchObject({
      status: "completed",
      result: { sentences: 5, files: [200_000] },
      worker: { name: "A tab" },
    });
    expect(JSON.stringify(job.output)).toContain("Ada/PROPN");
    expect(job.outputs).toMatchObject([{ name: "words.txt", content_type: "text/plain" }]);
    const written = await fetch(new URL(job.outputs[0]?.url ?? "", edge.url));
    expect(await written.text()).toBe(job.output);
    expect(addresses.some((address) => address.startsWith("ws"))).toBe(true);
    expect(addresses.filter((address) => address.includes(space.token))).toEqual([]);
    await page.locator("#drain").click();
    await untilPhase(page, "drained");
  });

  it("gives its job back at once when it is reloaded, and does it again (W25)", async () => {
    const space = await edge.makeSpace({ reconnect_grace_s: 100 });
    const page = await serving(space);
    const { id } = await edge.submit(space.name, { prompt: TEXT, pause_ms: 1_000 });
    await untilOutput(id);
    const started = Date.now();
    await page.reload();
    const job = await edge.ended(id);
    expect(job).toMatchObject({ status: "completed", attempt: 2, result: { sentences: 5 } });
    expect(Date.now() - started).toBeLessThan(30_000);
  });

  it("goes on with its job when it was offline, and dials at once when it is back (W26)", async () => {
    const space = await edge.makeSpace({ reconnect_grace_s: 100 });
    const network = await Network.start(edge.url);
    onTestFinished(() => network.close());
    const page = await serving(space, network.url);
    const { id } = await edge.submit(space.name, { prompt: TEXT, pause_ms: 2_000 });
    await untilOutput(id);
    const devtools = await context.newCDPSession(page);
    const emulate = (offline: boolean) =>
      devtools.send("Network.emulateNetworkConditions", {
        offline,
        latency: 0,
        downloadThroughput: -1,
        uploadThroughput: -1,
      });
    await devtools.send("Network.enable");
    await emulate(true);
    network.reset();
    await untilPhase(page, "connecting");
    await expect.poll(() => page.locator("#state").textContent()).toContain("connecting: ");
    await emulate(false);
    await untilPhase(page, "serving");
    const job = await edge.ended(id);
    expect(job).toMatchObject({ status: "completed", attempt: 1, result: { sentences: 5 } });
    expect(String(job.output).match(/Ada/g)).toHaveLength(1);
  });

  it("does what came while it was frozen when it is shown again", async () => {
    const space = await edge.makeSpace();
    const page = await serving(space);
    const devtools = await context.newCDPSession(page);
    await devtools.send("Page.setWebLifecycleState", { state: "frozen" });
    const { id } = await edge.submit(space.name, { prompt: TEXT });
    await devtools.send("Page.setWebLifecycleState", { state: "active" });
    expect(await edge.ended(id)).toMatchObject({ status: "completed" });
  });

  it("is another worker in a duplicated tab, and waits for a place there (W6a, W7c)", async () => {
    const space = await edge.makeSpace();
    const page = await serving(space);
    const [copy] = await Promise.all([
      context.waitForEvent("page"),
      page.evaluate(() => void window.open(location.href)),
    ]);
    await untilPhase(copy, "connecting");
    await expect.poll(() => copy.locator("#state").textContent()).toContain("connecting: ");
    const { id } = await edge.submit(space.name, { prompt: TEXT });
    expect(await edge.ended(id)).toMatchObject({ status: "completed" });
    expect(await page.locator("#state").getAttribute("data-phase")).toBe("serving");
    await page.close();
    await untilPhase(copy, "serving");
  });

  it("shows why the edge refuses it, and that another has its place (W4b, W7a)", async () => {
    const space = await edge.makeSpace();
    const refused = await openTab({ ...space, token: "dow_wrong" });
    await untilPhase(refused, "not_authenticated");
    expect(await refused.locator("#state").textContent()).toContain("This token is not one of");
    const page = await serving(space);
    const workerId = await page.evaluate(
      (name) => sessionStorage.getItem(`dialout-worker:${name}`),
      space.name,
    );
    await edge.startWorker(space, ["demo", "--worker-id", workerId ?? ""]);
    await untilPhase(page, "replaced");
  });
});
