/// <reference lib="dom" />
import { type Browser, chromium, type Page } from "playwright-core";
import { afterAll, beforeAll, describe, expect, inject, it, onTestFinished } from "vitest";
import { operatorKey } from "../../scripts/local.ts";
import { Program } from "../support/program.ts";
import { CHROMIUM } from "./chromium.ts";
import { EdgeClient } from "./client.ts";

const edge = new EdgeClient(inject("edgeUrl"));
/** Twice what the edge needs, so that a busy machine does no harm; without the comments it needed 40 s. */
const LEFT_WITHIN_MS = 20_000;

describe("a client that leaves the stream of its submit", () => {
  // Both at once: all that they do is wait.
  it.concurrent.for(["SIGKILL", "SIGTERM"] as const)(
    "cancels its job soon, although nothing happens: curl ended by %s (H12a)",
    async (signal, { expect }) => {
      const space = await edge.makeSpace({ offline: "queue" });
      const body = JSON.stringify({ input: {}, cancel_on_disconnect: true });
      const url = `${edge.url}/api/spaces/${space.name}/jobs`;
      const headers = ["content-type: application/json", "accept: text/event-stream"];
      const args = [url, "-d", body, ...headers.flatMap((header) => ["-H", header])];
      const curl = new Program("-sNi", args, {}, "/usr/bin/curl");
      await curl.prints('"status":"queued"');
      const id = /^location: .*\/(\S+)/im.exec(curl.printed)?.[1] ?? "";
      const ended = edge.ended(id);
      const start = performance.now();
      await curl.stop(signal);
      expect(await ended).toMatchObject({ status: "canceled" });
      expect(performance.now() - start).toBeLessThan(LEFT_WITHIN_MS);
    },
  );
});

describe("a browser's EventSource", () => {
  let browser: Browser;
  let page: Page;

  beforeAll(async () => {
    browser = await chromium.launch(CHROMIUM);
    page = await browser.newPage();
    await page.goto(`${edge.url}/`);
  });
  afterAll(() => browser.close());

  /** Follows a job, and returns what the page has seen once its EventSource has stopped for good. */
  async function follow(id: string) {
    const requests: number[] = [];
    const count = (response: { url: () => string; status: () => number }) => {
      if (response.url().includes(id)) requests.push(response.status());
    };
    page.on("response", count);
    onTestFinished(() => void page.off("response", count));
    await page.evaluate((job) => {
      const source = new EventSource(`/api/jobs/${job}/events`);
      const seen: { type: string; data: string | null }[] = [];
      for (const type of ["connection", "progress", "output", "error"]) {
        source.addEventListener(type, (event) => {
          seen.push({ type, data: event instanceof MessageEvent ? event.data : null });
        });
      }
      Object.assign(window, { source, seen });
    }, id);
    await page.waitForFunction(() =>
      JSON.stringify(Reflect.get(window, "seen")).includes("queued"),
    );
    return async () => {
      await page.waitForFunction(() => Reflect.get(window, "source").readyState === 2);
      const seen = await page.evaluate(
        () => Reflect.get(window, "seen") as { type: string; data: string | null }[],
      );
      return { requests, frames: seen.flatMap(({ data }) => (data ? [JSON.parse(data)] : [])) };
    };
  }

  it("gets the end of a job and stops, because its return is answered 204 (C13)", async () => {
    const space = await edge.makeSpace({ offline: "queue" });
    const { id } = await edge.submit(space.name, {});
    const stopped = await follow(id);
    await edge.call("POST", `/api/jobs/${id}/cancel`);
    const { requests, frames } = await stopped();
    expect(requests).toEqual([200, 204]);
    expect(frames.at(-1)).toMatchObject({ type: "progress", status: "canceled" });
  });

  it("is told that the space was deleted, and stops (C12f)", async () => {
    const space = await edge.makeSpace({ offline: "queue" });
    const { id } = await edge.submit(space.name, {});
    const stopped = await follow(id);
    const headers = { authorization: `Bearer ${operatorKey()}` };
    await edge.call("DELETE", `/api/spaces/${space.name}`, undefined, headers);
    const { requests, frames } = await stopped();
    expect(requests).toEqual([200, 404]);
    expect(frames.at(-1)).toMatchObject({ type: "error", code: "space_not_found" });
  });
});
