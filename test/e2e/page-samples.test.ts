/// <reference lib="dom" />
import { type Browser, chromium, type Page } from "playwright-core";
import { afterAll, beforeAll, describe, expect, inject, it, onTestFinished } from "vitest";
import { foreignAnswer, Network } from "../support/network.ts";
import { CHROMIUM, watchPageErrors } from "./chromium.ts";
import { EdgeClient } from "./client.ts";
import { sampleOf } from "./samples.ts";

const JOB = "render-42";
/** What the samples call, as a page might have it: `shown` is what its visitor sees. */
const PAGE = `
  const shown = { output: "", status: "" };
  function clear() { shown.output = ""; shown.status = ""; }
  function append(delta) { shown.output += delta; }
  function show(status, progress, message, result, error) {
    shown.status = status + " " + progress + " " + JSON.stringify(result ?? null);
  }`;

const client = new EdgeClient(inject("edgeUrl"));
let browser: Browser;

beforeAll(async () => {
  browser = await chromium.launch(CHROMIUM);
});
afterAll(() => browser?.close());

/** Opens a page with the sample, whose way to the edge the test controls. */
async function openPage(sample: string, job: string) {
  const network = await Network.start(client.url);
  // The sample stands in a page of its user's own, and so under no policy of the edge's answers.
  const page = await browser.newPage({ bypassCSP: true });
  onTestFinished(async () => {
    await page.close();
    await network.close();
  });
  onTestFinished(watchPageErrors(page));
  const { host } = new URL(network.url);
  const here = sample.replaceAll("127.0.0.1:8787", host).replaceAll(JOB, job);
  await page.addInitScript(`globalThis.shown = (() => {${PAGE}\n${here}\nreturn shown;})();`);
  await page.goto(`${network.url}/healthz`);
  return { network, page };
}

const shown = (page: Page) =>
  page.evaluate(() => Reflect.get(globalThis, "shown") as { output: string; status: string });

function report(job: string, kind: string, body: object): Promise<unknown> {
  return client.asOperator("POST", `/api/jobs/${job}/${kind}`, body);
}

describe("the samples of docs/jobs.md in a browser", () => {
  it("follow a job to its end over a WebSocket and as an EventSource, whoever answers meanwhile (C8, W4a)", async () => {
    const job = `lake-${crypto.randomUUID().slice(0, 8)}`;
    await client.asOperator("POST", "/api/jobs", { id: job });
    const opened = [
      await openPage(sampleOf("docs/jobs.md", "new WebSocket", "js"), job),
      await openPage(sampleOf("docs/jobs.md", "new EventSource", "js"), job),
    ];
    let output = "";
    for (const status of ["503 Service Unavailable", "404 Not Found", "200 OK"]) {
      output += `${status} `;
      await report(job, "output", { delta: `${status} ` });
      await report(job, "progress", { progress: 40 });
      const now = { output, status: "processing 40 null" };
      for (const { page } of opened) await expect.poll(() => shown(page)).toEqual(now);
      await Promise.all(
        opened.map(async ({ network }) => {
          const { dials } = network;
          network.set({ dials: { answer: foreignAnswer(status) } });
          network.reset();
          // Its own, and with the EventSource also the question why it was refused.
          await expect.poll(() => network.dials).toBeGreaterThan(dials + 1);
          network.set();
        }),
      );
    }
    await report(job, "output", { delta: "end" });
    await report(job, "complete", { result: 7 });
    const after = { output: `${output}end`, status: "completed 100 7" };
    for (const { page } of opened) await expect.poll(() => shown(page)).toEqual(after);
  });
});
