import { describe, expect, it } from "vitest";
import { SCHEMA_1 } from "../storage/schema-1.ts";
import { ADMIN, ANYBODY } from "../support/callers.ts";
import { pass, runInFakeRuntime, settled } from "../support/runtime/globals.ts";
import { SpaceHost } from "./space-host.ts";

runInFakeRuntime();

const KIB = 1_024;

describe("a cancel", () => {
  it("ends a waiting job at once, asks the worker of a running one, and changes no ended one (H8b, W23)", async () => {
    const space = await SpaceHost.make();
    const worker = await space.connect();
    const running = await space.submit();
    const waiting = await space.submit();
    await space.cancel(waiting);
    expect(await space.statusOf(waiting)).toBe("canceled: canceled");
    expect(worker.takeOnly("cancel")).toEqual([]);
    await space.cancel(running);
    await space.cancel(running);
    expect(worker.takeOnly("cancel")).toEqual([
      { type: "cancel", job_id: running, attempt: 1, reason: "Canceled on request." },
    ]);
    expect(await space.job(running)).toMatchObject({
      status: "processing",
      message: "Canceling …",
    });
    await space.complete(worker, running, "first");
    await space.cancel(running);
    expect(await space.job(running)).toMatchObject({ status: "completed", result: "first" });
  });

  it("takes effect after 10 seconds if the worker says nothing, also over a sleep (W23a)", async () => {
    const space = await SpaceHost.make();
    await space.connect();
    const id = await space.submit();
    await space.cancel(id);
    await pass(5_000);
    await space.host.hibernate();
    await pass(4_900);
    expect(await space.statusOf(id)).toBe("processing");
    await pass(200);
    expect(await space.statusOf(id)).toBe("canceled: canceled");
  });

  it("of a job that isn't there is refused", async () => {
    const space = await SpaceHost.make();
    const reply = space.object.cancel(ADMIN, "01KA7Z3QK0ABCDEFGHJKMNPQRS");
    expect(await settled(reply)).toMatchObject({ ok: false, code: "job_not_found" });
  });
});

describe("a private space", () => {
  it("shows nothing to strangers and takes nothing from them (H1a)", async () => {
    const space = await SpaceHost.make({ visibility: "private", offline: "queue" });
    const id = await space.submit();
    const stranger = ANYBODY;
    const ulid = id.slice(5);
    const call = { input: "{}", files: [], options: {} };
    const replies = [
      await space.object.describe(stranger),
      await space.object.job(stranger, ulid),
      await space.object.jobs(stranger, { limit: 10 }),
      await space.object.cancel(stranger, ulid),
      await space.object.change(stranger, { title: "mine" }),
      await space.object.webhookDeliveries(stranger, ulid),
      ...(await space.object.submit(stranger, [call, call])),
    ];
    expect(replies.map((reply) => !reply.ok && reply.code)).toEqual(
      Array.from({ length: 8 }, () => "not_authenticated"),
    );
    expect((await space.describe()).title).toBe("");
    expect(await space.statusOf(id)).toBe("queued");
    expect((await space.describe()).status.queue_size).toBe(1);
  });

  it("that was never made is not found, under its name, by anybody", async () => {
    const space = await SpaceHost.make();
    await space.object.destroy("demo");
    const operator = ADMIN;
    expect(await space.object.describe(operator)).toMatchObject({
      code: "space_not_found",
      detail: expect.stringContaining('"demo"'),
    });
    expect(await space.object.submit(operator, [])).toEqual([]);
    expect(await space.object.drain(operator, "x")).toMatchObject({ code: "space_not_found" });
    expect(await space.object.getReport()).toBe(null);
    await expect(space.follow()).rejects.toThrow("space_not_found");
    await expect(space.dial()).rejects.toThrow("space_not_found");
  });
});

describe("a space", () => {
  it("is shown with its settings, its status and its addresses", async () => {
    const space = await SpaceHost.make({ title: "Demo", max_queue: 7 });
    expect(await space.describe()).toMatchObject({
      name: "demo",
      title: "Demo",
      max_queue: 7,
      status: { worker: "disconnected", queue_size: 0, processing: 0 },
      urls: {
        self: "/api/spaces/demo",
        page: "/spaces/demo",
        jobs: "/api/spaces/demo/jobs",
        ws: "/api/spaces/demo/ws",
      },
    });
  });
});

describe("the list of a space's jobs", () => {
  it("has the newest first, page by page, of one status if that is wanted (H16)", async () => {
    const space = await SpaceHost.make({ offline: "queue" });
    const ids = await space.submitAll([{}, {}, {}, {}, {}]);
    await space.cancel(ids[1] ?? "");
    await space.cancel(ids[3] ?? "");
    const page = async (filter: Parameters<typeof space.object.jobs>[1]) => {
      const reply = await space.object.jobs(ADMIN, filter);
      const { jobs, next_cursor } = JSON.parse(reply.ok ? reply.body : "{}");
      return [jobs.map(({ id }: { id: string }) => id), next_cursor];
    };
    expect(await page({ limit: 2 })).toEqual([[ids[4], ids[3]], ids[3]]);
    const before = String(ids[3]).slice(5);
    expect(await page({ limit: 3, before })).toEqual([[ids[2], ids[1], ids[0]], null]);
    expect(await page({ limit: 5 })).toEqual([[...ids].reverse(), null]);
    expect(await page({ limit: 4 })).toEqual([[...ids].reverse().slice(0, 4), ids[1]]);
    expect(await page({ limit: 9, status: "canceled" })).toEqual([[ids[3], ids[1]], null]);
  });

  it("ends a page early that would become too large, but never with nothing (H16)", async () => {
    const space = await SpaceHost.make({ offline: "queue" });
    const input = { text: "x".repeat(500 * KIB) };
    const ids = await space.submitAll(Array.from({ length: 20 }, () => ({ input })));
    const reply = await space.object.jobs(ADMIN, { limit: 20 });
    const body = reply.ok ? reply.body : "";
    const { jobs, next_cursor } = JSON.parse(body);
    expect(body.length).toBeLessThan(8_500_000);
    expect(jobs).toHaveLength(16);
    expect(next_cursor).toBe(ids[4]);
  });
});

describe("a space that an earlier release stored", () => {
  it("works when it wakes, with the jobs that wait in it", async () => {
    const space = await SpaceHost.stored(SCHEMA_1);
    const { name, status } = await space.describe();
    expect([name, status.queue_size > 0]).toEqual(["painter", true]);
    const worker = await space.connect({ concurrency: 100 });
    expect(worker.takeOnly("job").length).toBeGreaterThanOrEqual(status.queue_size);
  });

  it("is not there if nothing was ever stored, and looking makes no table", async () => {
    const space = await SpaceHost.stored([]);
    expect(await space.object.describe(ADMIN)).toMatchObject({
      code: "space_not_found",
    });
    expect(space.host.sql("SELECT name FROM sqlite_master")).toEqual([]);
  });
});
