import { describe, expect, it, vi } from "vitest";
import { pass, runInFakeRuntime } from "../support/runtime/globals.ts";
import { ask, BACKEND, JOB, JobHost, user } from "./job-host.ts";

runInFakeRuntime();

describe("a socket of a job without a space", () => {
  it("is closed with 1000 after the end, and one that comes later too (S13a)", async () => {
    const job = await JobHost.make();
    const viewer = await job.follow();
    viewer.take();
    await job.report("complete", { result: { ok: 1 }, output_path: "s3://x" });
    expect(viewer.take()).toMatchObject([
      { status: "completed", progress: 100, result: { ok: 1 }, output_path: "s3://x", offset: 2 },
    ]);
    expect(viewer.closed).toEqual({ code: 1000, reason: "The job has ended." });
    const late = await job.follow();
    expect(late.take()).toMatchObject([{ offset: 2, recovered: false }, { status: "completed" }]);
    expect(late.closed?.code).toBe(1000);
  });

  it("gets a gap where the log was trimmed, and pieces of the last attempt alone (C11a, B14)", async () => {
    const job = await JobHost.make();
    await job.report("output", { delta: "first" });
    await job.report("progress", { status: "queued" });
    for (let piece = 0; piece < 4; piece += 1) {
      await job.report("output", { delta: `${piece}${"x".repeat(100_000)}` });
    }
    const frames = (await job.follow()).take();
    expect(frames.map(({ type }) => type)).toEqual([
      "connection",
      "output",
      "output",
      "output",
      "output",
      "progress",
    ]);
    expect(frames.every(({ attempt }) => attempt === undefined || attempt === 2)).toBe(true);
    for (let piece = 0; piece < 10; piece += 1) {
      await job.report("output", { delta: "x".repeat(150_000) });
    }
    const trimmed = (await job.follow()).take();
    expect(trimmed.slice(0, 2)).toMatchObject([{ type: "connection" }, { type: "gap" }]);
    expect(trimmed[2]?.offset).toBe(Number(trimmed[1]?.offset) + 1);
    expect(await job.read()).toMatchObject({ output_truncated: true });
  });

  it("gets what was held back after a sleep; a gap and a snapshot if it was dropped meanwhile (C11a)", async () => {
    const job = await JobHost.make();
    const viewer = await job.follow({ maxRate: 1 });
    for (const progress of [1, 2, 3]) await job.report("progress", { progress });
    await job.host.hibernate();
    const frames = viewer.take();
    expect(frames.at(-1)).toMatchObject({ progress: 3, offset: 4 });
    await job.host.hibernate();
    expect(viewer.take()).toEqual([]);
    for (const progress of [4, 5]) await job.report("progress", { progress });
    for (let piece = 0; piece < 7; piece += 1) {
      await job.report("output", { delta: "x".repeat(250_000) });
    }
    viewer.take();
    await job.host.hibernate();
    const after = viewer.take();
    expect(after[0]).toMatchObject({ type: "gap" });
    expect(after.at(-1)).toMatchObject({ type: "progress", offset: 13 });
  });

  it("gets `ping` every so often if it asked for that, also after a sleep (B11a)", async () => {
    const job = await JobHost.make();
    const viewer = await job.follow({ pingS: 10 });
    const silent = await job.follow();
    viewer.take();
    silent.take();
    await pass(9_500);
    expect(viewer.take()).toEqual([]);
    await pass(1_000);
    expect(viewer.take()).toEqual([{ type: "ping", timestamp: expect.any(String) }]);
    await job.host.hibernate();
    await pass(25_000);
    expect(viewer.takeOnly("ping")).toHaveLength(2);
    expect(silent.take()).toEqual([]);
  });

  it("is answered `pong` with its `ref`, and may send `pong` itself (B11, B11a)", async () => {
    const job = await JobHost.make();
    const viewer = await job.follow();
    expect(await ask(viewer, { type: "ping", ref: "r" })).toEqual([
      { type: "pong", timestamp: expect.any(String), ref: "r" },
    ]);
    expect(await ask(viewer, { type: "pong" })).toEqual([]);
  });

  it("that pinged and then says nothing for 3 minutes may be closed, any sign of life counts (B11b)", async () => {
    const job = await JobHost.make();
    const [gone, alive, once, framed] = [
      await job.follow(),
      await job.follow(),
      await job.follow(),
      await job.follow(),
    ];
    // A socket whose pings from the edge wake the object, so that it looks at the others.
    await job.follow({ pingS: 20 });
    once.push("ping");
    await pass(20_000);
    for (const socket of [gone, alive, framed]) socket.push("ping");
    for (let passed = 0; passed < 9; passed += 1) {
      await pass(20_000 - (passed === 8 ? 2_000 : 0));
      alive.push("ping");
      if (passed % 2 === 1) framed.push({ type: "pong" });
    }
    expect(gone.closed).toBe(null);
    await pass(25_000);
    expect(gone.closed?.code).toBe(1001);
    expect([alive, once, framed].map(({ closed }) => closed)).toEqual([null, null, null]);
    await job.host.hibernate();
    await pass(60_000);
    expect(framed.closed).toBe(null);
  });

  it("is closed by its client with an answer (C15)", async () => {
    const job = await JobHost.make();
    const viewer = await job.follow();
    viewer.leave(4567, "bye");
    await pass(5);
    expect(viewer.answered).toEqual({ code: 4567, reason: "bye" });
  });

  it("has a gap in its snapshot as soon as the first event alone was dropped (C11a)", async () => {
    const job = await JobHost.make();
    for (let piece = 0; piece < 5; piece += 1) {
      await job.report("output", { delta: "x".repeat(200_000) });
    }
    await job.report("output", { delta: "x".repeat(45_000) });
    let frames = (await job.follow()).take();
    for (let step = 0; step < 100 && frames[1]?.type !== "gap"; step += 1) {
      await job.report("output", { delta: "small" });
      frames = (await job.follow()).take();
    }
    expect(frames[1]).toMatchObject({ type: "gap", offset: 1 });
  });

  it("whose frames change nothing writes nothing of the job", async () => {
    const job = await JobHost.make();
    const backend = await job.follow(BACKEND);
    const { writes } = job.host;
    await ask(backend, { type: "ping" });
    await ask(backend, "{");
    expect(job.host.writes).toBe(writes);
    await ask(backend, { type: "progress", progress: 1 });
    expect(job.host.writes).toBeGreaterThan(writes);
  });

  it("is not written to storage for each of its frames", async () => {
    const job = await JobHost.make();
    const viewer = await job.follow();
    const stored = vi.spyOn(viewer, "serializeAttachment");
    for (let second = 0; second < 100; second += 1) {
      viewer.push({ type: "pong" });
      await pass(1_000);
    }
    expect(stored).toHaveBeenCalledTimes(3);
  });

  it("of a private job is closed with 4401 when its token expires; of a public one it isn't (B7a)", async () => {
    for (const visibility of ["private", "public"]) {
      const job = await JobHost.make({ visibility });
      const expiresAt = Date.now() + 60_000;
      const reader = await job.follow(user({ rooms: ["*"], expiresAt }));
      const writer = await job.follow(user({ publish: ["*"], expiresAt }));
      await job.host.hibernate();
      await pass(59_000);
      expect(await ask(writer, { type: "progress", progress: 1, ref: 1 })).toMatchObject([
        { type: "ack" },
        { type: "progress" },
      ]);
      expect([reader.closed, writer.closed]).toEqual([null, null]);
      await pass(2_000);
      if (visibility === "private") {
        expect([reader.closed?.code, writer.closed?.code]).toEqual([4401, 4401]);
        expect(reader.takeOnly("error")).toMatchObject([{ code: "not_authenticated" }]);
      } else {
        expect(await ask(writer, { type: "progress", progress: 2, ref: 2 })).toMatchObject([
          { type: "error", code: "not_authenticated", ref: 2 },
        ]);
        expect([reader.closed, writer.closed]).toEqual([null, null]);
      }
    }
  });

  it("that was closed here gets nothing more, and nothing is remembered of it", async () => {
    const job = await JobHost.make({ visibility: "private" });
    const expiresAt = Date.now() + 5_000;
    const viewer = await job.follow({ ...user({ rooms: ["*"], expiresAt }), maxRate: 1 });
    await pass(4_900);
    for (const progress of [1, 2, 3]) await job.report("progress", { progress });
    await pass(200);
    expect(viewer.closed?.code).toBe(4401);
    const { length } = viewer.messages;
    await pass(5_000);
    expect(viewer.messages).toHaveLength(length);
    expect(viewer.deserializeAttachment()).toBe(null);
  });

  it("of a private job is told nothing any more from the moment its token expires, however late the alarm is (B7a)", async () => {
    const job = await JobHost.make({ visibility: "private" });
    const expiresAt = Date.now() + 60_000;
    const viewer = await job.follow(user({ rooms: ["*"], expiresAt }));
    const other = await job.follow(user({ rooms: ["*"] }));
    viewer.take();
    other.take();
    vi.setSystemTime(expiresAt);
    await job.object.report(JSON.stringify({ type: "progress", progress: 5 }));
    expect(viewer.takeOnly("progress")).toEqual([]);
    expect(viewer.closed?.code).toBe(4401);
    expect(other.takeOnly("progress")).toMatchObject([{ progress: 5 }]);
  });

  it("of a private job is refused to strangers (B6a)", async () => {
    const job = await JobHost.make({ visibility: "private" });
    await expect(job.follow()).rejects.toThrow("not_allowed");
    await expect(job.follow(user({ rooms: ["job:another"] }))).rejects.toThrow("not_allowed");
    await expect(job.follow(user({ publish: [`job:${JOB}`] }))).resolves.toBeDefined();
    expect(await job.read()).toBe("not_allowed");
    expect(await job.read(true)).toMatchObject({ id: JOB, visibility: "private" });
    expect(job.host.openSockets).toHaveLength(1);
  });

  it("of a private job is opened by the user it was made for (B6d)", async () => {
    const job = await JobHost.make({ visibility: "private", user: "ann" });
    await expect(job.follow(user())).resolves.toBeDefined();
    const ben = { ...user().principal, userId: "ben" } as ReturnType<typeof user>["principal"];
    await expect(job.follow({ principal: ben })).rejects.toThrow("not_allowed");
    const key = { kind: "key", keyId: "k", userId: "ann", role: "member", space: null } as const;
    const asKey = (scopes: string[]) =>
      job.follow({ principal: { ...key, scopes, expiresAt: null } });
    await expect(asKey(["jobs:write"])).rejects.toThrow("not_allowed");
    await expect(asKey(["jobs:read"])).resolves.toBeDefined();
    expect((await job.object.job(false, "ben")).ok).toBe(false);
    expect((await job.object.job(false, "ann")).ok).toBe(true);
  });

  it("that acknowledges too little is closed with 4429, the others get everything (B13)", async () => {
    const job = await JobHost.make();
    const slow = await job.follow({ acks: true });
    const quick = await job.follow();
    for (let piece = 0; piece < 8; piece += 1) {
      await job.report("output", { delta: "x".repeat(200_000) });
    }
    expect(slow.closed?.code).toBe(4429);
    expect(quick.takeOnly("output")).toHaveLength(8);
  });

  it("that acknowledges what it gets stays open (B13)", async () => {
    const job = await JobHost.make();
    const viewer = await job.follow({ acks: true });
    for (let piece = 0; piece < 10; piece += 1) {
      await job.report("output", { delta: "x".repeat(200_000) });
      await ask(viewer, { type: "ack", offset: viewer.take().at(-1)?.offset });
    }
    expect(viewer.closed).toBe(null);
  });
});

describe("a client that may not report", () => {
  it("is closed with 4429 if it sends more than a thousand frames at once; an `ack` counts as a tenth (B9b)", async () => {
    const job = await JobHost.make();
    const viewer = await job.follow({ acks: true });
    for (let count = 0; count < 500; count += 1) await job.report("output", { delta: "x" });
    // It has had time to send as much as it may again.
    await pass(2_000);
    for (const { offset } of viewer.takeOnly("output")) viewer.push({ type: "ack", offset });
    for (let count = 0; count < 949; count += 1) viewer.push({ type: "pong" });
    await pass(1);
    expect(viewer.closed).toBe(null);
    for (let count = 0; count < 10; count += 1) viewer.push({ type: "ack", offset: 1 });
    await pass(5);
    expect(viewer.closed?.code).toBe(4429);
    expect(viewer.takeOnly("error")).toMatchObject([{ code: "rate_limited" }]);
  });

  it("may send five hundred a second in the long run (B9b)", async () => {
    const job = await JobHost.make();
    const viewer = await job.follow();
    for (let second = 0; second < 6; second += 1) {
      for (let count = 0; count < 490; count += 1) viewer.push({ type: "pong" });
      await pass(1_000);
    }
    expect(viewer.closed).toBe(null);
  });

  it("that may, is not limited (B9b)", async () => {
    const job = await JobHost.make();
    const backend = await job.follow(BACKEND);
    for (let count = 0; count < 3_000; count += 1) backend.push({ type: "pong" });
    await pass(5);
    expect(backend.closed).toBe(null);
  });
});
