import type { BrowserContext, Page } from "playwright-core";
import { beforeAll, describe, expect, onTestFinished, test } from "vitest";
import type { JobResource, SpaceResource } from "../../src/protocol/resources.ts";
import { Program } from "../support/program.ts";
import { EdgeClient } from "./client.ts";
import type { RunningEdge } from "./edge.ts";
import { type PageVisits, tabTo } from "./page-visits.ts";

/** The edge with its first admin, as the tests before have left it. */
interface Place {
  edge: RunningEdge;
  visits: PageVisits;
  adminPassword: string;
}

/** The pages that make and change spaces; they run on the edge of the tests for accounts. */
export function spacePageTests(place: () => Place): void {
  describe("pages of spaces", () => {
    let visits: PageVisits;
    let client: EdgeClient;
    let admin: BrowserContext;
    let member: BrowserContext;

    beforeAll(async () => {
      visits = place().visits;
      client = new EdgeClient(place().edge.url);
      admin = await visits.newVisitor();
      member = await visits.newVisitor();
    });

    const settingsOf = (name: string) =>
      client.asOperator<SpaceResource>("GET", `/api/spaces/${name}`);

    /** What the page sends to the edge from now on. */
    function recordChanges(page: Page): unknown[] {
      const sent: unknown[] = [];
      page.on("request", (request) => {
        if (request.method() === "PATCH") sent.push(request.postDataJSON());
      });
      return sent;
    }

    async function openSettings(settings: object = {}): Promise<{ page: Page; name: string }> {
      const { name } = await client.makeSpace(settings);
      const page = await visits.open(admin, `/spaces/${name}/settings`);
      await page.getByRole("button", { name: "Save" }).waitFor();
      return { page, name };
    }

    test("without a mouse somebody signs in, makes a space, starts its worker, and adds a member", async () => {
      const page = await visits.open(admin, "/");
      await page.keyboard.press("Tab");
      await tabTo(page, page.getByRole("link", { name: "Sign in" }));
      await page.keyboard.press("Enter");
      await tabTo(page, page.getByLabel("Email address"));
      await page.keyboard.type("admin@dialout.example");
      await page.keyboard.press("Tab");
      await page.keyboard.type(place().adminPassword);
      await page.keyboard.press("Enter");
      await page.getByText("Signed in as Admin").waitFor();
      await visits.look(page, "home-signed-in");

      await tabTo(page, page.getByRole("link", { name: "New space" }));
      await page.keyboard.press("Enter");
      await tabTo(page, page.getByLabel("Name", { exact: true }));
      await page.keyboard.type("Upper Case");
      await page.getByText("Must be 1 to 63 of a-z, 0-9 and -").first().waitFor();
      await page.keyboard.press("Enter");
      await page.getByRole("alert").getByText("One field needs a change").waitFor();
      await visits.glance(page, "new-space-refused");
      await tabTo(page, page.getByRole("alert").getByRole("link", { name: "Name" }));
      await page.keyboard.press("Enter");
      await page.keyboard.press("Control+A");
      await page.keyboard.type("new");
      await tabTo(page, page.getByLabel("Title"));
      await page.keyboard.type("Upper case");
      await visits.look(page, "new-space");
      await page.keyboard.press("Enter");
      await page.waitForURL("**/spaces/new/settings#tokens");

      await tabTo(page, page.getByLabel("Which machine is it for?"));
      await page.keyboard.type("my laptop");
      await page.keyboard.press("Enter");
      await page.getByTestId("made-token").waitFor();
      await visits.glance(page, "space-token");
      const [demo] = await page.locator(".command pre").allTextContents();
      const worker = new Program("-c", [demo ?? ""], {}, "bash");
      onTestFinished(() => worker.killAll());
      await worker.prints("serving");

      await tabTo(page, page.getByLabel("Email address or user id"));
      await page.keyboard.type("mia@example.com");
      await page.keyboard.press("Enter");
      await page.getByTestId("member").filter({ hasText: "Mia Member" }).waitFor();
      // A space may have any name: the page that makes one has another address.
      await page.goto(`${client.url}/spaces/new`);
      await page.getByText("Connected").waitFor();
    });

    test("a setting is checked as it is typed, and what is wrong is listed with links", async () => {
      const { page, name } = await openSettings();
      const sent = recordChanges(page);
      const workers = page.getByLabel("Workers at the same time");
      await workers.fill("65");
      await page.getByText("Must be 64 or less.").waitFor();
      expect(await workers.getAttribute("aria-invalid")).toBe("true");
      const described = (await workers.getAttribute("aria-describedby")) ?? "";
      expect(described.split(" ")).toContain("setting-max_workers-problem");
      await page.getByLabel("Silence").fill("never");
      await page.getByRole("button", { name: "Save" }).click();
      const list = page.getByRole("alert").filter({ hasText: "2 fields need a change" });
      await list.waitFor();
      expect(await list.evaluate((found) => found === document.activeElement)).toBe(true);
      await visits.glance(page, "space-settings-refused");
      await list.getByRole("link", { name: "Silence" }).click();
      await page.keyboard.press("Control+A");
      await page.keyboard.press("Delete");
      await workers.fill("2");
      await page.getByLabel("Audio").check();
      await page.getByLabel("Without a worker").selectOption("queue");
      await page.getByRole("button", { name: "Save" }).click();
      await page.getByText("Saved.").waitFor();
      expect(sent).toEqual([{ max_workers: 2, enable_audio: true, offline: "queue" }]);
      expect(await settingsOf(name)).toMatchObject({ max_workers: 2, stall_timeout_s: null });
      await page.getByRole("button", { name: "Save" }).click();
      await page.getByText("There is nothing to save.").waitFor();
      await visits.look(page, "space-settings");
    });

    test("what the edge refuses is said beside its field", async () => {
      const { page } = await openSettings();
      await page.route("**/api/spaces/*", async (route) => {
        if (route.request().method() !== "PATCH") return route.fallback();
        const errors = [{ path: "max_queue", message: "must be 9 or less" }];
        const body = { type: "urn:dialout:problem:invalid_request", title: "Bad", status: 400 };
        const problem = { ...body, detail: "max_queue: …", code: "invalid_request", errors };
        return route.fulfill({
          status: 400,
          contentType: "application/problem+json",
          body: JSON.stringify(problem),
        });
      });
      await page.getByLabel("Jobs that may wait").fill("10");
      await page.getByRole("button", { name: "Save" }).click();
      await page.locator("#setting-max_queue-problem").getByText("Must be 9 or less.").waitFor();
      await page.getByRole("alert").getByRole("link", { name: "Jobs that may wait" }).waitFor();
      await page.getByLabel("Jobs that may wait").fill("9");
      await page.getByText("Must be 9 or less.").first().waitFor({ state: "detached" });
    });

    test("what somebody else has changed meanwhile is kept, and said", async () => {
      const { page, name } = await openSettings({ title: "Before" });
      const sent = recordChanges(page);
      const elsewhere = (patch: object) => client.asOperator("PATCH", `/api/spaces/${name}`, patch);
      await elsewhere({ max_attempts: 7 });
      await page.getByLabel("Title").fill("Mine");
      await page.getByRole("button", { name: "Save" }).click();
      await page
        .getByText("Saved. Meanwhile somebody else changed Attempts; that is kept.")
        .waitFor();
      expect(await page.getByLabel("Attempts", { exact: true }).inputValue()).toBe("7");
      expect(await settingsOf(name)).toMatchObject({ title: "Mine", max_attempts: 7 });

      await elsewhere({ title: "Theirs" });
      await page.getByLabel("Title").fill("Mine again");
      await page.getByRole("button", { name: "Save" }).click();
      await page.getByText("Title is now “Theirs”").waitFor();
      await visits.glance(page, "space-settings-conflict");
      expect(await settingsOf(name)).toMatchObject({ title: "Theirs" });
      await page.getByRole("button", { name: "Save" }).click();
      await page.getByText("Saved.").waitFor();
      expect(sent).toEqual([{ title: "Mine" }, { title: "Mine again" }]);
    });

    test("a token is revoked after a question, workers are drained, and a space is deleted by its name", async () => {
      const { page, name } = await openSettings();
      await page.getByRole("button", { name: "Revoke test" }).click();
      await page.keyboard.press("Escape");
      await page.getByRole("button", { name: "Revoke test" }).press("Enter");
      await page.getByRole("button", { name: "Yes, revoke it" }).press("Enter");
      await page.getByTestId("token").waitFor({ state: "detached" });
      expect(await page.evaluate(() => document.activeElement?.id)).toBe("tokens");

      await page.getByRole("button", { name: "Drain the workers" }).click();
      await page.getByRole("button", { name: "Yes, drain them" }).click();
      await page.getByText("The workers were asked to finish.").waitFor();

      const button = page.getByRole("button", { name: "Delete it for good" });
      await page.getByLabel(`Type ${name} to confirm`).fill("something else");
      expect(await button.isDisabled()).toBe(true);
      await page.getByLabel(`Type ${name} to confirm`).fill(name);
      await button.click();
      await page.waitForURL(`${client.url}/`);
      expect((await client.call("GET", `/api/spaces/${name}`)).status).toBe(404);
    });

    test("members see what is shared with them, manage it if they may, and become its owner", async () => {
      const { page, name } = await openSettings({ title: "Ours", visibility: "private" });
      await page.getByLabel("Email address or user id").fill("nobody@example.com");
      await page.getByRole("button", { name: "Add", exact: true }).click();
      await page.getByRole("alert").getByText("There is no account").waitFor();
      await page.getByLabel("Email address or user id").fill("mia@example.com");
      await page.getByRole("button", { name: "Add", exact: true }).click();
      await page.getByTestId("member").waitFor();
      await visits.glance(page, "space-members");

      const mia = await visits.open(member, "/sign-in?next=/");
      await mia.getByLabel("Email address").fill("mia@example.com");
      await mia.getByLabel("Password").fill("a long password 1");
      await mia.getByLabel("Password").press("Enter");
      const card = mia.locator(`[data-space=${name}]`);
      await card.getByText("shared with you").waitFor();
      expect(await card.getByRole("link", { name: `Settings of ${name}` }).count()).toBe(0);

      await page.getByLabel("What Mia Member may do").selectOption("manage");
      await mia.reload();
      await card.getByRole("link", { name: `Settings of ${name}` }).click();
      await mia.getByText("Only its owner can hand it over or delete it.").waitFor();
      await page.getByLabel("New owner").focus();
      await page.getByLabel("New owner").selectOption({ label: "Mia Member" });
      await page.getByRole("button", { name: "Hand it over" }).click();
      await page.getByText("It is theirs now.").waitFor();
      await mia.goto(client.url);
      await card.getByText("yours").waitFor();
    });

    test("whoever has the link to a job sees it, also in a space that isn't theirs (H1h)", async () => {
      const space = await client.makeSpace({ visibility: "private", offline: "queue" });
      const body = { input: { prompt: "a shared cat" } };
      const job = await client.asOperator<JobResource>(
        "POST",
        `/api/spaces/${space.name}/jobs`,
        body,
      );
      const share = () =>
        client.asOperator<{ url: string }>("POST", `/api/jobs/${job.id}/share`).then(({ url }) => {
          return url.replace(client.url, "");
        });
      const withdrawn = await share();
      const link = await share();
      const stranger = await visits.open(await visits.newVisitor(), withdrawn);
      await stranger.getByText("This link no longer opens its job").waitFor();
      await stranger.getByRole("link", { name: "sign in" }).waitFor();
      expect(await stranger.getByTestId("job").count()).toBe(0);

      await stranger.goto(client.url + link);
      const card = stranger.getByTestId("job");
      await card.getByText("a shared cat").waitFor();
      await card.getByText("1st in the queue").waitFor();
      await card.getByText("Somebody shared this job with you").waitFor();
      expect(await card.getByTestId("job-cancel").count()).toBe(0);
      await visits.glance(stranger, "shared-job");
      await client.startWorker(space, ["exec", "--", "sh", "-c", "cat > /dev/null; echo purr"]);
      await card.getByTestId("job-result").getByText("purr").waitFor();
      // The tab remembers the link, as it does the jobs that it submitted.
      await stranger.goto(`${client.url}/spaces/${space.name}`);
      await stranger.reload();
      await card.getByTestId("job-result").getByText("purr").waitFor();
    });

    test("a job is shared by a link on its card, and the link is withdrawn there", async () => {
      const { name } = await client.makeSpace({ offline: "queue" });
      const page = await visits.open(admin, `/spaces/${name}`);
      await page.getByLabel("Prompt").fill("my own cat");
      await page.getByRole("button", { name: "Submit" }).click();
      await page.getByRole("button", { name: "Share by a link" }).click();
      const link = (await page.getByTestId("job-link").textContent()) ?? "";
      await visits.glance(page, "job-link");
      const stranger = await visits.open(await visits.newVisitor(), link.replace(client.url, ""));
      const card = stranger.getByTestId("job");
      await card.getByText("my own cat").waitFor();
      expect(await card.getByTestId("job-share").count()).toBe(0);
      // Its owner sees the job as their own, by the same link.
      const own = await visits.open(admin, link.replace(client.url, ""));
      await own.getByTestId("job").getByTestId("job-cancel").waitFor();
      await page.getByRole("button", { name: "Withdraw" }).click();
      await page.getByText("The link is withdrawn").waitFor();
      await stranger.getByText("This link no longer opens its job").waitFor();
      expect(await card.count()).toBe(0);
    });

    test("whoever is not signed in, or may not change a space, is told so", async () => {
      const { name } = await client.makeSpace();
      const visitor = await visits.newVisitor();
      const page = await visits.open(visitor, `/spaces/${name}/settings`);
      await page.waitForURL(`**/sign-in?next=${encodeURIComponent(`/spaces/${name}/settings`)}`);
      await page.goto(`${client.url}/new`);
      await page.waitForURL("**/sign-in?next=/new");

      const mia = await visits.open(member, `/spaces/${name}/settings`);
      await mia.getByText("Only the owner of the space").waitFor();
      await visits.glance(mia, "space-settings-forbidden");
      await mia.goto(`${client.url}/new`);
      await mia.getByText("Only admins may make spaces here.").waitFor();
    });

    test("the list of spaces goes on beyond the first 50, and is searched as one types", async () => {
      const names = Array.from({ length: 52 }, (_, index) => `many-${index + 1}`);
      const make = (name: string) =>
        client.asOperator("POST", "/api/spaces", { name, title: `Its title is ${name}.` });
      await Promise.all(names.map(make));
      const page = await visits.open(await visits.newVisitor(), "/");
      await page.getByTestId("space").nth(49).waitFor();
      await page.getByLabel("Search").fill("TITLE many-9.");
      await page.getByText("0 spaces found among those that are shown; there are more.").waitFor();
      await page.getByRole("button", { name: "Show more" }).click();
      await page.getByRole("link", { name: "Its title is many-9." }).waitFor();
      expect(await page.getByTestId("space").count()).toBe(1);
      await page.getByLabel("Search").fill("");
      await page.getByTestId("space").nth(52).waitFor();
      await visits.look(page, "home");
      visits.expectNoTrouble(400, 401, 404);
    });
  });
}
