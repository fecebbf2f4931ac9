/// <reference lib="dom" />
import type { BrowserContext, Page } from "playwright-core";
import { type Browser, chromium } from "playwright-core";
import { afterAll, beforeAll, describe, expect, inject, onTestFinished, test } from "vitest";
import { type Job, RemoteWorker, type RemoteWorkerOptions } from "../../worker-client/index.ts";
import { CHROMIUM } from "./chromium.ts";
import { EdgeClient } from "./client.ts";
import { PageVisits, tabTo } from "./page-visits.ts";

const edge = new EdgeClient(inject("edgeUrl"));

const SCHEMA = {
  input: {
    type: "object",
    required: ["prompt", "style", "photo"],
    properties: {
      prompt: {
        type: "string",
        format: "multiline",
        title: "What to paint",
        description: "In English.",
        examples: ["a cat in the rain", "two boats"],
      },
      steps: { type: "integer", minimum: 1, maximum: 50, default: 20 },
      strength: { type: "number", exclusiveMinimum: 0 },
      style: {
        oneOf: [
          { const: "photo", title: "Photo" },
          { const: "ink", title: "Ink" },
        ],
      },
      upscale: { type: "boolean", title: "Make it larger" },
      day: { type: "string", format: "date" },
      colours: { type: "array", items: { type: "string", minLength: 3 } },
      size: { type: "object", properties: { width: { type: "integer", default: 512 } } },
      photo: { type: "string", format: "image" },
      hum: { type: "string", format: "audio", title: "A tune" },
    },
    examples: [{ prompt: "a lighthouse", style: "ink", steps: 7 }],
  },
  output: {
    type: "object",
    properties: {
      story: { type: "string", format: "markdown", title: "The story" },
      seed: { type: "integer" },
    },
  },
};

const STORY =
  "# Once\n\nA **bold** cat & <b>a dog</b>, [here](https://example.com) and [there](javascript:alert(1)).\n\n- one\n- two";

let browser: Browser;
let visits: PageVisits;
let visitor: BrowserContext;

beforeAll(async () => {
  visits = await PageVisits.begin(edge.url);
  browser = await chromium.launch({
    ...CHROMIUM,
    args: [
      ...CHROMIUM.args,
      "--use-fake-device-for-media-stream",
      "--use-fake-ui-for-media-stream",
    ],
  });
  visitor = await visits.newVisitor();
});
afterAll(async () => {
  await browser.close();
  await visits.end();
});

/** A worker of the space that notes its jobs. */
async function startWorker(
  space: { name: string; token: string },
  schema: RemoteWorkerOptions["schema"],
  answer: (job: Job) => Promise<Awaited<ReturnType<RemoteWorkerOptions["handler"]>>>,
): Promise<RemoteWorker> {
  const options = { url: edge.url, space: space.name, token: space.token, workerId: "painter" };
  const worker = new RemoteWorker({ ...options, schema, handler: answer });
  void worker.run().catch(() => undefined);
  onTestFinished(() => worker.stop());
  await expect
    .poll(async () => {
      const { status, schema: known } = await (
        await edge.call("GET", `/api/spaces/${space.name}`)
      ).json();
      return (
        status.worker === "connected" &&
        JSON.stringify(known?.input) === JSON.stringify(schema?.input)
      );
    })
    .toBe(true);
  return worker;
}

async function submitted(page: Page): Promise<void> {
  await page.getByTestId("submit").click();
  await page.locator("[data-testid=job][data-status=completed]").first().waitFor();
}

describe("the page of a space with a schema", () => {
  test("has a form of it, whose values arrive as they are meant, and shows results as it says", async () => {
    const space = await edge.makeSpace({ title: "Painter" });
    const inputs: [string, string[]][] = [];
    await startWorker(space, SCHEMA, async (job) => {
      const bytes = await Promise.all(job.files.map((file) => file.download()));
      const files = job.files.map(
        ({ field, name }, index) => `${field} ${name} ${bytes[index]?.length}`,
      );
      inputs.push([job.inputText, files]);
      return { story: STORY, seed: 18 };
    });
    const page = await visits.open(visitor, `/spaces/${space.name}`);
    await page.getByRole("textbox", { name: "What to paint" }).waitFor();
    await visits.look(page, "schema-form");

    await page.getByTestId("submit").click();
    await page.getByTestId("form-problems").getByText("3 fields need a change").waitFor();
    const focused = () => page.evaluate(() => document.activeElement?.id);
    expect(await focused()).toBe("field-%2Finput%2Fprompt");
    await visits.glance(page, "schema-form-refused");

    await page.getByRole("button", { name: "two boats" }).click();
    expect(await page.getByRole("textbox", { name: "What to paint" }).inputValue()).toBe(
      "two boats",
    );
    await page.getByLabel("Steps", { exact: false }).last().fill("90");
    await page.getByText("Must be 50 or less.").waitFor();
    const steps = page.locator("#field-\\%2Finput\\%2Fsteps");
    expect(await steps.getAttribute("aria-invalid")).toBe("true");
    const described = (await steps.getAttribute("aria-describedby")) ?? "";
    expect(described).toContain("field-%2Finput%2Fsteps-problem");
    await page.getByLabel("Steps, slider").focus();
    await page.keyboard.press("Home");
    expect(await steps.inputValue()).toBe("1");
    await page.getByLabel("Strength").fill("0.750");
    await page.getByLabel("Ink").check();
    await page.getByLabel("Make it larger").check();
    await page.getByLabel("Day").fill("2026-02-28");
    await page.getByRole("button", { name: "Add" }).click();
    await page.keyboard.type("red");
    await page.getByRole("button", { name: "Add" }).click();
    await page.keyboard.type("blue");
    await page.getByRole("button", { name: "Remove entry 1" }).click();
    await page.getByLabel("Width").fill("18446744073709551615");
    const photo = { name: "cat.png", mimeType: "image/png", buffer: Buffer.from("not really") };
    await page.getByLabel("Photo").last().setInputFiles(photo);
    await submitted(page);
    expect(inputs).toEqual([
      [
        '{"prompt":"two boats","steps":1,"strength":0.750,"style":"ink","upscale":true,"day":"2026-02-28",' +
          '"colours":["blue"],"size":{"width":18446744073709551615}}',
        ["photo cat.png 10"],
      ],
    ]);

    const result = page.getByTestId("job-result");
    await result.getByRole("heading", { name: "Once" }).waitFor();
    expect(await result.locator("strong").allTextContents()).toEqual(["bold"]);
    expect(await result.textContent()).toContain("<b>a dog</b>");
    expect(
      await result
        .getByRole("link")
        .evaluateAll((links) => links.map((link) => (link as HTMLAnchorElement).href)),
    ).toEqual(["https://example.com/"]);
    expect(await result.textContent()).toContain("18");
    await visits.glance(page, "schema-form-result");
    visits.expectNoTrouble();
  });

  test("takes a new schema while it is open, and keeps what was typed", async () => {
    const space = await edge.makeSpace();
    const worker = await startWorker(space, undefined, async () => null);
    const page = await visits.open(visitor, `/spaces/${space.name}`);
    await page.getByTestId("prompt").fill("a cat");
    worker.stop();
    const properties = { prompt: { type: "string" }, steps: { type: "integer" } };
    const first = await startWorker(
      space,
      { input: { type: "object", properties } },
      async () => null,
    );
    await page.getByLabel("Steps").waitFor();
    expect(await page.getByLabel("Prompt").inputValue()).toBe("a cat");
    await page.getByLabel("Steps").fill("12");
    first.stop();
    const more = {
      ...properties,
      steps: { type: "integer", title: "Rounds" },
      seed: { type: "integer" },
    };
    const second = await startWorker(
      space,
      { input: { type: "object", properties: more } },
      async () => null,
    );
    await page.getByLabel("Seed").waitFor();
    expect(await page.getByLabel("Prompt").inputValue()).toBe("a cat");
    expect(await page.getByLabel("Rounds").inputValue()).toBe("12");
    second.stop();
    await startWorker(space, undefined, async () => null);
    await page.getByTestId("prompt").waitFor();
    await expect.poll(() => page.getByTestId("prompt").inputValue()).toBe("a cat");
    visits.expectNoTrouble();
  });

  test("says beside a field what the edge refuses of it", async () => {
    const space = await edge.makeSpace();
    const properties = { steps: { type: "integer" } };
    await startWorker(space, { input: { type: "object", properties } }, async () => null);
    const page = await visits.open(visitor, `/spaces/${space.name}`);
    await page.getByLabel("Steps").fill("3");
    await page.route("**/jobs", (route) =>
      route.fulfill({
        status: 422,
        contentType: "application/problem+json",
        body: JSON.stringify({
          type: "urn:dialout:problem:invalid_input",
          title: "No",
          status: 422,
          detail: "/input/steps: must be 2 or less",
          code: "invalid_input",
          errors: [{ path: "/input/steps", message: "must be 2 or less" }],
        }),
      }),
    );
    await page.getByTestId("submit").click();
    await page.getByText("Must be 2 or less.").waitFor();
    await page.getByTestId("form-error").getByText("beside its fields").waitFor();
    await page.getByLabel("Steps").fill("2");
    await page.getByText("Must be 2 or less.").waitFor({ state: "detached" });
    visits.expectNoTrouble(422);
  });

  test("is filled in and sent without a mouse, with a recording of the microphone", async () => {
    const space = await edge.makeSpace();
    const files: string[] = [];
    const properties = {
      tune: { type: "string", format: "audio" },
      level: { enum: [1, 2.5, "off", "a", "b"] },
    };
    const schema = { input: { type: "object", properties, required: ["tune"] } };
    const levels: unknown[] = [];
    await startWorker(space, schema, async (job) => {
      const bytes = await job.files[0]?.download();
      levels.push(job.input.level);
      files.push(`${job.files[0]?.field} ${job.files[0]?.contentType} ${(bytes?.length ?? 0) > 0}`);
      return "heard";
    });
    const context = await browser.newContext();
    const page = await context.newPage();
    await page.goto(`${edge.url}/spaces/${space.name}`);
    await tabTo(page, page.getByRole("button", { name: "Record" }));
    await page.keyboard.press("Enter");
    await page.getByText("Recording…").waitFor();
    await page.getByRole("button", { name: "Stop recording" }).press("Enter");
    await page.getByLabel("Preview of recording.webm").waitFor();
    await tabTo(page, page.getByLabel("Level"));
    await page.keyboard.type("2.5");
    await page.keyboard.press("Control+Enter");
    await page.locator("[data-testid=job][data-status=completed]").waitFor();
    expect(files).toEqual(["tune audio/webm true"]);
    expect(levels).toEqual([2.5]);
  });
});
