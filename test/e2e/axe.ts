/// <reference lib="dom" />
import axe from "axe-core";
import type { Page } from "playwright-core";
import { expect } from "vitest";

/** Expects that axe finds nothing serious in the page as it is shown now. */
export async function expectAccessible(page: Page): Promise<void> {
  await page.evaluate(axe.source);
  const { violations } = await page.evaluate(() => window.axe.run());
  const serious = violations
    .filter(({ impact }) => impact === "serious" || impact === "critical")
    .map(({ id, nodes }) => ({ id, html: nodes.map(({ html }) => html) }));
  expect(serious, `${page.url()}: ${JSON.stringify(serious)}`).toEqual([]);
}

declare global {
  interface Window {
    axe: typeof axe;
  }
}
