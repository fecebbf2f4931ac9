import { describe, expect, it } from "vitest";
import { ADMIN } from "../support/callers.ts";
import { pass, runInFakeRuntime, settled } from "../support/runtime/globals.ts";
import { ask, file, SpaceHost } from "./space-host.ts";

runInFakeRuntime();

const KIB = 1_024;

describe("a submit", () => {
  it("is refused while no worker takes jobs, none has what it requires, or the queue is full (H3)", async () => {
    const space = await SpaceHost.make({ max_queue: 2 });
    expect(await space.submit()).toBe("worker_not_connected");
    const worker = await space.connect({ capabilities: ["a", "b"] });
    expect(await space.submit({ requires: ["a", "c"] })).toBe("worker_not_connected");
    const ids = await space.submitAll([{}, {}, { requires: ["b", "a"] }, {}]);
    expect(ids.slice(0, 3).every((id) => id.startsWith("demo."))).toBe(true);
    expect(ids[3]).toBe("queue_full");
    worker.push({ type: "drain" });
    await pass();
    expect(await space.submit()).toBe("worker_not_connected");
  });

  it("of a batch finds as many places as if it came alone: what a worker has a place for doesn't wait (H3, H13)", async () => {
    const space = await SpaceHost.make({ max_queue: 2, max_workers: 2 });
    const worker = await space.connect({ concurrency: 3 });
    const ids = await space.submitAll(Array.from({ length: 8 }, () => ({})));
    expect(ids.map((id) => id === "queue_full")).toEqual([
      ...Array.from({ length: 5 }, () => false),
      ...Array.from({ length: 3 }, () => true),
    ]);
    expect(worker.takeOnly("job").map(({ job_id }) => job_id)).toEqual(ids.slice(0, 3));
    expect((await space.describe()).status).toMatchObject({ queue_size: 2, processing: 3 });
    expect(await space.submit()).toBe("queue_full");
    await space.complete(worker, ids[0] ?? "");
    expect(worker.takeOnly("job").map(({ job_id }) => job_id)).toEqual([ids[3]]);
    expect(await space.submit()).toMatch(/^demo\./);
    expect(await space.submit()).toBe("queue_full");
  });

  it("is refused with kinds of input or files that the space doesn't take (H6a)", async () => {
    const space = await SpaceHost.make({ offline: "queue", enable_prompt: false });
    expect(await space.submit({ input: { prompt: "x" } })).toBe("prompt_not_enabled");
    expect(await space.submit({}, [file("a")])).toBe("file_upload_not_enabled");
    expect(await space.submit({}, [file("a", { field: "audio" })])).toBe("audio_not_enabled");
    expect(await space.submit({ input: { text: "x".repeat(512 * KIB) } })).toBe(
      "payload_too_large",
    );
    expect(await space.submit({ input: { text: "x" } })).toMatch(/^demo\./);
  });

  it("makes a job with its options, shown as they are now (H5, H8)", async () => {
    const space = await SpaceHost.make({ offline: "queue", enable_file_upload: true });
    const id = await space.submit({ input: { a: [1] }, priority: -3 }, [file("a")]);
    expect(await space.job(id)).toMatchObject({
      id,
      space: "demo",
      status: "queued",
      input: { a: [1] },
      priority: -3,
      attempt: 0,
      queue_position: 1,
      message: "No worker is connected.",
      files: [{ field: "file", name: "a", content_type: "text/plain", size: 3 }],
      worker: null,
      cached: false,
      started_at: null,
      completed_at: null,
      urls: {
        self: `/api/jobs/${id}`,
        events: `/api/jobs/${id}/events`,
        ws: `/api/jobs/${id}/ws`,
        cancel: `/api/jobs/${id}/cancel`,
      },
    });
    expect(Object.keys((await space.job(id))?.files[0] ?? {})).toHaveLength(4);
  });

  it("has limits no higher than the space's (H5)", async () => {
    const space = await SpaceHost.make({ job_timeout_s: 20 });
    const worker = await space.connect({ concurrency: 2 });
    const [lower = "", higher = ""] = await space.submitAll([
      { job_timeout_s: 5 },
      { job_timeout_s: 500 },
    ]);
    await pass(5_500);
    expect(await space.statusOf(lower)).toBe("failed: timeout");
    worker.push("ping");
    await pass(10_000);
    expect(await space.statusOf(higher)).toBe("processing");
    await pass(5_500);
    expect(await space.statusOf(higher)).toBe("failed: timeout");
  });
});

describe("a submit with an idempotency key", () => {
  it("is the job of the first one, as it is now, also if no new one would be taken (H10, H10b)", async () => {
    const space = await SpaceHost.make();
    const worker = await space.connect();
    const body = { idempotency_key: "k", input: { a: 1, b: 2 } };
    const id = await space.submit(body);
    const again = { input: { b: 2, a: 1 }, priority: 0, cancel_on_disconnect: true };
    expect(await space.submit({ ...again, idempotency_key: "k" })).toBe(id);
    await space.complete(worker, id, 1);
    worker.leave(1000);
    await pass();
    await space.host.hibernate();
    const call = {
      input: '{"a":1,"b":2}',
      files: [],
      options: { idempotency_key: "k" },
    };
    const [reply] = await settled(space.object.submit(ADMIN, [call]));
    expect(reply).toMatchObject({ ok: true, isRepeat: true, ulid: id.slice(5) });
    expect(reply?.ok && JSON.parse(reply.body)).toMatchObject({ status: "completed", result: 1 });
    expect(await space.submit({ ...body, priority: 1 })).toBe("idempotency_key_reused");
    expect(await space.submit({ ...body, input: { a: 1 } })).toBe("idempotency_key_reused");
    expect(await space.submit({ input: { a: 1 }, idempotency_key: "l" })).toBe(
      "worker_not_connected",
    );
  });

  it("makes one job if it comes twice in one batch", async () => {
    const space = await SpaceHost.make({ offline: "queue" });
    const ids = await space.submitAll([
      { idempotency_key: "k" },
      { idempotency_key: "k" },
      { idempotency_key: "l" },
    ]);
    expect(ids[0]).toBe(ids[1]);
    expect(ids[2]).not.toBe(ids[0]);
    expect((await space.describe()).status.queue_size).toBe(2);
  });

  it("makes a new job once the first was erased (H10a)", async () => {
    const space = await SpaceHost.make({ offline: "queue", result_ttl_s: 10 });
    const id = await space.submit({ idempotency_key: "k" });
    await space.cancel(id);
    await pass(12_000);
    expect(await space.submit({ idempotency_key: "k" })).not.toBe(id);
  });
});

describe("a space's cache", () => {
  it("answers an equal input with the result, output and metrics of the job before (H11, H11a)", async () => {
    const space = await SpaceHost.make({ cache_ttl_s: 100 });
    const worker = await space.connect({ capabilities: ["x", "y"] });
    const body = { input: { a: 1, b: 2 }, requires: ["y", "x"] };
    const first = await space.submit(body);
    await space.report(worker, first, { type: "output", delta: "o" });
    const end = { type: "result", output: { r: 1 }, metrics: { m: 1 } };
    await space.report(worker, first, end);
    worker.leave(1000);
    await pass();
    const again = { input: { b: 2, a: 1 }, requires: ["x", "y", "x"] };
    const second = await space.submit(again);
    expect(await space.job(second)).toMatchObject({
      status: "completed",
      result: { r: 1 },
      output: "o",
      metrics: { m: 1 },
      cached: true,
      attempt: 0,
      worker: null,
    });
    expect(second).not.toBe(first);
    expect(await space.submit({ ...body, requires: ["x"] })).toBe("worker_not_connected");
    expect(await space.submit({ ...body, input: { a: 1 } })).toBe("worker_not_connected");
  });

  it("answers for `cache_ttl_s` after the end, and its own answers don't make that longer (H11)", async () => {
    const space = await SpaceHost.make({ cache_ttl_s: 100 });
    const worker = await space.connect();
    const id = await space.submit();
    await space.complete(worker, id, 1);
    worker.leave(1000);
    await pass(60_000);
    expect(await space.submit()).toMatch(/^demo\./);
    await pass(39_000);
    expect(await space.submit()).toMatch(/^demo\./);
    await pass(2_000);
    expect(await space.submit()).toBe("worker_not_connected");
  });

  it("doesn't answer with failed jobs, those submitted while it was off, or those whose output was cut (H11b)", async () => {
    const space = await SpaceHost.make();
    const worker = await space.connect();
    const before = await space.submit({ input: { n: 0 } });
    await space.object.change(ADMIN, { cache_ttl_s: 100 });
    await space.complete(worker, before, 1);
    const failed = await space.submit({ input: { n: 1 } });
    await space.report(worker, failed, { type: "fail", code: "x", message: "y" });
    const long = await space.submit({ input: { n: 2 } });
    for (let piece = 0; piece < 8; piece += 1) {
      await space.report(worker, long, { type: "output", delta: "x".repeat(200 * KIB) });
    }
    await space.complete(worker, long, 1);
    worker.leave(1000);
    await pass();
    for (const n of [0, 1, 2]) {
      expect(await space.submit({ input: { n } })).toBe("worker_not_connected");
    }
    await space.object.change(ADMIN, { cache_ttl_s: 0 });
  });

  it("answers one batch after the other, however much they take over together", async () => {
    const space = await SpaceHost.make({ cache_ttl_s: 100 });
    const worker = await space.connect();
    const result = "r".repeat(900 * KIB);
    await space.complete(worker, await space.submit(), result);
    worker.leave(1000);
    await pass();
    for (let batch = 0; batch < 8; batch += 1) {
      expect(await space.statusOf(await space.submit())).toBe("completed");
    }
    const together = await space.submitAll(Array.from({ length: 8 }, () => ({})));
    expect(together.filter((id) => id === "payload_too_large")).toHaveLength(4);
    expect(await space.statusOf(await space.submit())).toBe("completed");
  });

  it("answers over a socket too, with all of the job's events at once", async () => {
    const space = await SpaceHost.make({ cache_ttl_s: 100 });
    const worker = await space.connect();
    await space.complete(worker, await space.submit(), 9);
    const viewer = await space.follow();
    const frames = await ask(viewer, { type: "submit", ref: 1, input: {} });
    expect(frames).toMatchObject([
      { type: "accepted", queue_position: null },
      { status: "queued", offset: 1 },
      { status: "completed", result: 9, offset: 2 },
    ]);
    expect(worker.takeOnly("job")).toHaveLength(1);
  });
});
