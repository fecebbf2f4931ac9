import type { Page } from "playwright-core";
import { expect } from "vitest";

export { CHROMIUM } from "./chromium-options.ts";

/**
 * Records what the page throws from now on. The returned function fails the test if there was anything: call it at the
 * end, because what a handler of the page throws reaches no test.
 */
export function watchPageErrors(page: Page): () => void {
  const errors: string[] = [];
  page.on("pageerror", ({ message }) => errors.push(message));
  return () => expect(errors, "what the page threw").toEqual([]);
}
