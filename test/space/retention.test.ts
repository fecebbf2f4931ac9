import { describe, expect, it, vi } from "vitest";
import { pass, runInFakeRuntime } from "../support/runtime/globals.ts";
import { file, SpaceHost } from "./space-host.ts";

runInFakeRuntime();

const KIB = 1_024;

/** Runs jobs, one after the other, each with an input of so many bytes, and returns their ids. */
async function runJobs(space: SpaceHost, count: number, bytes: number): Promise<string[]> {
  const worker = await space.connect();
  const ids: string[] = [];
  for (let made = 0; made < count; made += 1) {
    const id = await space.submit({ input: { prompt: "x".repeat(bytes) } });
    await space.complete(worker, id);
    ids.push(id);
  }
  worker.leave(1000);
  await pass(50);
  return ids;
}

async function kept(space: SpaceHost, ids: readonly string[]): Promise<number> {
  const found = await Promise.all(ids.map((id) => space.job(id)));
  return found.filter((job) => job !== null).length;
}

describe("a finished job", () => {
  it("is erased `result_ttl_s` after its end, without any request, and not before (C11c)", async () => {
    const space = await SpaceHost.make({ result_ttl_s: 100 });
    const [id = ""] = await runJobs(space, 1, 10);
    await pass(99_000);
    expect(await space.statusOf(id)).toBe("completed");
    await pass(2_000);
    expect(await space.statusOf(id)).toBe("gone");
    expect(space.host.sql("SELECT * FROM jobs")).toEqual([]);
    expect(space.host.alarmAt).toBe(null);
  });

  it("is erased by an alarm that is set already when it ends", async () => {
    const space = await SpaceHost.make({ result_ttl_s: 100, offline: "queue" });
    const id = await space.submit();
    await pass(31_000);
    await space.cancel(id);
    await pass(31_000);
    await space.host.hibernate();
    await pass(70_000);
    expect(await space.statusOf(id)).toBe("gone");
  });

  it("is erased with its log, its files and the messages to its webhook", async () => {
    vi.stubGlobal("fetch", async () => new Response(null));
    const space = await SpaceHost.make({ result_ttl_s: 100, enable_file_upload: true });
    space.bucket.keys.add("spaces/demo/a").add("spaces/demo/b").add("spaces/other/a");
    const worker = await space.connect();
    const body = { webhook: "http://127.0.0.1:9/" };
    const id = await space.submit(body, [file("a"), file("b")]);
    await space.report(worker, id, { type: "output", delta: "x" });
    await space.complete(worker, id);
    await pass(90_000);
    expect(space.host.sql("SELECT * FROM webhook_deliveries")).not.toEqual([]);
    expect(space.bucket.keys.size).toBe(3);
    await pass(20_000);
    expect([...space.bucket.keys]).toEqual(["spaces/other/a"]);
    for (const table of ["jobs", "channel_log", "webhook_deliveries"]) {
      expect(space.host.sql(`SELECT * FROM ${table}`)).toEqual([]);
    }
  });

  it("stays, and stays known, while the bucket refuses to delete its files; a minute later it is tried again", async () => {
    const errors = vi.spyOn(console, "error").mockImplementation(() => undefined);
    const space = await SpaceHost.make({ result_ttl_s: 100, enable_file_upload: true });
    space.bucket.keys.add("spaces/demo/a");
    const worker = await space.connect();
    const id = await space.submit({}, [file("a")]);
    await space.complete(worker, id);
    space.bucket.failures = 1;
    await pass(110_000);
    expect(space.bucket.deletions).toHaveLength(1);
    expect(await space.statusOf(id)).toBe("completed");
    expect(errors).toHaveBeenCalledOnce();
    await pass(40_000);
    expect(space.bucket.deletions).toHaveLength(1);
    await pass(20_000);
    expect(await space.statusOf(id)).toBe("gone");
    expect(space.bucket.keys.size).toBe(0);
  });

  it("of many is erased with all others that are due, page by page, and no deletion names too many files", async () => {
    const space = await SpaceHost.make({
      result_ttl_s: 100,
      enable_file_upload: true,
      offline: "queue",
    });
    const files = Array.from({ length: 16 }, (_, index) => file(`f${index}`));
    await space.submitAll(
      Array.from({ length: 250 }, () => ({})),
      files,
    );
    for (const { ulid } of space.host.sql<{ ulid: string }>("SELECT ulid FROM jobs")) {
      await space.cancel(`demo.${ulid}`);
    }
    await pass(110_000);
    expect(space.host.sql("SELECT * FROM jobs")).toEqual([]);
    expect(Math.max(...space.bucket.deletions)).toBeLessThanOrEqual(1_000);
    expect(space.bucket.deletions.reduce((sum, count) => sum + count, 0)).toBe(250 * 16);
  });

  it("is erased later if it ended later, and its youngest neighbours stay", async () => {
    const space = await SpaceHost.make({ result_ttl_s: 100 });
    const [first = ""] = await runJobs(space, 1, 10);
    await pass(50_000);
    const [second = ""] = await runJobs(space, 1, 10);
    await pass(51_000);
    expect(await space.statusOf(first)).toBe("gone");
    expect(await space.statusOf(second)).toBe("completed");
    await pass(50_000);
    expect(await space.statusOf(second)).toBe("gone");
  });
});

describe("the finished jobs of a space", () => {
  it("take no more room than the operator allows: the oldest go, and no more than must (C11c, C11d)", async () => {
    const space = await SpaceHost.make({}, { MAX_KEPT_MB: "1" });
    const ids = await runJobs(space, 10, 100 * KIB);
    expect(await kept(space, ids)).toBe(10);
    const [newest = ""] = await runJobs(space, 1, 100 * KIB);
    await pass(1_000);
    expect(await kept(space, ids)).toBe(8);
    expect(await space.statusOf(ids[1] ?? "")).toBe("gone");
    expect(await space.statusOf(ids[2] ?? "")).toBe("completed");
    expect(await space.statusOf(newest)).toBe("completed");
  });

  it("are erased to make room, but no job that waits", async () => {
    const space = await SpaceHost.make({ offline: "queue", concurrency: 1 }, { MAX_KEPT_MB: "1" });
    const waiting = await space.submit({
      requires: ["x"],
      input: { prompt: "x".repeat(200 * KIB) },
    });
    const ids = await runJobs(space, 4, 400 * KIB);
    expect(await kept(space, ids)).toBe(2);
    expect(await space.statusOf(waiting)).toBe("queued");
  });

  it("are counted on after the object slept: their bytes are not forgotten (C11c)", async () => {
    const space = await SpaceHost.make({}, { MAX_KEPT_MB: "4" });
    const before = await runJobs(space, 35, 100 * KIB);
    await space.host.hibernate();
    const after = await runJobs(space, 35, 100 * KIB);
    await pass(1_000);
    // A sleep may lose the count of one MiB, which is ten jobs.
    expect(await kept(space, [...before, ...after])).toBeLessThanOrEqual(52);
    expect(await kept(space, after)).toBe(35);
  });

  it("count with their output and results, and no longer once they are erased", async () => {
    const space = await SpaceHost.make({ result_ttl_s: 60 }, { MAX_KEPT_MB: "1" });
    const worker = await space.connect();
    const ids: string[] = [];
    for (let made = 0; made < 2; made += 1) {
      const id = await space.submit();
      await space.report(worker, id, { type: "output", delta: "x".repeat(300 * KIB) });
      await space.complete(worker, id, "y".repeat(300 * KIB));
      ids.push(id);
    }
    await pass(1_000);
    expect(await space.statusOf(ids[0] ?? "")).toBe("gone");
    expect(await space.statusOf(ids[1] ?? "")).toBe("completed");
    await pass(61_000);
    const [third = ""] = await runJobs(space, 1, 300 * KIB);
    await pass(10_000);
    expect(await space.statusOf(third)).toBe("completed");
  });
});

describe("a space that is deleted", () => {
  it("takes all its files with it, and a new one of its name waits for that", async () => {
    const space = await SpaceHost.make({ enable_file_upload: true });
    for (let index = 0; index < 1_500; index += 1) space.bucket.keys.add(`spaces/demo/${index}`);
    space.bucket.keys.add("spaces/demolition/a");
    expect(await space.object.destroy("demo")).toBe(true);
    expect([...space.bucket.keys]).toEqual(["spaces/demolition/a"]);
    expect(await space.object.destroy("demo")).toBe(false);
  });

  it("closes every socket with 4404, and nothing is due for it any more", async () => {
    const space = await SpaceHost.make({ offline: "queue" });
    const id = await space.submit();
    const sockets = [await space.connect(), await space.follow(), await space.followJob(id)];
    await space.object.destroy("demo");
    expect(sockets.map(({ closed }) => closed?.code)).toEqual([4404, 4404, 4404]);
    expect(await space.statusOf(id)).toBe("gone");
    await pass(600_000);
    expect(space.host.alarms).toBe(0);
  });
});
