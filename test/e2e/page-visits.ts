/// <reference lib="dom" />
import { mkdir } from "node:fs/promises";
import { join } from "node:path";
import {
  type Browser,
  type BrowserContext,
  chromium,
  type Locator,
  type Page,
} from "playwright-core";
import { expect } from "vitest";
import { expectAccessible } from "./axe.ts";
import { CHROMIUM } from "./chromium.ts";

const PICTURES = join(import.meta.dirname, "../output/pages");
const DESKTOP = { width: 1280, height: 800 };
export const PHONE = { width: 390, height: 844 };

/** People who look at the pages of an edge in Chromium, each with a session of their own. */
export class PageVisits {
  readonly #browser: Browser;
  readonly #edgeUrl: string;
  /** What went wrong in any page: errors it threw, and those in its console. */
  readonly #troubles: string[] = [];

  private constructor(browser: Browser, edgeUrl: string) {
    this.#browser = browser;
    this.#edgeUrl = edgeUrl;
  }

  static async begin(edgeUrl: string): Promise<PageVisits> {
    await mkdir(PICTURES, { recursive: true });
    return new PageVisits(await chromium.launch(CHROMIUM), edgeUrl);
  }

  end(): Promise<void> {
    return this.#browser.close();
  }

  async newVisitor(viewport = DESKTOP): Promise<BrowserContext> {
    const context = await this.#browser.newContext({ viewport, colorScheme: "light" });
    context.setDefaultTimeout(30_000);
    return context;
  }

  async open(visitor: BrowserContext, path: string): Promise<Page> {
    const page = await visitor.newPage();
    page.on("pageerror", (error) => this.#troubles.push(`${path}: ${error.message}`));
    page.on("console", (message) => {
      if (message.type() === "error") this.#troubles.push(`${path}: ${message.text()}`);
    });
    await page.goto(this.#edgeUrl + path);
    return page;
  }

  /**
   * Looks at a page on a desktop and a phone, in light and dark, and keeps the pictures. Nothing is wider than the
   * screen, and axe finds nothing serious: it takes long, so it looks once at each size and each colour.
   */
  async look(page: Page, name: string): Promise<void> {
    await this.#lookAs(page, name, DESKTOP, "dark", false);
    await this.#lookAs(page, name, PHONE, "light", false);
    await this.glance(page, name);
  }

  /** The same, for another state of a page that was looked at already: once at each size and each colour. */
  async glance(page: Page, name: string): Promise<void> {
    const before = page.viewportSize() ?? DESKTOP;
    await this.#lookAs(page, name, PHONE, "dark", true);
    await this.#lookAs(page, name, DESKTOP, "light", true);
    await page.setViewportSize(before);
  }

  async #lookAs(
    page: Page,
    name: string,
    size: { width: number; height: number },
    colorScheme: "light" | "dark",
    isChecked: boolean,
  ): Promise<void> {
    const place = `${name}${size === PHONE ? "-phone" : ""}-${colorScheme}`;
    await page.setViewportSize(size);
    await page.emulateMedia({ colorScheme });
    await page.screenshot({ path: join(PICTURES, `${place}.png`), fullPage: true });
    const isWide = await page.evaluate(() => document.documentElement.scrollWidth > innerWidth);
    expect(isWide, `${place} is wider than its screen`).toBe(false);
    if (isChecked) await expectAccessible(page);
  }

  /** @param expected what a status in the console may be: Chromium reports every refusal as an error */
  expectNoTrouble(...expected: number[]): void {
    const isExpected = (trouble: string) =>
      expected.some((status) => trouble.includes(`status of ${status}`));
    expect(this.#troubles.filter((trouble) => !isExpected(trouble))).toEqual([]);
  }
}

/** Presses Tab until the element has the focus, as somebody without a mouse does. */
export async function tabTo(page: Page, element: Locator): Promise<void> {
  await element.waitFor();
  for (let presses = 0; presses < 150; presses += 1) {
    if (await element.evaluate((found) => found === document.activeElement)) return;
    await page.keyboard.press("Tab");
  }
  throw new Error(`Tab never reaches ${element}`);
}
