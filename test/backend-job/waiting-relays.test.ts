import { describe, expect, it } from "vitest";
import { pass, runInFakeRuntime } from "../support/runtime/globals.ts";
import { JOB, JobHost, user } from "./job-host.ts";

runInFakeRuntime();

const HOUR_MS = 3_600_000;
const MINUTE_MS = 60_000;

describe("a socket that waits for a job, as the Worker opens it", () => {
  it("gets `pending`, and the job's events from the first on, in the epoch it was told (B8)", async () => {
    const job = await JobHost.start();
    const viewer = await job.wait();
    const [connection, pending] = viewer.take();
    expect(connection).toMatchObject({ type: "connection", job_id: JOB, offset: 0 });
    expect(pending).toMatchObject({ status: "pending", offset: 0, progress: 0, attempt: 0 });
    await job.create();
    await job.report("progress", { progress: 5 });
    expect(viewer.take()).toMatchObject([
      { status: "queued", offset: 1 },
      { status: "processing", progress: 5, offset: 2 },
    ]);
    const back = await job.follow({ since: `${connection?.epoch}:1` });
    expect(back.take()).toMatchObject([{ recovered: true, offset: 1 }, { offset: 2 }]);
  });

  it("keeps the epoch it was told over a sleep, together with those that come later (B8)", async () => {
    const job = await JobHost.start();
    const first = await job.wait();
    const [{ epoch } = { epoch: "" }] = first.take();
    await job.hibernate();
    const second = await job.wait({ since: `${epoch}:0` });
    expect(second.take()).toMatchObject([{ epoch, recovered: true, offset: 0 }]);
    await job.create();
    await pass(5);
    for (const socket of [first, second]) {
      expect(socket.take()).toMatchObject([{ status: "queued", offset: 1 }]);
    }
    expect((await job.follow()).take()[0]).toMatchObject({ epoch });
  });

  it("is closed with 4404 after an hour if nobody makes the job, and not before (B8b)", async () => {
    const job = await JobHost.start();
    const viewer = await job.wait();
    await pass(HOUR_MS - 1_000);
    expect(viewer.closed).toBe(null);
    await pass(2_000);
    expect(viewer.closed?.code).toBe(4404);
    expect(viewer.takeOnly("error")).toMatchObject([
      { code: "job_not_found", job_id: JOB, message: "Nobody made this job." },
    ]);
    expect([job.index.alarmAt, job.host.alarmAt]).toEqual([null, null]);
  });

  it("stays open once the job is made, also if the object sleeps before the hour is over (B8, B8b)", async () => {
    const job = await JobHost.start();
    const viewer = await job.wait();
    await pass(30 * MINUTE_MS);
    await job.create();
    await job.hibernate();
    await pass(2 * HOUR_MS);
    expect(viewer.closed).toBe(null);
    viewer.take();
    await job.report("progress", { progress: 1 });
    expect(viewer.take()).toMatchObject([{ progress: 1 }]);
  });

  it("is closed with 4403 if the job is made private and it may not read it (B8a)", async () => {
    const job = await JobHost.start();
    const stranger = await job.wait();
    const reader = await job.wait(user({ rooms: [`job:${JOB}`] }));
    const writer = await job.wait(user({ publish: ["job:*"] }));
    const other = await job.wait(user({ rooms: ["job:another"] }));
    await job.create({ visibility: "private" });
    expect([stranger, reader, writer, other].map(({ closed }) => closed?.code)).toEqual([
      4403,
      undefined,
      undefined,
      4403,
    ]);
    expect(stranger.takeOnly("error")).toMatchObject([{ code: "not_allowed" }]);
    expect(reader.takeOnly("progress").at(-1)).toMatchObject({ status: "queued" });
    await job.report("complete", { result: 1 });
    expect(stranger.takeOnly("progress")).toEqual([]);
  });

  it("is closed with 4401 if its token expired before the job is made private; a public one it may follow (B7b)", async () => {
    for (const visibility of ["private", "public"]) {
      const job = await JobHost.start();
      const expiresAt = Date.now() + MINUTE_MS;
      const reader = await job.wait(user({ rooms: [`job:${JOB}`], expiresAt }));
      const writer = await job.wait(user({ publish: [`job:${JOB}`], expiresAt }));
      for (const socket of [reader, writer]) socket.take();
      await pass(MINUTE_MS);
      await job.create({ visibility, message: "secret" });
      for (const socket of [reader, writer]) {
        const isPrivate = visibility === "private";
        expect(socket.closed?.code).toBe(isPrivate ? 4401 : undefined);
        expect(socket.take()).toMatchObject([
          isPrivate
            ? { type: "error", code: "not_authenticated", job_id: JOB }
            : { type: "progress", message: "secret" },
        ]);
      }
    }
  });

  it("is refused if it asks for a job that exists (B8b)", async () => {
    const job = await JobHost.start();
    await expect(job.wait({ mustExist: true })).rejects.toThrow("job_not_found");
    await expect(job.follow()).rejects.toThrow("job_not_found");
    expect([...job.index.openSockets, ...job.host.openSockets]).toEqual([]);
  });
});
