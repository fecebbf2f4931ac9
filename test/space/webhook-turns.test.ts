import { describe, expect, it } from "vitest";
import { ADMIN } from "../support/callers.ts";
import { pass, runInFakeRuntime } from "../support/runtime/globals.ts";
import { deliveries, endJobs, HOOK, hang, receivers, sendToReceivers } from "./receivers.ts";
import { SpaceHost } from "./space-host.ts";

runInFakeRuntime();
sendToReceivers();

describe("messages to many webhooks", () => {
  it("are sent six at once and no more, whatever receivers they go to", async () => {
    const space = await SpaceHost.make({ offline: "queue" });
    receivers.answer = hang;
    const urls = Array.from({ length: 30 }, (_, index) => `http://127.0.0.${index + 1}:9/`);
    const bodies = urls.map((url) => ({ webhook: { url, events: ["completed"] } }));
    const ids = await space.submitAll(bodies);
    for (const id of ids) await space.cancel(id);
    await pass(500);
    expect(receivers.open).toBe(6);
    await pass(30_000);
    expect(receivers.most).toBe(6);
  });

  it("that hang are given up after a second if others wait, and sent again without counting (H14g)", async () => {
    const space = await SpaceHost.make({ offline: "queue" });
    receivers.answer = (call, signal) =>
      call.url.includes("hangs") ? hang(call, signal) : Promise.resolve(204);
    const slow = await endJobs(
      space,
      Array.from({ length: 6 }, (_, index) => `http://hangs-${index}.test:9/`),
    );
    await pass(500);
    expect(receivers.open).toBe(6);
    const [quick = ""] = await endJobs(space, [HOOK]);
    await pass(600);
    expect(await deliveries(space, quick)).toMatchObject([{ status: "delivered" }]);
    expect(receivers.open).toBeLessThan(6);
    const states = (await Promise.all(slow.map((id) => deliveries(space, id)))).flat();
    expect(states.map(({ attempts }) => attempts)).toEqual([0, 0, 0, 0, 0, 0]);
    const later = states.filter(
      ({ next_attempt_at: at }) => Date.parse(at ?? "") > Date.now() + 4_000,
    );
    expect(later).toHaveLength(6 - receivers.open);
    await pass(11_000);
    const given = receivers.calls.filter(({ url }) => url === "http://hangs-0.test:9/");
    expect(given).toHaveLength(2);
  });

  it("that hang are not given up while nobody waits (H14g)", async () => {
    const space = await SpaceHost.make({ offline: "queue" });
    receivers.answer = hang;
    await endJobs(
      space,
      Array.from({ length: 6 }, (_, index) => `http://hangs-${index}.test:9/`),
    );
    await pass(9_000);
    expect(receivers.open).toBe(6);
    expect(receivers.calls).toHaveLength(6);
  });

  it("that are many to one quick receiver use nearly all connections, but a slow one a single one", async () => {
    const space = await SpaceHost.make({ offline: "queue" });
    await endJobs(space, [HOOK]);
    await pass(50);
    receivers.answer = hang;
    await endJobs(
      space,
      Array.from({ length: 10 }, () => HOOK),
    );
    await pass(100);
    expect(receivers.open).toBe(5);
    await pass(10_100);
    expect(receivers.open).toBe(1);
  });
});

describe("the address of a webhook", () => {
  it.each([
    ["https://user@example.com/", "must not contain a user or a password"],
    ["https://user:pass@example.com/", "must not contain a user or a password"],
    ["https://:pass@example.com/", "must not contain a user or a password"],
    ["ftp://example.com/", "must be an http: or https: URL"],
  ])("that is no web address, or has a user, is refused: %s (H14f)", async (webhook, reason) => {
    const space = await SpaceHost.make({ offline: "queue" });
    expect(await space.submit({ webhook })).toBe("invalid_request");
    const viewer = await space.follow({ as: { local: true } });
    viewer.push({ type: "submit", ref: 1, input: {}, webhook });
    await pass();
    const [error] = viewer.takeOnly("error");
    expect(error).toMatchObject({ code: "invalid_request", message: `webhook: ${reason}.` });
  });

  it("may be private only if the submit comes from the edge's own machine, and that is not public (H14f, H9c)", async () => {
    const own = await SpaceHost.make({ offline: "queue" });
    expect(await own.submit({ webhook: HOOK })).toMatch(/^demo\./);
    const call = { input: "{}", files: [], options: { webhook: { url: HOOK, events: [] } } };
    const [stranger] = await own.object.submit(ADMIN, [call]);
    expect(stranger).toMatchObject({ ok: false, code: "invalid_request" });
    const reached = await SpaceHost.make(
      { offline: "queue" },
      { PUBLIC_URL: "https://edge.example" },
    );
    expect(await reached.submit({ webhook: HOOK })).toBe("invalid_request");
    expect(await reached.submit({ webhook: "https://8.8.8.8/" })).toMatch(/^demo\./);
  });

  it("is looked at again before each message: the edge may have become public meanwhile", async () => {
    const space = await SpaceHost.make({ offline: "queue" });
    const id = await space.submit({ webhook: { url: HOOK, events: ["completed"] } });
    const { object } = space;
    const env = Reflect.get(object, "env") as { PUBLIC_URL?: string };
    env.PUBLIC_URL = "https://edge.example";
    await space.host.hibernate();
    await space.cancel(id);
    await pass(100);
    expect(receivers.calls).toEqual([]);
    expect(await deliveries(space, id)).toMatchObject([
      { attempts: 1, error: "The address must be an https: URL." },
    ]);
  });
});

describe("a space that is deleted", () => {
  it("sends no message any more", async () => {
    const space = await SpaceHost.make({ offline: "queue" });
    receivers.answer = async () => 500;
    await endJobs(space, [HOOK]);
    await pass(50);
    await space.object.destroy("demo");
    await pass(60_000);
    expect(receivers.calls).toHaveLength(1);
  });
});
