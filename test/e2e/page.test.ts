/// <reference lib="dom" />
import { mkdir } from "node:fs/promises";
import { join } from "node:path";
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
import { CHROMIUM, watchPageErrors } from "./chromium.ts";
import { EdgeClient } from "./client.ts";

const TEXT = `Ada Lovelace wrote the first program in London. It is a wonderful piece of work!
Nobody ran it for a hundred years. That is a sad story. Charles Babbage never finished his engine.`;
const IMAGE = join(import.meta.dirname, "../support/words.png");
const PICTURES = join(import.meta.dirname, "../output");

const edge = new EdgeClient(inject("edgeUrl"));
let browser: Browser;
let context: BrowserContext;
let space: { name: string; token: string };

beforeAll(async () => {
  await mkdir(PICTURES, { recursive: true });
  browser = await chromium.launch(CHROMIUM);
});
afterAll(() => browser.close());
beforeEach(async () => {
  space = await edge.makeSpace({ title: "Words and pictures", enable_file_upload: true });
  context = await browser.newContext({ viewport: { width: 1280, height: 900 } });
  context.setDefaultTimeout(15_000);
  return () => context.close();
});

async function openPage(): Promise<Page> {
  const page = await context.newPage();
  onTestFinished(watchPageErrors(page));
  await page.goto(`${edge.url}/spaces/${space.name}`);
  return page;
}

function state(page: Page, state: string) {
  return page.locator(`[data-testid=state][data-state=${state}]`);
}

function newestJob(page: Page) {
  return page.getByTestId("job").first();
}

async function submitText(page: Page, text: string): Promise<void> {
  await page.getByTestId("prompt").fill(text);
  await page.getByTestId("submit").click();
}

async function untilStatus(page: Page, status: string): Promise<void> {
  await newestJob(page)
    .and(page.locator(`[data-status=${status}]`))
    .waitFor();
}

/** Records every text that the element shows from now on; the returned function reads them. */
async function recordTexts(page: Page, testId: string): Promise<() => Promise<string[]>> {
  await page.evaluate((id) => {
    const seen: string[] = [];
    Object.assign(window, { [`seen-${id}`]: seen });
    new MutationObserver(() => {
      const element = document.querySelector(`[data-testid=${id}]`);
      const text = element?.getAttribute("aria-valuenow") ?? element?.textContent;
      if (text && text !== seen.at(-1)) seen.push(text);
    }).observe(document.body, {
      subtree: true,
      childList: true,
      characterData: true,
      attributes: true,
    });
  }, testId);
  return () => page.evaluate((id) => Reflect.get(window, `seen-${id}`) as string[], testId);
}

describe("the page of a space", () => {
  it("shows progress and output piece by piece, then the result", async () => {
    await edge.startWorker(space, ["demo"]);
    const page = await openPage();
    await state(page, "connected").waitFor();
    const outputs = await recordTexts(page, "job-output");
    const progress = await recordTexts(page, "job-progress");
    await submitText(page, TEXT);
    await page.getByTestId("job-output").waitFor();
    await page.screenshot({ path: join(PICTURES, "space-running.png") });
    await untilStatus(page, "completed");
    const seen = await outputs();
    expect(seen.length).toBeGreaterThanOrEqual(4);
    for (const [index, text] of seen.slice(1).entries()) expect(text).toContain(seen[index]);
    expect(new Set(await progress()).size).toBeGreaterThanOrEqual(3);
    expect(await page.getByTestId("job-result").textContent()).toContain("Ada Lovelace");
    await page.screenshot({ path: join(PICTURES, "space.png"), fullPage: true });
  });

  it("reads the words of an uploaded image", async () => {
    await edge.startWorker(space, ["demo"]);
    const page = await openPage();
    await page.setInputFiles("input[type=file]", IMAGE);
    await page.getByTestId("submit").click();
    await untilStatus(page, "completed");
    expect(await page.getByTestId("job-result").textContent()).toMatch(
      /Remote workers dial out\s+and serve a space/,
    );
    await page.screenshot({ path: join(PICTURES, "space-image.png"), fullPage: true });
  });

  it("shows within two seconds that the worker left, refuses a submit with the reason, and works again", async () => {
    const worker = await edge.startWorker(space, ["demo"]);
    const page = await openPage();
    await state(page, "connected").waitFor();
    await worker.stop();
    await state(page, "disconnected").waitFor({ timeout: 2_000 });
    await submitText(page, TEXT);
    const refusal = page.getByTestId("form-error");
    await refusal.waitFor();
    expect(await refusal.getAttribute("data-code")).toBe("worker_not_connected");
    expect(await refusal.textContent()).toContain("No worker is connected");
    expect(await page.getByTestId("prompt").inputValue()).toBe(TEXT);
    await page.screenshot({ path: join(PICTURES, "space-not-connected.png") });
    await edge.startWorker(space, ["demo"]);
    await state(page, "connected").waitFor();
    await page.getByTestId("submit").click();
    await untilStatus(page, "completed");
  });

  it("shows within two seconds that the worker was killed", async () => {
    const worker = await edge.startWorker(space, ["demo"]);
    const page = await openPage();
    await state(page, "connected").waitFor();
    await worker.stop("SIGKILL");
    await state(page, "disconnected").waitFor({ timeout: 2_000 });
  });

  it("shows each of three tabs that submit at once its own result, and jobs run in the order of the queue", async () => {
    await edge.startWorker(space, ["demo"]);
    const tabs = await Promise.all([openPage(), openPage(), openPage()]);
    await Promise.all(tabs.map((page) => state(page, "connected").waitFor()));
    const names = ["Alice", "Bernard", "Clara"];
    await Promise.all(
      tabs.map((page, index) => submitText(page, `${names[index]} lives in Paris. She sings.`)),
    );
    await Promise.all(tabs.map((page) => untilStatus(page, "completed")));
    const ended = await Promise.all(
      tabs.map(async (page, index) => {
        expect(await page.getByTestId("job").count()).toBe(1);
        const result = await page.getByTestId("job-result").textContent();
        for (const name of names) {
          if (name === names[index]) expect(result).toContain(name);
          else expect(result).not.toContain(name);
        }
        return edge.job((await newestJob(page).getAttribute("data-job-id")) ?? "");
      }),
    );
    ended.sort((a, b) => (a.id < b.id ? -1 : 1));
    const instants = ended.flatMap(({ started_at, completed_at }) => [started_at, completed_at]);
    expect(instants).toEqual([...instants].sort());
  });

  it("shows its running job again after a reload, with all of its output", async () => {
    await edge.startWorker(space, ["demo", "--pace-ms", "500"]);
    const page = await openPage();
    await submitText(page, TEXT);
    await page.getByTestId("job-output").waitFor();
    const before = (await page.getByTestId("job-output").textContent()) ?? "";
    await page.reload();
    await untilStatus(page, "processing");
    await page.getByTestId("job-output").waitFor();
    expect(await page.getByTestId("job-output").textContent()).toContain(before);
    await untilStatus(page, "completed");
    const job = await edge.job((await newestJob(page).getAttribute("data-job-id")) ?? "");
    expect(await page.getByTestId("job-output").textContent()).toBe(job.output);
  });

  it("follows all of its jobs over the one socket of its space", async () => {
    await edge.startWorker(space, ["demo"]);
    const page = await context.newPage();
    onTestFinished(watchPageErrors(page));
    const sockets: string[] = [];
    page.on("websocket", (socket) => sockets.push(new URL(socket.url()).pathname));
    await page.goto(`${edge.url}/spaces/${space.name}`);
    for (const [index, name] of ["Alice", "Bernard", "Clara"].entries()) {
      await submitText(page, `${name} lives in Paris.`);
      await page.getByTestId("job").nth(index).waitFor();
    }
    const completed = page.locator("[data-testid=job][data-status=completed]");
    await completed.nth(2).waitFor();
    expect(sockets).toEqual([`/api/spaces/${space.name}/ws`]);
  });

  it("submits a job also while its socket can't be opened, and follows the job once it can", async () => {
    await edge.startWorker(space, ["demo"]);
    const page = await context.newPage();
    await page.addInitScript(() => {
      const { WebSocket } = window;
      window.WebSocket = class extends WebSocket {
        constructor(url: string | URL, protocols?: string | string[]) {
          super("areSocketsPossible" in window ? url : "ws://127.0.0.1:9", protocols);
        }
      };
    });
    await page.goto(`${edge.url}/spaces/${space.name}`);
    await submitText(page, "The night is quiet.");
    await untilStatus(page, "queued");
    await page.evaluate(() => Object.assign(window, { areSocketsPossible: true }));
    await untilStatus(page, "completed");
  });

  it("fits a phone's screen and works with the keyboard alone", async () => {
    await edge.startWorker(space, ["demo"]);
    const page = await openPage();
    await page.setViewportSize({ width: 360, height: 740 });
    await state(page, "connected").waitFor();
    await page.getByTestId("prompt").waitFor();
    await page.keyboard.press("Tab");
    await page.keyboard.type("The night is quiet.");
    await page.keyboard.press("Control+Enter");
    await untilStatus(page, "completed");
    const overflow = await page.evaluate(
      () => document.documentElement.scrollWidth - document.documentElement.clientWidth,
    );
    expect(overflow).toBe(0);
    await page.screenshot({ path: join(PICTURES, "space-phone.png"), fullPage: true });
  });
});
