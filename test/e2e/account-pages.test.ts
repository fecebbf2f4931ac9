/// <reference lib="dom" />
import { mkdir } from "node:fs/promises";
import { join } from "node:path";
import { type Browser, type BrowserContext, chromium, type Page } from "playwright-core";
import { afterAll, beforeAll, expect, test } from "vitest";
import { operatorKey } from "../../scripts/local.ts";
import { setupCode } from "../../src/auth/setup-code.ts";
import { freePort } from "../support/port.ts";
import { expectAccessible } from "./axe.ts";
import { CHROMIUM } from "./chromium.ts";
import { makeState, type RunningEdge, removeState, runEdge } from "./edge.ts";

const PICTURES = join(import.meta.dirname, "../output");
const DESKTOP = { width: 1280, height: 900 };
const PHONE = { width: 360, height: 740 };

let browser: Browser;
let edge: RunningEdge;
let state: string;
/** What went wrong in any page: errors it threw, and those in its console. */
const troubles: string[] = [];
/** The password that the set-up page made. */
let adminPassword = "";

beforeAll(async () => {
  await mkdir(PICTURES, { recursive: true });
  state = await makeState();
  [browser, edge] = await Promise.all([
    chromium.launch(CHROMIUM),
    runEdge(state, await freePort()),
  ]);
});
afterAll(async () => {
  await browser.close();
  await edge.program.stop();
  await removeState(state);
});

async function newVisitor(viewport = DESKTOP): Promise<BrowserContext> {
  const context = await browser.newContext({ viewport, colorScheme: "dark" });
  context.setDefaultTimeout(15_000);
  return context;
}

async function open(context: BrowserContext, path: string): Promise<Page> {
  const page = await context.newPage();
  page.on("pageerror", (error) => troubles.push(`${path}: ${error.message}`));
  page.on("console", (message) => {
    if (message.type() === "error") troubles.push(`${path}: ${message.text()}`);
  });
  await page.goto(edge.url + path);
  return page;
}

async function look(page: Page, name: string): Promise<void> {
  await expectAccessible(page);
  await page.screenshot({ path: join(PICTURES, `${name}.png`), fullPage: true });
  await page.setViewportSize(PHONE);
  const isWide = await page.evaluate(() => document.body.scrollWidth > innerWidth);
  expect(isWide, `${name} is wider than a phone`).toBe(false);
  await page.screenshot({ path: join(PICTURES, `${name}-phone.png`), fullPage: true });
  await page.setViewportSize(DESKTOP);
}

test("an edge is set up in one click, people are invited, and keys made, all in pages", async () => {
  const adminContext = await newVisitor();
  const admin = await open(adminContext, `/setup#code=${setupCode(operatorKey())}`);
  await admin.getByRole("button", { name: "Create the admin" }).waitFor();
  await look(admin, "setup");
  adminPassword = await admin.getByLabel("Password").inputValue();
  await admin.getByRole("button", { name: "Create the admin" }).click();
  await admin.waitForURL("**/account");
  await admin.getByRole("heading", { name: "Admin" }).waitFor();
  await admin.getByText("this one").waitFor();
  await look(admin, "account");

  await admin.getByRole("link", { name: /Users/ }).click();
  await admin.getByTestId("user").waitFor();
  await admin.getByRole("button", { name: "Make an invitation" }).click();
  const link = (await admin.getByTestId("invitation").textContent()) ?? "";
  await look(admin, "admin");

  const memberContext = await newVisitor(PHONE);
  const member = await open(memberContext, link.replace(edge.url, ""));
  await member.getByLabel("Name").fill("Mia Member");
  await member.getByLabel("Email address").fill("mia@example.com");
  await member.getByLabel("Password").fill("a long password 1");
  await look(member, "register");
  await member.getByRole("button", { name: "Register" }).click();
  await member.getByRole("heading", { name: "Mia Member" }).waitFor();

  await member.getByLabel("What is it for?").fill("a script");
  await member.getByRole("button", { name: "Make a key" }).click();
  const key = (await member.getByTestId("key").textContent()) ?? "";
  const answer = await fetch(`${edge.url}/api/rooms/global/history`, {
    headers: { authorization: `Bearer ${key}` },
  });
  // The key is known; its scopes name no rooms.
  expect(answer.status).toBe(403);
  await member.getByText("all spaces · never expires · never used").waitFor();

  await member.getByRole("button", { name: "Make a token" }).click();
  const token = (await member.getByTestId("token").textContent()) ?? "";
  const read = await fetch(`${edge.url}/api/rooms/global/history`, {
    headers: { authorization: `Bearer ${token.trim()}` },
  });
  expect(read.status).toBe(200);
  await member.getByRole("button", { name: "Copy the token" }).waitFor();
  await look(member, "account-token");
  await member.getByRole("button", { name: "Revoke a script" }).click();
  await member.getByRole("button", { name: "Revoke a script" }).waitFor({ state: "detached" });

  await member.getByRole("button", { name: "Sign out" }).click();
  await member.waitForURL(`${edge.url}/`);
  await member.goto(`${edge.url}/account`);
  await member.waitForURL("**/sign-in?next=/account");
  await member.getByLabel("Email address").fill("mia@example.com");
  await member.getByLabel("Password").fill("not the password");
  await member.getByLabel("Password").press("Enter");
  await member.getByRole("alert").waitFor();
  await look(member, "sign-in");
  await member.getByLabel("Password").fill("a long password 1");
  await member.getByLabel("Password").press("Enter");
  await member.getByRole("heading", { name: "Mia Member" }).waitFor();

  await admin.reload();
  await admin
    .getByTestId("user")
    .filter({ hasText: "Mia Member" })
    .getByRole("button", { name: "Disable" })
    .click();
  await admin.getByText("· disabled").waitFor();
  await member.reload();
  await member.waitForURL("**/sign-in?next=/account");

  // The one wrong password is an answer with 401, which browsers show as an error.
  expect(troubles.filter((trouble) => !trouble.includes("401"))).toEqual([]);
});

test("a link to the page for signing in leads nowhere else", async () => {
  const page = await open(await newVisitor(), "/sign-in");
  for (const next of ["https://evil.test/", "//evil.test", "/\\evil.test", "javascript:alert(1)"]) {
    await page.goto(`${edge.url}/sign-in?next=${encodeURIComponent(next)}`);
    await page.getByLabel("Email address").fill("admin@dialout.example");
    await page.getByLabel("Password").fill(adminPassword);
    await page.getByRole("button", { name: "Sign in" }).click();
    await page.waitForURL(`${edge.url}/account`);
  }
});
