import { afterAll, beforeAll, expect, test } from "vitest";
import { operatorKey } from "../../scripts/local.ts";
import { setupCode } from "../../src/auth/setup-code.ts";
import { freePort } from "../support/port.ts";
import { makeState, type RunningEdge, removeState, runEdge } from "./edge.ts";
import { PageVisits, PHONE } from "./page-visits.ts";
import { spacePageTests } from "./space-pages.ts";

let edge: RunningEdge;
let state: string;
let visits: PageVisits;
/** The password that the set-up page made. */
let adminPassword = "";

beforeAll(async () => {
  state = await makeState();
  edge = await runEdge(state, await freePort());
  visits = await PageVisits.begin(edge.url);
});
afterAll(async () => {
  await visits.end();
  await edge.program.stop();
  await removeState(state);
});

test("an edge is set up in one click, people are invited, and keys made, all in pages", async () => {
  const adminContext = await visits.newVisitor();
  const stranger = await visits.open(adminContext, "/");
  await stranger.getByRole("link", { name: "Set up this edge" }).waitFor();
  await stranger.getByTestId("space").waitFor();
  await visits.look(stranger, "home-signed-out");
  const admin = await visits.open(adminContext, `/setup#code=${setupCode(operatorKey())}`);
  await admin.getByRole("button", { name: "Create the admin" }).waitFor();
  await visits.look(admin, "setup");
  adminPassword = await admin.getByLabel("Password").inputValue();
  await admin.getByRole("button", { name: "Create the admin" }).click();
  await admin.waitForURL("**/account");
  await admin.getByRole("heading", { name: "Admin" }).waitFor();
  await admin.getByText("this one").waitFor();
  await visits.look(admin, "account");

  await admin.getByRole("link", { name: /Users/ }).click();
  await admin.getByTestId("user").waitFor();
  await admin.getByRole("button", { name: "Make an invitation" }).click();
  const link = (await admin.getByTestId("invitation").textContent()) ?? "";
  await visits.look(admin, "admin");

  const memberContext = await visits.newVisitor(PHONE);
  const member = await visits.open(memberContext, link.replace(edge.url, ""));
  await member.getByLabel("Name").fill("Mia Member");
  await member.getByLabel("Email address").fill("mia@example.com");
  await member.getByLabel("Password").fill("a long password 1");
  await visits.look(member, "register");
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
  await visits.look(member, "account-token");
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
  await visits.look(member, "sign-in");
  await member.getByLabel("Password").fill("a long password 1");
  await member.getByLabel("Password").press("Enter");
  await member.getByRole("heading", { name: "Mia Member" }).waitFor();

  await admin.reload();
  await admin
    .getByTestId("user")
    .filter({ hasText: "Mia Member" })
    .getByRole("button", { name: "Disable" })
    .click();
  await admin.getByRole("button", { name: "Yes, disable them" }).click();
  await admin.getByText("· disabled").waitFor();
  await member.reload();
  await member.waitForURL("**/sign-in?next=/account");
  await admin.getByRole("button", { name: "Enable" }).click();
  await admin.getByText("· disabled").waitFor({ state: "detached" });

  visits.expectNoTrouble(401);
});

test("a link to the page for signing in leads nowhere else", async () => {
  const page = await visits.open(await visits.newVisitor(), "/sign-in");
  for (const next of ["https://evil.test/", "//evil.test", "/\\evil.test", "javascript:alert(1)"]) {
    await page.goto(`${edge.url}/sign-in?next=${encodeURIComponent(next)}`);
    await page.getByLabel("Email address").fill("admin@dialout.example");
    await page.getByLabel("Password").fill(adminPassword);
    await page.getByRole("button", { name: "Sign in" }).click();
    await page.waitForURL(`${edge.url}/account`);
  }
});

spacePageTests(() => ({ edge, visits, adminPassword }));
