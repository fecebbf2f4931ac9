import { describe, expect, it, vi } from "vitest";
import { pass, runInFakeRuntime, START } from "../support/runtime/globals.ts";
import { ask, BACKEND, JOB, JobHost, user } from "./job-host.ts";

runInFakeRuntime();

const DAY_MS = 86_400_000;

describe("a job without a space", () => {
  it("is shown with everything that was reported, also after a sleep (B3, B5)", async () => {
    const job = await JobHost.make({ input: { scene: "lake" }, user: "ann", message: "soon" });
    expect(await job.read()).toMatchObject({
      id: JOB,
      space: null,
      status: "queued",
      input: { scene: "lake" },
      user: "ann",
      message: "soon",
      attempt: 0,
      progress: 0,
      output: null,
      started_at: null,
      completed_at: null,
      created_at: new Date(START).toISOString(),
    });
    await pass(1_000);
    const fields = { progress: 40, message: "half", estimated_remaining: 9, output_path: "s3://a" };
    const receipt = await job.report("progress", fields);
    expect(receipt).toMatchObject({
      id: JOB,
      status: "processing",
      attempt: 1,
      offset: 2,
      ...fields,
    });
    await job.report("output", { delta: "a" });
    await job.report("output", { delta: "b" });
    await job.hibernate();
    expect(await job.read()).toMatchObject({ ...fields, output: "ab", attempt: 1 });
    await job.report("output", { delta: [1] });
    expect(await job.read()).toMatchObject({ output: ["a", "b", [1]] });
    const body = await job.report("complete", { result: { n: 1 }, metrics: { s: 2 } });
    expect(body).toMatchObject({
      status: "completed",
      progress: 100,
      result: { n: 1 },
      metrics: { s: 2 },
      message: null,
      estimated_remaining: null,
      output_path: "s3://a",
      error: null,
    });
    await job.hibernate();
    expect(await job.read()).toEqual(body);
  });

  it("that is queued again begins with progress 0, and its next attempt counts (B3)", async () => {
    const job = await JobHost.make();
    const viewer = await job.follow();
    await job.report("progress", { progress: 70, estimated_remaining: 3 });
    await job.report("output", { delta: "old" });
    viewer.take();
    await job.report("progress", { status: "queued" });
    expect(viewer.take()).toMatchObject([
      { status: "queued", progress: 0, estimated_remaining: null, attempt: 1 },
    ]);
    await job.hibernate();
    expect(await job.read()).toMatchObject({ status: "queued", progress: 0 });
    await job.report("output", { delta: "new" });
    expect(await job.read()).toMatchObject({ status: "processing", attempt: 2, output: "new" });
  });

  it("that failed or was canceled says why (B3)", async () => {
    const failed = await JobHost.make();
    await failed.report("progress", { progress: 30 });
    expect(await failed.report("fail", { code: "oom", message: "no memory" })).toMatchObject({
      status: "failed",
      progress: 30,
      error: { code: "oom", message: "no memory" },
      message: "no memory",
      result: null,
    });
    const canceled = await JobHost.make();
    expect(await canceled.report("cancel", { reason: "enough" })).toMatchObject({
      status: "canceled",
      error: { code: "canceled", message: "enough" },
    });
    const viewer = await canceled.follow();
    expect(viewer.take().at(-1)).toMatchObject({ error: { code: "canceled", message: "enough" } });
  });

  it("is made once: the same content is a repeat, other content is refused (B2)", async () => {
    const job = await JobHost.make({ input: { a: 1, b: 2 }, user: "ann" });
    expect(await job.create({ user: "ann", input: { b: 2, a: 1 } })).toBe("repeat");
    await job.hibernate();
    expect(await job.create({ id: JOB, user: "ann", input: { a: 1, b: 2 } })).toBe("repeat");
    expect(await job.create({ user: "bob", input: { a: 1, b: 2 } })).toBe("job_exists");
    expect(await job.create({ user: "ann", input: { a: 1, b: 3 } })).toBe("job_exists");
    expect(await job.read()).toMatchObject({ user: "ann", input: { a: 1, b: 2 } });
  });

  it("stays as it ended (B4)", async () => {
    const job = await JobHost.make();
    const end = { result: 1 };
    const body = await job.report("complete", end);
    expect(await job.report("complete", end)).toEqual(body);
    for (const [type, fields] of [
      ["complete", { result: 2 }],
      ["fail", { code: "x", message: "y" }],
      ["cancel", {}],
      ["progress", { progress: 1 }],
      ["output", { delta: 1 }],
    ] as const) {
      expect(await job.report(type, fields)).toBe("job_ended");
    }
    expect(await job.read()).toEqual(body);
  });

  it("that was never made can't be reported", async () => {
    const job = await JobHost.start();
    expect(await job.report("complete", { result: 1 })).toBe("job_not_found");
    expect(await job.read()).toBe("job_not_found");
  });
});

describe("what is kept of a job without a space", () => {
  it("is erased `result_ttl_s` after its end, with its log, and its id is free again (B15)", async () => {
    const job = await JobHost.make({ result_ttl_s: 100 });
    await job.report("output", { delta: 1 });
    await pass(500_000);
    await job.report("complete", { result: 1 });
    await job.hibernate();
    await pass(99_000);
    expect(await job.read()).toMatchObject({ status: "completed" });
    await pass(2_000);
    expect(await job.read()).toBe("job_not_found");
    expect(job.host.sql("SELECT name FROM sqlite_master")).toEqual([]);
    expect(job.host.alarmAt).toBe(null);
    expect(await job.create({ input: { other: 1 } })).toBe("made");
    expect(await job.read()).toMatchObject({ output: null, input: { other: 1 } });
  });

  it("is erased 7 days after the last report if it never ends, and its sockets close with 4404 (B15)", async () => {
    const job = await JobHost.make();
    const viewer = await job.follow();
    await pass(5 * DAY_MS);
    await job.report("progress", { progress: 1 });
    await pass(7 * DAY_MS - 1_000);
    expect(viewer.closed).toBe(null);
    await pass(2_000);
    expect(viewer.closed?.code).toBe(4404);
    expect(viewer.takeOnly("error")).toMatchObject([{ code: "job_not_found" }]);
    expect(await job.read()).toBe("job_not_found");
  });

  it("is saved by a report that came just before the erasure", async () => {
    const job = await JobHost.make();
    await pass(7 * DAY_MS - 50);
    vi.setSystemTime(Date.now() + 100);
    const reported = job.object.report(JSON.stringify({ type: "progress", progress: 5 }));
    await job.host.runAlarm();
    await reported;
    expect(await job.read()).toMatchObject({ progress: 5 });
  });
});

describe("reports over the job's socket", () => {
  it("are acknowledged with their place once stored, before their events, in order (B9, B9a)", async () => {
    const job = await JobHost.make();
    const backend = await job.follow(BACKEND);
    backend.take();
    backend.push({ type: "progress", progress: 1, ref: "a" });
    backend.push({ type: "output", delta: "x", ref: "b" });
    backend.push({ type: "progress", progress: 2 });
    await pass(5);
    const frames = backend.take();
    const acks = frames.filter(({ type }) => type === "ack");
    expect(acks).toEqual([
      { type: "ack", of: "progress", job_id: JOB, offset: 2, ref: "a" },
      { type: "ack", of: "output", job_id: JOB, offset: 3, ref: "b" },
      { type: "ack", of: "progress", job_id: JOB, offset: 4 },
    ]);
    expect(frames.filter(({ type }) => type !== "ack").map(({ offset }) => offset)).toEqual([
      2, 3, 4,
    ]);
  });

  it("sent again with their id are stored once, and answered with their first place (B4a)", async () => {
    const job = await JobHost.make();
    const backend = await job.follow(BACKEND);
    await ask(backend, { type: "output", delta: "x", id: "1" });
    await job.hibernate();
    const again = await ask(backend, { type: "output", delta: "x", id: "1", ref: 1 });
    expect(again).toEqual([{ type: "ack", of: "output", job_id: JOB, offset: 3, ref: 1 }]);
    expect(await job.report("output", { delta: "x", id: "1" })).toMatchObject({ offset: 3 });
    expect(await job.read()).toMatchObject({ output: "x" });
  });

  it("are refused with their `ref`: without the right, about no job, after the end (B9)", async () => {
    const job = await JobHost.start();
    const backend = await job.wait(BACKEND);
    const frame = { type: "progress", progress: 1, ref: 7 };
    expect(await ask(backend, frame)).toMatchObject([
      { type: "error", code: "job_not_found", ref: 7, job_id: JOB },
    ]);
    await job.create();
    const stranger = await job.follow();
    const reader = await job.follow(user({ rooms: ["*"] }));
    for (const socket of [stranger, reader]) {
      expect(await ask(socket, frame)).toMatchObject([
        { type: "error", code: "not_allowed", ref: 7 },
      ]);
      expect(socket.closed).toBe(null);
    }
    backend.take();
    backend.push({ type: "complete", result: 1, ref: 1 });
    backend.push({ type: "progress", progress: 2, ref: 2 });
    await pass(5);
    expect(backend.take().filter(({ ref }) => ref !== undefined)).toMatchObject([
      { type: "ack", ref: 1 },
      { type: "error", code: "job_ended", ref: 2 },
    ]);
  });

  it("that cancel are told to every socket that may report, before the end (B10)", async () => {
    const job = await JobHost.make();
    const backend = await job.follow(BACKEND);
    const writer = await job.follow(user({ publish: ["*"] }));
    const viewer = await job.follow();
    for (const socket of [backend, writer, viewer]) socket.take();
    await job.report("cancel", { reason: "enough" });
    for (const socket of [backend, writer]) {
      expect(socket.take()).toMatchObject([
        { type: "cancel", job_id: JOB, reason: "enough" },
        { type: "progress", status: "canceled" },
      ]);
    }
    expect(viewer.take()).toMatchObject([{ type: "progress", status: "canceled" }]);
  });

  it("that end it otherwise tell nobody to stop", async () => {
    const job = await JobHost.make();
    const backend = await job.follow(BACKEND);
    await job.report("fail", { code: "x", message: "y" });
    expect(backend.takeOnly("cancel")).toEqual([]);
  });

  it("that are malformed close the socket when three come in a row, not three in all (S6a)", async () => {
    const job = await JobHost.make();
    const backend = await job.follow(BACKEND);
    for (let round = 0; round < 3; round += 1) {
      await ask(backend, "{");
      expect(await ask(backend, { type: "wish" })).toMatchObject([{ type: "error" }]);
      await job.hibernate();
      await ask(backend, { type: "pong" });
    }
    expect(backend.closed).toBe(null);
    await ask(backend, "{");
    await job.hibernate();
    await ask(backend, "{");
    expect(backend.closed).toBe(null);
    backend.push("{");
    backend.push({ type: "complete", result: 1 });
    await pass(5);
    expect(backend.closed?.code).toBe(4400);
    expect(await job.read()).toMatchObject({ status: "queued" });
  });

  it("that are too large close the socket with 1009 (C3)", async () => {
    const job = await JobHost.make();
    const backend = await job.follow(BACKEND);
    await ask(backend, { type: "output", delta: "x".repeat(1_048_576) });
    expect(backend.closed?.code).toBe(1009);
  });
});

describe("the monitor", () => {
  it("is told of a job's state and sockets, and of its erasure", async () => {
    const job = await JobHost.make({ result_ttl_s: 100 });
    const viewer = await job.follow();
    await job.report("progress", { progress: 20 });
    await pass(2_000);
    expect(job.reports.at(-1)).toMatchObject({
      kind: "job",
      connections: 1,
      jobs_with_connections: 1,
      jobs: { active: 1, completed: 0, failed: 0, canceled: 0 },
      recent: [{ id: JOB, space: null, status: "processing", progress: 20 }],
    });
    viewer.leave(1001);
    await pass(2_000);
    expect(job.reports.at(-1)).toMatchObject({ connections: 0, jobs_with_connections: 0 });
    await job.hibernate();
    await job.report("fail", { code: "x", message: "y" });
    await pass(2_000);
    expect(job.reports.at(-1)).toMatchObject({
      jobs: { active: 0, completed: 0, failed: 1, canceled: 0 },
    });
    await pass(110_000);
    expect(job.reports.at(-1)).toBe(null);
  });
});
