import { Webhook } from "standardwebhooks";
import { beforeEach, describe, expect, it, vi } from "vitest";
import type { DeliveryResource } from "../../src/protocol/resources.ts";
import { pass, runInFakeRuntime, START } from "../support/runtime/globals.ts";
import { SpaceHost, ulidOf } from "./space-host.ts";

runInFakeRuntime();

interface Call {
  url: string;
  at: number;
  headers: Record<string, string>;
  body: string;
}

/** What receivers were sent. */
let calls: Call[] = [];
/** How receivers answer: a status, or an error. */
let answer: (call: Call, signal: AbortSignal) => Promise<number> = async () => 204;
/** How many calls are open at the moment, and how many were at most. */
let open = 0;
let most = 0;

const HOOK = "http://127.0.0.1:9000/hook";

beforeEach(() => {
  calls = [];
  answer = async () => 204;
  open = 0;
  most = 0;
  // Its own timeout has a clock that tests don't set.
  vi.spyOn(AbortSignal, "timeout").mockImplementation((ms) => {
    const controller = new AbortController();
    setTimeout(() => controller.abort(new Error("timed out")), ms);
    return controller.signal;
  });
  vi.stubGlobal("fetch", async (url: string, init: RequestInit) => {
    const headers = init.headers as Record<string, string>;
    const call = { url, at: Date.now(), headers, body: String(init.body) };
    calls.push(call);
    open += 1;
    most = Math.max(most, open);
    const { signal } = init;
    try {
      return new Response(null, { status: await answer(call, signal as AbortSignal) });
    } finally {
      open -= 1;
    }
  });
});

/** Answers when the sender gives up. */
function hang(_call: Call, signal: AbortSignal): Promise<number> {
  return new Promise((_, reject) => {
    signal.addEventListener("abort", () => reject(signal.reason));
  });
}

function typesOfCalls(): string[] {
  return calls.map(({ body }) => JSON.parse(body).type);
}

async function deliveries(space: SpaceHost, id: string): Promise<DeliveryResource[]> {
  const reply = await space.object.webhookDeliveries({ operator: true }, ulidOf(id));
  return reply.ok ? JSON.parse(reply.body).deliveries : [];
}

/** A space whose jobs only wait, each with a webhook, and are canceled at once: one message each. */
async function endJobs(space: SpaceHost, urls: readonly string[]): Promise<string[]> {
  const ids = await space.submitAll(
    urls.map((url) => ({ webhook: { url, events: ["completed"] } })),
  );
  for (const id of ids) await space.cancel(id);
  return ids;
}

describe("the webhook of a job", () => {
  it("gets the start of each attempt, progress and output in turn, and the end once (H14, H14b)", async () => {
    const space = await SpaceHost.make();
    const worker = await space.connect();
    const id = await space.submit({ webhook: HOOK });
    await pass(50);
    expect(typesOfCalls()).toEqual(["job.start"]);
    for (let step = 1; step <= 20; step += 1) {
      await space.report(worker, id, { type: "progress", progress: step });
      await space.report(worker, id, { type: "output", delta: `${step} ` });
      await pass(98);
    }
    await pass(600);
    const streamed = typesOfCalls().slice(1);
    expect(new Set(streamed)).toEqual(new Set(["job.logs", "job.output"]));
    const logs = streamed.filter((type) => type === "job.logs").length;
    expect(logs).toBeGreaterThanOrEqual(3);
    expect(logs).toBeLessThanOrEqual(5);
    await space.complete(worker, id, "done");
    await pass(1_000);
    expect(typesOfCalls().slice(1 + streamed.length)).toEqual(["job.completed"]);
    const last = JSON.parse(calls.at(-1)?.body ?? "");
    expect(last.data).toEqual(await space.job(id));
    expect(last.timestamp).toBe(new Date(calls.at(-1)?.at ?? 0).toISOString());
  });

  it("gets `start` again for a second attempt, and not when a worker resumes the first (H14)", async () => {
    const space = await SpaceHost.make();
    const worker = await space.connect();
    const webhook = { url: HOOK, events: ["start"] };
    const id = await space.submit({ webhook });
    await space.report(worker, id, { type: "progress", progress: 1 });
    worker.leave(1006);
    await pass(100);
    const again = await space.connect({ resume: [{ job_id: id, attempt: 1 }] });
    await space.report(again, id, { type: "output", delta: 1 });
    await pass(1_000);
    expect(typesOfCalls()).toEqual(["job.start"]);
    const fail = { type: "fail", code: "x", message: "y", retryable: true };
    await space.report(again, id, fail);
    await pass(2_000);
    expect(typesOfCalls()).toEqual(["job.start", "job.start"]);
    expect(JSON.parse(calls[1]?.body ?? "").data).toMatchObject({ attempt: 2 });
    await space.complete(again, id, null, 2);
    await pass(1_000);
    expect(calls).toHaveLength(2);
  });

  it("gets only what it asked for, and a job without one sends nothing (H14)", async () => {
    const space = await SpaceHost.make();
    const worker = await space.connect();
    const id = await space.submit({ webhook: { url: HOOK, events: ["output"] } });
    await space.report(worker, id, { type: "progress", progress: 1 });
    await space.report(worker, id, { type: "output", delta: 1 });
    await space.complete(worker, id);
    await pass(600);
    expect(typesOfCalls()).toEqual(["job.output"]);
    await space.complete(worker, await space.submit());
    await pass(600);
    expect(calls).toHaveLength(1);
  });

  it("gets output that came with the end at once, not half a second later", async () => {
    const space = await SpaceHost.make();
    const worker = await space.connect();
    const id = await space.submit({ webhook: { url: HOOK, events: ["output", "completed"] } });
    worker.push({ type: "output", job_id: id, attempt: 1, delta: 1 });
    worker.push({ type: "result", job_id: id, attempt: 1, output: 1 });
    await pass(20);
    expect(typesOfCalls().sort()).toEqual(["job.completed", "job.output"]);
  });

  it("gets a signature that the space's secret proves, until that is renewed (H14a, H15a)", async () => {
    const space = await SpaceHost.make({ offline: "queue" });
    const secret = async (renew: boolean): Promise<string> => {
      const reply = await space.object.webhookSecret(renew);
      return reply.ok ? JSON.parse(reply.body).secret : "";
    };
    const first = await secret(false);
    expect(first).toMatch(/^whsec_[A-Za-z0-9+/]{32}$/);
    expect(await secret(false)).toBe(first);
    await endJobs(space, [HOOK]);
    await pass(50);
    const renewed = await secret(true);
    expect(renewed).not.toBe(first);
    await endJobs(space, [HOOK]);
    await pass(50);
    await space.host.hibernate();
    expect(await secret(false)).toBe(renewed);
    const isProvenBy = (call: Call | undefined, key: string): boolean => {
      try {
        new Webhook(key).verify(call?.body ?? "", call?.headers ?? {});
        return true;
      } catch {
        return false;
      }
    };
    expect([isProvenBy(calls[0], first), isProvenBy(calls[0], renewed)]).toEqual([true, false]);
    expect([isProvenBy(calls[1], first), isProvenBy(calls[1], renewed)]).toEqual([false, true]);
  });
});

describe("a message to a webhook that fails", () => {
  it("is sent again with its id after about 5 s, 30 s and 2 min, also after sleeps (H14d)", async () => {
    const space = await SpaceHost.make({ offline: "queue" });
    answer = async () => 500;
    const [id = ""] = await endJobs(space, [HOOK]);
    await pass(7_000);
    await space.host.hibernate();
    await pass(37_000);
    await space.host.hibernate();
    await pass(150_000);
    const ids = new Set(calls.map(({ headers }) => headers["webhook-id"]));
    expect(ids.size).toBe(1);
    const waits = calls.slice(1).map(({ at }, index) => at - (calls[index]?.at ?? 0));
    const within = (ms: number | undefined, aboutS: number) => {
      expect(ms).toBeGreaterThanOrEqual(aboutS * 800);
      expect(ms).toBeLessThanOrEqual(aboutS * 1_200 + 50);
    };
    expect(waits).toHaveLength(3);
    for (const [index, aboutS] of [5, 30, 120].entries()) within(waits[index], aboutS);
    expect(await deliveries(space, id)).toMatchObject([
      { status: "pending", attempts: 4, response_status: 500, error: null, url: HOOK },
    ]);
  });

  it("is given up after eight attempts (H14d)", async () => {
    const space = await SpaceHost.make({ offline: "queue" });
    answer = async () => {
      throw new Error("refused");
    };
    const [id = ""] = await endJobs(space, [HOOK]);
    await pass(20 * 3_600_000);
    expect(calls).toHaveLength(8);
    expect(await deliveries(space, id)).toMatchObject([
      {
        status: "failed",
        attempts: 8,
        next_attempt_at: null,
        response_status: null,
        error: "refused",
      },
    ]);
  });

  it("is given up at once if the answer is 410 (H14d)", async () => {
    const space = await SpaceHost.make({ offline: "queue" });
    answer = async () => 410;
    const [id = ""] = await endJobs(space, [HOOK]);
    await pass(3_600_000);
    expect(calls).toHaveLength(1);
    expect(await deliveries(space, id)).toMatchObject([{ status: "failed", response_status: 410 }]);
  });

  it("is given up when its job is erased (H14d)", async () => {
    const space = await SpaceHost.make({ offline: "queue", result_ttl_s: 20 });
    answer = async () => 500;
    await endJobs(space, [HOOK]);
    await pass(3_600_000);
    expect(calls).toHaveLength(2);
    expect(space.host.sql("SELECT * FROM webhook_deliveries")).toEqual([]);
  });

  it("counts as failed if no answer comes within 10 seconds, and not earlier (H14c)", async () => {
    const space = await SpaceHost.make({ offline: "queue" });
    answer = hang;
    const [id = ""] = await endJobs(space, [HOOK]);
    await pass(9_900);
    expect(open).toBe(1);
    await pass(200);
    expect(open).toBe(0);
    expect(await deliveries(space, id)).toMatchObject([{ attempts: 1, error: "timed out" }]);
  });

  it("shows when it is sent again, and when it was delivered (H15)", async () => {
    const space = await SpaceHost.make({ offline: "queue" });
    answer = async () => (calls.length === 1 ? 302 : 200);
    const [id = ""] = await endJobs(space, [HOOK]);
    await pass(50);
    const [pending] = await deliveries(space, id);
    expect(pending).toMatchObject({ status: "pending", attempts: 1, response_status: 302 });
    expect(Date.parse(pending?.next_attempt_at ?? "")).toBeGreaterThan(START + 4_000);
    await pass(7_000);
    expect(await deliveries(space, id)).toMatchObject([
      {
        event: "completed",
        status: "delivered",
        attempts: 2,
        next_attempt_at: null,
        response_status: 200,
      },
    ]);
    await pass(60_000);
    expect(calls).toHaveLength(2);
  });
});

describe("messages to many webhooks", () => {
  it("are sent six at once and no more, whatever receivers they go to", async () => {
    const space = await SpaceHost.make({ offline: "queue" });
    answer = hang;
    const urls = Array.from({ length: 30 }, (_, index) => `http://127.0.0.${index + 1}:9/`);
    const bodies = urls.map((url) => ({ webhook: { url, events: ["completed"] } }));
    const ids = await space.submitAll(bodies);
    for (const id of ids) await space.cancel(id);
    await pass(500);
    expect(open).toBe(6);
    await pass(30_000);
    expect(most).toBe(6);
  });

  it("that hang are given up after a second if others wait, and sent again without counting (H14g)", async () => {
    const space = await SpaceHost.make({ offline: "queue" });
    answer = (call, signal) =>
      call.url.includes("hangs") ? hang(call, signal) : Promise.resolve(204);
    const slow = await endJobs(
      space,
      Array.from({ length: 6 }, (_, index) => `http://hangs-${index}.test:9/`),
    );
    await pass(500);
    expect(open).toBe(6);
    const [quick = ""] = await endJobs(space, [HOOK]);
    await pass(600);
    expect(await deliveries(space, quick)).toMatchObject([{ status: "delivered" }]);
    expect(open).toBeLessThan(6);
    const states = (await Promise.all(slow.map((id) => deliveries(space, id)))).flat();
    expect(states.map(({ attempts }) => attempts)).toEqual([0, 0, 0, 0, 0, 0]);
    await pass(11_000);
    const given = calls.filter(({ url }) => url === "http://hangs-0.test:9/");
    expect(given).toHaveLength(2);
  });

  it("that hang are not given up while nobody waits (H14g)", async () => {
    const space = await SpaceHost.make({ offline: "queue" });
    answer = hang;
    await endJobs(
      space,
      Array.from({ length: 6 }, (_, index) => `http://hangs-${index}.test:9/`),
    );
    await pass(9_000);
    expect(open).toBe(6);
    expect(calls).toHaveLength(6);
  });

  it("that are many to one quick receiver use nearly all connections, but a slow one a single one", async () => {
    const space = await SpaceHost.make({ offline: "queue" });
    await endJobs(space, [HOOK]);
    await pass(50);
    answer = hang;
    await endJobs(
      space,
      Array.from({ length: 10 }, () => HOOK),
    );
    await pass(100);
    expect(open).toBe(5);
    await pass(10_100);
    expect(open).toBe(1);
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
    const viewer = await space.follow({ local: true });
    viewer.push({ type: "submit", ref: 1, input: {}, webhook });
    await pass();
    const [error] = viewer.takeOnly("error");
    expect(error).toMatchObject({ code: "invalid_request", message: `webhook: ${reason}.` });
  });

  it("may be private only if the submit comes from the edge's own machine, and that is not public (H14f, H9c)", async () => {
    const own = await SpaceHost.make({ offline: "queue" });
    expect(await own.submit({ webhook: HOOK })).toMatch(/^demo\./);
    const call = { input: "{}", files: [], options: { webhook: { url: HOOK, events: [] } } };
    const [stranger] = await own.object.submit({ operator: true }, [call]);
    expect(stranger).toMatchObject({ ok: false, code: "invalid_request" });
    const open = await SpaceHost.make({ offline: "queue" }, { PUBLIC_URL: "https://edge.example" });
    expect(await open.submit({ webhook: HOOK })).toBe("invalid_request");
    expect(await open.submit({ webhook: "https://8.8.8.8/" })).toMatch(/^demo\./);
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
    expect(calls).toEqual([]);
    expect(await deliveries(space, id)).toMatchObject([
      { attempts: 1, error: "The address must be an https: URL." },
    ]);
  });
});

describe("a space that is deleted", () => {
  it("sends no message any more", async () => {
    const space = await SpaceHost.make({ offline: "queue" });
    answer = async () => 500;
    await endJobs(space, [HOOK]);
    await pass(50);
    await space.object.destroy("demo");
    await pass(60_000);
    expect(calls).toHaveLength(1);
  });
});
