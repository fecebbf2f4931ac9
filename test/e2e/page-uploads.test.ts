/// <reference lib="dom" />
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
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
import { someBytes } from "../support/memory-bucket.ts";
import { Network } from "../support/network.ts";
import { CHROMIUM, watchPageErrors } from "./chromium.ts";
import { EdgeClient } from "./client.ts";

const edge = new EdgeClient(inject("edgeUrl"));
const PICTURES = join(import.meta.dirname, "../output");
const SIZE = 12_000_000;
let folder: string;
let large: string;
let browser: Browser;
let context: BrowserContext;
let network: Network;
let space: { name: string };

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "page-uploads-"));
  large = join(folder, "film.bin");
  await writeFile(large, someBytes(SIZE));
  browser = await chromium.launch(CHROMIUM);
});
afterAll(async () => {
  await browser.close();
  await rm(folder, { recursive: true });
});
beforeEach(async () => {
  space = await edge.makeSpace({ enable_file_upload: true, offline: "queue" });
  network = await Network.start(edge.url);
  context = await browser.newContext();
  context.setDefaultTimeout(30_000);
  return async () => {
    await context.close();
    await network.close();
  };
});

async function openPage(): Promise<Page> {
  const page = await context.newPage();
  await page.goto(`${network.url}/spaces/${space.name}`);
  await page.getByTestId("submit").waitFor();
  return page;
}

async function percent(page: Page): Promise<number> {
  return Number(await page.getByTestId("upload-progress").getAttribute("aria-valuenow"));
}

/** Chooses the file and submits; resolves once some of it was sent. */
async function begin(page: Page, least = 5): Promise<void> {
  await page.setInputFiles("[data-testid=file]", large);
  await page.getByTestId("submit").click();
  await expect.poll(() => percent(page)).toBeGreaterThanOrEqual(least);
}

async function jobsFiles(page: Page) {
  const id = await page.getByTestId("job").first().getAttribute("data-job-id");
  return (await edge.job(id ?? "")).files;
}

const FILM = { field: "file", name: "film.bin", size: SIZE };

describe("a large file on the page of a space", () => {
  it("shows how far it is, can be paused, and goes on (H30)", async () => {
    const page = await openPage();
    onTestFinished(watchPageErrors(page));
    network.set({ bytesPerS: 2_000_000 });
    await begin(page);
    await page.getByTestId("upload-pause").click();
    await page.locator("[data-testid=upload][data-state=paused]").waitFor();
    await page.screenshot({ path: join(PICTURES, "space-upload.png") });
    network.set();
    const stopped = await percent(page);
    expect(stopped).toBeLessThan(100);
    await page.getByTestId("upload-pause").click();
    await page.getByTestId("job").first().waitFor();
    expect(await jobsFiles(page)).toMatchObject([FILM]);
    expect(await page.getByTestId("upload").count()).toBe(0);
  });

  it("goes on by itself after the connection broke, and after a reload if it is chosen again (H30c)", async () => {
    const page = await openPage();
    network.set({ bytesPerS: 2_000_000 });
    await begin(page);
    network.set({ bytesPerS: 2_000_000, dials: "reset" });
    network.reset();
    await page.getByText("It goes on by itself").waitFor();
    network.set({ bytesPerS: 2_000_000 });
    await expect.poll(() => percent(page)).toBeGreaterThan(30);
    network.set();
    await page.reload();
    await page.getByTestId("submit").waitFor();
    network.set({ bytesPerS: 2_000_000 });
    const before = performance.now();
    await begin(page, 25);
    // From the beginning this would take more than a second.
    expect(performance.now() - before).toBeLessThan(20_000);
    network.set();
    await page.getByTestId("job").first().waitFor();
    expect(await jobsFiles(page)).toMatchObject([FILM]);
  });

  it("may be stopped, and stands beside other files of its field", async () => {
    const page = await openPage();
    onTestFinished(watchPageErrors(page));
    network.set({ bytesPerS: 2_000_000 });
    await begin(page);
    await page.getByTestId("submit-stop").click();
    await page.getByText("Stopped").waitFor();
    network.set();
    const small = join(folder, "note.txt");
    await writeFile(small, "a note");
    await page.setInputFiles("[data-testid=file]", [large, small]);
    await page.getByTestId("submit").click();
    await page.getByTestId("job").first().waitFor();
    expect(await jobsFiles(page)).toMatchObject([
      FILM,
      { field: "file", name: "note.txt", size: 6 },
    ]);
  });
});
