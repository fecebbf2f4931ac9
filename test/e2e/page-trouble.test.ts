/// <reference lib="dom" />
import { type Browser, type BrowserContext, chromium, type Page } from "playwright-core";
import { afterAll, beforeAll, beforeEach, describe, expect, inject, it } from "vitest";
import { watchPageErrors } from "./chromium.ts";
import { EdgeClient } from "./client.ts";

const edge = new EdgeClient(inject("edgeUrl"));
let browser: Browser;
let context: BrowserContext;
let page: Page;
let space: { name: string; token: string };

beforeAll(async () => {
  browser = await chromium.launch({
    executablePath: process.env.CHROMIUM ?? "/usr/bin/chromium",
    args: ["--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-sync"],
  });
});
afterAll(() => browser.close());
beforeEach(async () => {
  space = await edge.makeSpace({ enable_file_upload: true, offline: "queue" });
  context = await browser.newContext();
  context.setDefaultTimeout(15_000);
  page = await context.newPage();
  const expectNoErrors = watchPageErrors(page);
  // Time goes on by itself, and a test can let much of it pass at once.
  await page.clock.install();
  return async () => {
    await context.close();
    expectNoErrors();
  };
});

function open(): Promise<unknown> {
  return page.goto(`${edge.url}/spaces/${space.name}`);
}

/** Opens the page, and waits until its socket is open. While it is dead, nothing arrives over it. */
async function openWithSocket() {
  const connection = { isDead: false, received: 0, pongs: 0 };
  await page.routeWebSocket(/\/ws/, (socket) => {
    const server = socket.connectToServer();
    server.onMessage((message) => {
      connection.received += 1;
      if (message === "pong") connection.pongs += 1;
      if (!connection.isDead) socket.send(message);
    });
  });
  await open();
  await pill("disconnected").waitFor();
  await expect.poll(() => connection.received, { timeout: 10_000 }).toBeGreaterThan(0);
  return connection;
}

function pill(state: string) {
  return page.locator(`[data-testid=state][data-state=${state}]`);
}

const SPACE = /\/api\/spaces\/[^/]+$/;
const SUBMIT = /\/api\/spaces\/[^/]+\/jobs$/;

describe("the page of a space in trouble", () => {
  it("says that the edge can't be reached if its first request fails, and shows the form once it can", async () => {
    await page.route(SPACE, (route) => route.abort());
    await open();
    const loading = page.getByTestId("loading");
    await loading.getByText("The edge can't be reached. Trying again…").waitFor();
    await page.unroute(SPACE);
    await page.getByTestId("prompt").waitFor();
  });

  it("says so too if its first request never ends", async () => {
    await page.route(SPACE, () => new Promise(() => undefined));
    await open();
    const loading = page.getByTestId("loading");
    await loading.getByText("Loading…").waitFor();
    await page.clock.runFor(11_000);
    await loading.getByText("The edge can't be reached. Trying again…").waitFor();
    await page.unroute(SPACE);
    await page.getByTestId("prompt").waitFor();
  });

  it("says so if somebody else answers, and does not take that for the edge's own refusal", async () => {
    const html = { status: 404, contentType: "text/html", body: "<h1>Log in first</h1>" };
    await page.route(SPACE, (route) => route.fulfill(html));
    await open();
    await page.getByTestId("loading").getByText("There is no edge at this address").waitFor();
    await page.unroute(SPACE);
    await page.getByTestId("prompt").waitFor();
  });

  it("notices that its connection is dead although nobody closed it, and says so no longer once it is back", async () => {
    const connection = await openWithSocket();
    for (let beat = 1; beat <= 3; beat += 1) {
      await page.clock.runFor(10_000);
      // The first pong answered the ping with which the page begins.
      await expect.poll(() => connection.pongs).toBeGreaterThanOrEqual(beat + 1);
    }
    expect(await pill("disconnected").isVisible()).toBe(true);
    connection.isDead = true;
    await page.clock.runFor(21_000);
    await pill("offline").waitFor();
    await page.getByTestId("form-hint").getByText("keeps trying").waitFor();
    connection.isDead = false;
    await pill("disconnected").waitFor({ timeout: 45_000 });
    expect(await page.getByTestId("form-hint").textContent()).not.toContain("keeps trying");
  });

  it("notices within seconds that its connection died while the machine slept", async () => {
    const connection = await openWithSocket();
    connection.isDead = true;
    // Unlike `runFor` this fires each timer only once, as after a sleep.
    await page.clock.fastForward(3_600_000);
    await page.clock.runFor(11_000);
    await pill("offline").waitFor();
  });

  it("repeats a submit that got no answer with the same key, so that one job runs", async () => {
    const keys: (string | undefined)[] = [];
    await page.route(SUBMIT, async (route) => {
      keys.push(route.request().headers()["idempotency-key"]);
      if (keys.length > 2) return route.continue();
      // The edge gets the job, but its answer is lost.
      if (keys.length === 2) await route.fetch();
      return route.abort();
    });
    await open();
    await page.getByTestId("prompt").fill("The night is quiet.");
    await page.getByTestId("submit").click();
    await page.getByTestId("form-trouble").getByText("can't be reached. Trying again…").waitFor();
    await page.getByTestId("job").waitFor({ timeout: 30_000 });
    expect(await page.getByTestId("form-trouble").isVisible()).toBe(false);
    expect(await page.getByTestId("prompt").inputValue()).toBe("");
    expect(keys).toHaveLength(3);
    expect(new Set(keys).size).toBe(1);
    const path = `/api/spaces/${space.name}/jobs`;
    const { jobs } = await edge.asOperator<{ jobs: unknown[] }>("GET", path);
    expect(jobs).toHaveLength(1);
  });

  it("gives up an upload that makes no progress, says so, and can be stopped without losing anything", async () => {
    const keys: (string | undefined)[] = [];
    let isDead = true;
    // A socket on which nothing comes: with an open one the page would say no more that it can't reach the edge.
    await page.routeWebSocket(/\/ws/, () => undefined);
    await page.route(SUBMIT, (route) => {
      keys.push(route.request().headers()["idempotency-key"]);
      return isDead ? new Promise(() => undefined) : route.continue();
    });
    await open();
    const chosen = { name: "notes.txt", mimeType: "text/plain", buffer: Buffer.from("some notes") };
    await page.locator("input[type=file]").first().setInputFiles(chosen);
    await page.getByTestId("submit").click();
    await expect.poll(() => keys.length).toBe(1);
    await page.clock.runFor(31_000);
    const trouble = page.getByTestId("form-trouble");
    await trouble.getByText("Trying again…").waitFor();
    await page.getByTestId("submit-stop").click();
    await page.locator("[data-testid=form-error][data-code=stopped]").waitFor();
    expect(await trouble.isVisible()).toBe(false);
    isDead = false;
    await page.getByTestId("submit").click();
    await page.getByTestId("job").waitFor();
    expect(new Set(keys).size).toBe(1);
  });

  it("lists no spaces while the edge can't be reached, and lists them once it can", async () => {
    const LIST = /\/api\/spaces(?:\?|$)/;
    await page.route(LIST, (route) => route.abort());
    await page.goto(edge.url);
    await page.getByRole("alert").getByText("Trying again…").waitFor();
    await page.unroute(LIST);
    await page.getByTestId("space").first().waitFor();
  });
});
