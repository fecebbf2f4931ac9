import { describe, expect, it } from "vitest";
import { pass, runInFakeRuntime } from "../support/runtime/globals.ts";
import { file, SpaceHost, typesOf } from "./space-host.ts";

runInFakeRuntime();

describe("the `job` frame", () => {
  it("has the job, its deadline, and files whose addresses outlive the deadline by a minute (W14, W14a)", async () => {
    const space = await SpaceHost.make({ enable_file_upload: true, job_timeout_s: 60 });
    const worker = await space.connect();
    await pass(1_000);
    const sentAt = Date.now();
    const id = await space.submit({ input: { prompt: "a" }, priority: 7 }, [file("a b.txt")]);
    const [job] = worker.takeOnly("job");
    const deadline = Date.parse(String(job?.deadline));
    expect(deadline).toBe(sentAt + 60_000);
    expect(JSON.stringify(job)).not.toContain('"key"');
    expect(job).toMatchObject({
      type: "job",
      job_id: id,
      attempt: 1,
      input: { prompt: "a" },
      files: [
        {
          field: "file",
          name: "a b.txt",
          content_type: "text/plain",
          size: 3,
          url: expect.stringMatching(
            /^https:\/\/edge\.test\/api\/files\/spaces\/demo\/a%20b\.txt\?/,
          ),
        },
      ],
      priority: 7,
      deadline: new Date(deadline).toISOString(),
      created_at: new Date(sentAt).toISOString(),
      user: null,
    });
    const [{ url } = { url: "" }] = (job?.files ?? []) as { url: string }[];
    const expires = Number(new URL(url).searchParams.get("expires")) * 1_000;
    expect(expires).toBeGreaterThanOrEqual(deadline + 60_000);
    expect(expires).toBeLessThan(deadline + 61_000);
  });

  it("comes once for each attempt, to one worker (W11)", async () => {
    const space = await SpaceHost.make({ max_workers: 3 });
    const workers = [
      await space.connect({ worker_id: "a" }),
      await space.connect({ worker_id: "b" }),
      await space.connect({ worker_id: "c" }),
    ];
    const ids = [await space.submit(), await space.submit(), await space.submit()];
    const jobs = workers.map((worker) => worker.takeOnly("job"));
    expect(jobs.map(({ length }) => length)).toEqual([1, 1, 1]);
    expect(jobs.flat().map(({ job_id }) => job_id)).toEqual(ids);
  });

  it("comes for as many jobs at once as the worker offers, and for the next when one has ended (W11)", async () => {
    const space = await SpaceHost.make();
    const worker = await space.connect({ concurrency: 2 });
    const ids = await space.submitAll([{}, {}, {}, {}]);
    expect(worker.takeOnly("job").map(({ job_id }) => job_id)).toEqual(ids.slice(0, 2));
    await space.complete(worker, ids[1] ?? "");
    expect(worker.take()).toMatchObject([
      { type: "ack", job_id: ids[1] },
      { type: "job", job_id: ids[2] },
    ]);
  });
});

describe("a worker's frame about its attempt", () => {
  it("is answered only if it ends the attempt: `result`, `fail` and `reject` (W12, W16, W20)", async () => {
    const space = await SpaceHost.make();
    const worker = await space.connect({ concurrency: 3 });
    const [a = "", b = "", c = ""] = await space.submitAll([{}, {}, {}]);
    worker.take();
    await space.report(worker, a, { type: "accept" });
    await space.report(worker, a, { type: "progress", progress: 5 });
    await space.report(worker, a, { type: "output", delta: 1 });
    expect(worker.take()).toEqual([]);
    await space.complete(worker, a, { ok: true });
    await space.report(worker, b, { type: "fail", code: "worker_error", message: "no" });
    await space.report(worker, c, { type: "reject", reason: "busy" });
    expect(worker.take()).toEqual([
      { type: "ack", job_id: a, attempt: 1, of: "result" },
      { type: "ack", job_id: b, attempt: 1, of: "fail" },
      { type: "ack", job_id: c, attempt: 1, of: "reject" },
    ]);
  });

  it("is what the job then says: progress, message, what is left, output, metrics (W16, W17)", async () => {
    const space = await SpaceHost.make();
    const worker = await space.connect({ name: "box" });
    const id = await space.submit();
    const progress = { progress: 40, message: "half", estimated_remaining: 7 };
    await space.report(worker, id, { type: "progress", ...progress });
    await space.report(worker, id, { type: "output", delta: "a" });
    await space.report(worker, id, { type: "output", delta: "b" });
    expect(await space.job(id)).toMatchObject({
      status: "processing",
      ...progress,
      output: "ab",
      worker: { id: "worker-1", name: "box" },
      result: null,
      metrics: null,
    });
    await space.sleep();
    expect(await space.job(id)).toMatchObject({ ...progress, output: "ab" });
    await space.report(worker, id, { type: "progress", progress: 41 });
    expect(await space.job(id)).toMatchObject({
      progress: 41,
      message: null,
      estimated_remaining: null,
    });
    const end = { type: "result", output: [1], metrics: { seconds: 2 } };
    await space.report(worker, id, end);
    expect(await space.job(id)).toMatchObject({
      status: "completed",
      progress: 100,
      result: [1],
      metrics: { seconds: 2 },
      output: "ab",
    });
  });

  it("that fails it names the reason, with its code in front unless that says nothing (W18)", async () => {
    const space = await SpaceHost.make();
    const worker = await space.connect({ concurrency: 2 });
    const [a = "", b = ""] = await space.submitAll([{}, {}]);
    await space.report(worker, a, { type: "progress", progress: 30, estimated_remaining: 9 });
    await space.report(worker, a, { type: "fail", code: "oom", message: "no memory" });
    await space.report(worker, b, { type: "fail", code: "worker_error", message: "no" });
    expect((await space.job(a))?.error).toEqual({
      code: "worker_error",
      message: "oom: no memory",
    });
    expect((await space.job(b))?.error).toEqual({ code: "worker_error", message: "no" });
  });

  it("that fails it `retryable` puts it back with its progress at 0, and tried again after a delay (W19, W19a)", async () => {
    const space = await SpaceHost.make();
    const worker = await space.connect();
    const id = await space.submit();
    const viewer = await space.followJob(id);
    await space.report(worker, id, { type: "progress", progress: 60, message: "so far" });
    viewer.take();
    const fail = { type: "fail", code: "worker_error", message: "no luck", retryable: true };
    await space.report(worker, id, fail);
    expect(viewer.take()).toMatchObject([
      { status: "queued", progress: 0, message: "no luck", estimated_remaining: null, attempt: 1 },
    ]);
    expect(await space.job(id)).toMatchObject({
      status: "queued",
      progress: 0,
      message: "no luck (tried again in 1 s)",
      worker: null,
    });
    worker.take();
    await pass(900);
    expect(worker.take()).toEqual([]);
    await pass(200);
    expect(worker.take()).toMatchObject([{ type: "job", job_id: id, attempt: 2 }]);
    await space.report(worker, id, { ...fail, attempt: 2 });
    worker.take();
    await space.host.hibernate();
    await pass(1_900);
    expect(worker.take()).toEqual([]);
    await pass(200);
    expect(worker.take()).toMatchObject([{ type: "job", job_id: id, attempt: 3 }]);
    await space.report(worker, id, { ...fail, attempt: 3 });
    expect(await space.statusOf(id)).toBe("failed: too_many_attempts");
  });

  it("is stale of another attempt, a job that never was, another space, or an end in another way (W22)", async () => {
    const space = await SpaceHost.make();
    const worker = await space.connect();
    const id = await space.submit();
    worker.take();
    const other = "elsewhere.01KA7Z3QK0ABCDEFGHJKMNPQRS";
    await space.complete(worker, id, 1, 2);
    await space.complete(worker, other);
    await space.complete(worker, "demo.01KA7Z3QK0ABCDEFGHJKMNPQRS");
    expect(worker.take()).toEqual([
      { type: "stale", job_id: id, attempt: 2 },
      { type: "stale", job_id: other, attempt: 1 },
      { type: "stale", job_id: "demo.01KA7Z3QK0ABCDEFGHJKMNPQRS", attempt: 1 },
    ]);
    await space.complete(worker, id, "first");
    await space.complete(worker, id, "second");
    await space.report(worker, id, { type: "fail", code: "x", message: "y" });
    expect(worker.take()).toMatchObject([
      { type: "ack", of: "result" },
      { type: "ack", of: "result" },
      { type: "stale", job_id: id, attempt: 1 },
    ]);
    expect(await space.job(id)).toMatchObject({ status: "completed", result: "first" });
  });

  it("is stale over a connection that was replaced, or after the attempt was taken back", async () => {
    const space = await SpaceHost.make({ max_workers: 2 });
    const old = await space.connect();
    const id = await space.submit();
    old.leave(1006);
    const fresh = await space.connect({ resume: [{ job_id: id, attempt: 1 }] });
    const stranger = await space.connect({ worker_id: "stranger" });
    fresh.take();
    stranger.take();
    await space.complete(stranger, id, "stolen");
    expect(typesOf(stranger)).toEqual(["stale"]);
    await space.complete(fresh, id, "own");
    expect(typesOf(fresh)).toEqual(["ack"]);
    expect((await space.job(id))?.result).toBe("own");
  });
});

describe("a frame that can't be taken", () => {
  it("ends its attempt alone, is counted, and the connection stays (W30a, W30b)", async () => {
    const space = await SpaceHost.make();
    const worker = await space.connect({ concurrency: 3 });
    const [a = "", b = "", c = ""] = await space.submitAll([{}, {}, {}]);
    worker.take();
    await space.report(worker, a, { type: "progress", progress: 101 });
    await space.host.hibernate();
    await space.report(worker, b, { type: "result" });
    const frames = worker.take();
    expect(frames).toMatchObject([
      { type: "error", code: "malformed_frame", job_id: a, attempt: 1, refused_frames: 1 },
      { type: "stale", job_id: a, attempt: 1 },
      { type: "error", code: "malformed_frame", job_id: b, attempt: 1, refused_frames: 2 },
      { type: "stale", job_id: b, attempt: 1 },
    ]);
    expect(frames[0]?.message).toContain(`This ended attempt 1 of the job ${a}.`);
    expect(await space.statusOf(a)).toBe("failed: worker_error");
    expect(await space.statusOf(c)).toBe("processing");
    expect(worker.closed).toBe(null);
  });

  it("about an attempt that doesn't run there changes nothing, but counts (W30c)", async () => {
    const space = await SpaceHost.make();
    const worker = await space.connect();
    const id = await space.submit();
    worker.take();
    await space.report(worker, id, { type: "progress", progress: 101, attempt: 2 });
    expect(worker.take()).toEqual([{ type: "stale", job_id: id, attempt: 2 }]);
    await space.report(worker, "elsewhere.01KA7Z3QK0ABCDEFGHJKMNPQRS", { type: "result" });
    expect(typesOf(worker)).toEqual(["stale"]);
    expect(await space.statusOf(id)).toBe("processing");
    await space.report(worker, id, { type: "progress", progress: 101 });
    expect(worker.take()).toMatchObject([{ refused_frames: 3 }, { type: "stale" }]);
  });

  it("about no attempt closes the connection, at once also in a batch (W30)", async () => {
    const space = await SpaceHost.make({ offline: "queue" });
    const worker = await space.connect();
    const id = await space.submit();
    worker.take();
    worker.push({ type: "progress", progress: 5 });
    worker.push({ type: "result", job_id: id, attempt: 1, output: 1 });
    await pass();
    expect(typesOf(worker)).toEqual(["error"]);
    expect(worker.closed?.code).toBe(4400);
    expect(await space.job(id)).toMatchObject({ status: "processing", result: null });
  });

  it("that is too large and about no attempt closes it with 1009 (W30)", async () => {
    const space = await SpaceHost.make();
    const worker = await space.connect();
    worker.push(`"${"x".repeat(1_048_576)}"`);
    await pass();
    expect(worker.closed?.code).toBe(1009);
  });
});
