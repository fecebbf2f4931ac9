import { Webhook } from "standardwebhooks";
import { describe, expect, it } from "vitest";
import { ADMIN } from "../support/callers.ts";
import { pass, runInFakeRuntime, START } from "../support/runtime/globals.ts";
import {
  type Call,
  deliveries,
  endJobs,
  HOOK,
  hang,
  receivers,
  sendToReceivers,
} from "./receivers.ts";
import { SpaceHost } from "./space-host.ts";

const UNREACHABLE =
  "The address can't be reached: there is no such host, or it takes no connection.";

runInFakeRuntime();
sendToReceivers();

/** The types of the messages that were sent, in order. */
function typesOfCalls(): string[] {
  return receivers.calls.map(({ body }) => JSON.parse(body).type);
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
    const last = JSON.parse(receivers.calls.at(-1)?.body ?? "");
    expect(last.data).toEqual(await space.job(id));
    expect(last.timestamp).toBe(new Date(receivers.calls.at(-1)?.at ?? 0).toISOString());
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
    expect(JSON.parse(receivers.calls[1]?.body ?? "").data).toMatchObject({ attempt: 2 });
    await space.complete(again, id, null, 2);
    await pass(1_000);
    expect(receivers.calls).toHaveLength(2);
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
    expect(receivers.calls).toHaveLength(1);
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
      const reply = await space.object.webhookSecret(ADMIN, renew);
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
    expect([
      isProvenBy(receivers.calls[0], first),
      isProvenBy(receivers.calls[0], renewed),
    ]).toEqual([true, false]);
    expect([
      isProvenBy(receivers.calls[1], first),
      isProvenBy(receivers.calls[1], renewed),
    ]).toEqual([false, true]);
  });
});

describe("a message to a webhook that fails", () => {
  it("is sent again with its id after about 5 s, 30 s and 2 min, also after sleeps (H14d)", async () => {
    const space = await SpaceHost.make({ offline: "queue" });
    receivers.answer = async () => 500;
    const [id = ""] = await endJobs(space, [HOOK]);
    await pass(7_000);
    await space.host.hibernate();
    await pass(37_000);
    await space.host.hibernate();
    await pass(150_000);
    const ids = new Set(receivers.calls.map(({ headers }) => headers["webhook-id"]));
    expect(ids.size).toBe(1);
    const waits = receivers.calls
      .slice(1)
      .map(({ at }, index) => at - (receivers.calls[index]?.at ?? 0));
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
    receivers.answer = async () => {
      throw new Error("refused");
    };
    const [id = ""] = await endJobs(space, [HOOK]);
    await pass(20 * 3_600_000);
    expect(receivers.calls).toHaveLength(8);
    expect(await deliveries(space, id)).toMatchObject([
      {
        status: "failed",
        attempts: 8,
        next_attempt_at: null,
        response_status: null,
        error: UNREACHABLE,
      },
    ]);
  });

  it("shows what went wrong in the edge's own words, whatever the runtime's were", async () => {
    const space = await SpaceHost.make({ offline: "queue" });
    receivers.answer = async () => {
      throw new Error("x".repeat(500));
    };
    const [id = ""] = await endJobs(space, [HOOK]);
    receivers.answer = () => Promise.reject("not even an error");
    const [other = ""] = await endJobs(space, ["http://127.0.0.2:9/"]);
    expect(await deliveries(space, id)).toMatchObject([{ error: UNREACHABLE }]);
    expect(await deliveries(space, other)).toMatchObject([{ error: UNREACHABLE }]);
  });

  it("is given up at once if the answer is 410 (H14d)", async () => {
    const space = await SpaceHost.make({ offline: "queue" });
    receivers.answer = async () => 410;
    const [id = ""] = await endJobs(space, [HOOK]);
    await pass(3_600_000);
    expect(receivers.calls).toHaveLength(1);
    expect(await deliveries(space, id)).toMatchObject([{ status: "failed", response_status: 410 }]);
  });

  it("is given up when its job is erased (H14d)", async () => {
    const space = await SpaceHost.make({ offline: "queue", result_ttl_s: 20 });
    receivers.answer = async () => 500;
    await endJobs(space, [HOOK]);
    await pass(3_600_000);
    expect(receivers.calls).toHaveLength(2);
    expect(space.host.sql("SELECT * FROM webhook_deliveries")).toEqual([]);
  });

  it("counts as failed if no answer comes within 10 seconds, and not earlier (H14c)", async () => {
    const space = await SpaceHost.make({ offline: "queue" });
    receivers.answer = hang;
    const [id = ""] = await endJobs(space, [HOOK]);
    const [{ at } = { at: 0 }] = receivers.calls;
    await pass(at + 9_999 - Date.now());
    expect(receivers.open).toBe(1);
    await pass(1);
    expect(receivers.open).toBe(0);
    expect(await deliveries(space, id)).toMatchObject([
      { attempts: 1, error: "No answer came within 10 s." },
    ]);
  });

  it("shows when it is sent again, and when it was delivered (H15)", async () => {
    const space = await SpaceHost.make({ offline: "queue" });
    receivers.answer = async () => (receivers.calls.length === 1 ? 302 : 200);
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
    expect(receivers.calls).toHaveLength(2);
  });
});
