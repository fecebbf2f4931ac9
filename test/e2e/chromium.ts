import type { Page } from "playwright-core";
import { expect } from "vitest";

/** How the tests start Chromium. */
export const CHROMIUM = {
  executablePath: process.env.CHROMIUM ?? "/usr/bin/chromium",
  args: [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
  ],
};

/**
 * Records what the page throws from now on. The returned function fails the test if there was anything: call it at the
 * end, because what a handler of the page throws reaches no test.
 */
export function watchPageErrors(page: Page): () => void {
  const errors: string[] = [];
  page.on("pageerror", ({ message }) => errors.push(message));
  return () => expect(errors, "what the page threw").toEqual([]);
}
