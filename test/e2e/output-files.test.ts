/// <reference lib="dom" />
import { createHash } from "node:crypto";
import { readFileSync } from "node:fs";
import { mkdir } from "node:fs/promises";
import { join } from "node:path";
import { type Browser, chromium, type Page } from "playwright-core";
import { afterAll, beforeAll, describe, expect, inject, it, onTestFinished } from "vitest";
import { DialoutClient } from "../../src/client/index.ts";
import { expectAccessible } from "./axe.ts";
import { CHROMIUM, watchPageErrors } from "./chromium.ts";
import { EdgeClient } from "./client.ts";

const IMAGE = join(import.meta.dirname, "../support/words.png");
const PICTURES = join(import.meta.dirname, "../output");
const MEGABYTES = 100;

/** Writes a picture, a sound, a text and a page, and shows previews before that. */
const PROGRAM = `
  const { copyFileSync, writeFileSync, existsSync } = require("node:fs");
  const { join } = require("node:path");
  const folder = process.env.DIALOUT_OUTPUT_DIR;
  const say = (frame) => console.log(JSON.stringify(frame));
  const [image, go] = process.argv.slice(1);
  const wave = () => {
    const samples = Buffer.alloc(8_000);
    for (let n = 0; n < samples.length; n += 1) samples[n] = 128 + 60 * Math.sin(n / 3);
    const head = Buffer.alloc(44);
    head.write("RIFF"); head.writeUInt32LE(36 + samples.length, 4); head.write("WAVEfmt ", 8);
    head.writeUInt32LE(16, 16); head.writeUInt16LE(1, 20); head.writeUInt16LE(1, 22);
    head.writeUInt32LE(8_000, 24); head.writeUInt32LE(8_000, 28); head.writeUInt16LE(1, 32);
    head.writeUInt16LE(8, 34); head.write("data", 36); head.writeUInt32LE(samples.length, 40);
    return Buffer.concat([head, samples]);
  };
  copyFileSync(image, join(folder, "preview.png"));
  say({ type: "output", file: "preview.png", preview: true });
  const wait = setInterval(() => {
    if (!existsSync(go)) return;
    clearInterval(wait);
    copyFileSync(image, join(folder, "words.png"));
    writeFileSync(join(folder, "tone.wav"), wave());
    writeFileSync(join(folder, "notes.txt"), "What the model thought.");
    writeFileSync(join(folder, "page.html"), "<script>document.title = 'ran'</script>");
    say({ type: "output", file: "words.png" });
    say({ type: "result", output: { image: "words.png" } });
  }, 50);`;

const edge = new EdgeClient(inject("edgeUrl"));
let browser: Browser;

beforeAll(async () => {
  await mkdir(PICTURES, { recursive: true });
  browser = await chromium.launch(CHROMIUM);
});
afterAll(() => browser.close());

async function startProgram(settings = {}) {
  const space = await edge.makeSpace(settings);
  const go = join(PICTURES, `go-${crypto.randomUUID()}`);
  await edge.startWorker(space, ["exec", "--", "node", "-e", PROGRAM, IMAGE, go]);
  return { space, goOn: () => mkdir(go) };
}

async function openPage(path: string, width = 1_280): Promise<Page> {
  const context = await browser.newContext({ viewport: { width, height: 900 } });
  context.setDefaultTimeout(15_000);
  onTestFinished(() => context.close());
  const page = await context.newPage();
  onTestFinished(watchPageErrors(page));
  await page.goto(edge.url + path);
  return page;
}

/** Waits until every picture and sound in the page has something to show. */
async function untilLoaded(page: Page): Promise<void> {
  await page.waitForFunction(() =>
    [
      ...document.querySelectorAll<HTMLImageElement | HTMLAudioElement>("figure img, figure audio"),
    ].every((media) => ("naturalWidth" in media ? media.naturalWidth > 0 : media.duration > 0)),
  );
}

describe("files that a program leaves", () => {
  it("are shown and played on the page: a preview while it runs, then the files", async () => {
    const { space, goOn } = await startProgram();
    const page = await openPage(`/spaces/${space.name}`);
    await page.getByTestId("prompt").fill("a picture");
    await page.getByTestId("submit").click();
    await page.getByTestId("job-preview").locator("img").waitFor();
    await untilLoaded(page);
    await page.screenshot({ path: join(PICTURES, "output-preview.png") });
    await goOn();
    await page.locator("[data-testid=job][data-status=completed]").waitFor();
    expect(await page.getByTestId("job-preview").count()).toBe(0);
    const names = await page
      .getByTestId("job-file")
      .evaluateAll((files) => files.map((file) => file.getAttribute("data-name")));
    expect(names).toEqual(["words.png", "notes.txt", "page.html", "tone.wav"]);
    await page.getByText("What the model thought.").waitFor();
    await untilLoaded(page);
    expect(await page.title()).not.toBe("ran");
    await expectAccessible(page);
    await page.screenshot({ path: join(PICTURES, "output-files.png"), fullPage: true });
    const [download] = await Promise.all([
      page.waitForEvent("download"),
      page.getByRole("link", { name: "Download words.png" }).click(),
    ]);
    expect(download.suggestedFilename()).toBe("words.png");
    expect(readFileSync(await download.path())).toEqual(readFileSync(IMAGE));
    await page.reload();
    await page.getByTestId("job-file").first().waitFor();
    await untilLoaded(page);
  });

  it("are shown to whoever has the link to the job, on a phone as well", async () => {
    const { space, goOn } = await startProgram({ visibility: "private" });
    await goOn();
    const job = await edge.asOperator<{ id: string }>("POST", `/api/spaces/${space.name}/jobs`, {
      input: {},
    });
    const { url } = await edge.asOperator<{ url: string }>("POST", `/api/jobs/${job.id}/share`);
    const { pathname, hash } = new URL(url);
    const page = await openPage(pathname + hash, 390);
    await page.locator("[data-testid=job][data-status=completed]").waitFor();
    await page.getByTestId("job-file").first().waitFor();
    await untilLoaded(page);
    await page.getByText("What the model thought.").waitFor();
    const wide = await page.evaluate(() => document.documentElement.scrollWidth - innerWidth);
    expect(wide).toBeLessThanOrEqual(0);
    await expectAccessible(page);
    await page.screenshot({ path: join(PICTURES, "output-files-phone.png"), fullPage: true });
  });

  it("come to the client library as events and as outputs, and none is a link's target", async () => {
    const { space, goOn } = await startProgram();
    const dialout = new DialoutClient({ url: edge.url });
    onTestFinished(() => dialout.close());
    const job = await dialout.space(space.name).submit({});
    const files: string[] = [];
    for await (const event of job.events()) {
      if (event.type !== "file") continue;
      files.push(`${event.file.name}${event.preview ? " (preview)" : ""}`);
      if (event.preview) await goOn();
    }
    expect(files).toEqual([
      "preview-1.png (preview)",
      "words.png",
      "notes.txt",
      "page.html",
      "tone.wav",
    ]);
    const outputs = await job.outputs();
    const [image] = outputs;
    const answer = await fetch(image?.url ?? "");
    const bytes = Buffer.from(await answer.arrayBuffer());
    expect(createHash("sha256").update(bytes).digest("hex")).toBe(image?.sha256);
    expect(bytes).toEqual(readFileSync(IMAGE));
  });

  it("of 100 MB arrive as they were", { timeout: 120_000 }, async () => {
    const space = await edge.makeSpace();
    const script = `
      const { createHash, randomBytes } = require("node:crypto");
      const bytes = randomBytes(${MEGABYTES} * 1_048_576);
      require("node:fs").writeFileSync(process.env.DIALOUT_OUTPUT_DIR + "/big.bin", bytes);
      console.log(createHash("sha256").update(bytes).digest("hex"));`;
    await edge.startWorker(space, ["exec", "--", "node", "-e", script]);
    const { id } = await edge.submit(space.name, {});
    const { outputs, result } = await edge.ended(id);
    const [file] = outputs;
    expect(file).toMatchObject({ name: "big.bin", size: MEGABYTES * 1_048_576 });
    expect(`${file?.sha256}\n`).toBe(result);
    const hash = createHash("sha256");
    const answer = await fetch(new URL(file?.url ?? "", edge.url));
    for await (const piece of answer.body ?? []) hash.update(piece);
    expect(hash.digest("hex")).toBe(file?.sha256);
  });
});
