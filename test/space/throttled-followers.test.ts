import { describe, expect, it } from "vitest";
import { JobHost } from "../backend-job/job-host.ts";
import { pass, runInFakeRuntime } from "../support/runtime/globals.ts";
import type { FakeSocket, Frame } from "../support/runtime/socket.ts";
import { SpaceHost } from "./space-host.ts";

runInFakeRuntime();

interface Options {
  maxRate?: number;
  acks?: boolean;
}

/** A job whose program reports, and a way to follow it: in a space, and without one. */
const JOBS = {
  "of a space": async () => {
    const space = await SpaceHost.make({ job_timeout_s: 3_600 });
    const worker = await space.connect();
    const id = await space.submit();
    return {
      follow: (options: Options) => space.followJob(id, options),
      report: (frame: Frame) => space.report(worker, id, frame),
      end: () => space.complete(worker, id, "done"),
    };
  },
  "without a space": async () => {
    const job = await JobHost.make();
    await job.report("progress");
    return {
      follow: (options: Options) => job.follow(options),
      report: async ({ type, ...fields }: Frame) => void (await job.report(type, fields)),
      end: async () => void (await job.report("complete", { result: "done" })),
    };
  },
};

/** The frames that came since, which must have every offset once, or count it as skipped. */
function framesOf(viewer: FakeSocket, after: number): Frame[] {
  const frames = viewer.take();
  let last = after;
  for (const { offset, skipped = 0 } of frames) {
    expect(offset).toBe(last + 1 + Number(skipped));
    last = Number(offset);
  }
  return frames;
}

describe.each(Object.entries(JOBS))("progress of a job %s", (_, makeJob) => {
  it("comes at most so often as `max_rate` says, the newest, and says how many were left out (S17a, S17b, B12)", async () => {
    const job = await makeJob();
    const viewer = await job.follow({ maxRate: 10 });
    const every = await job.follow({});
    viewer.take();
    every.take();
    const from = Date.now();
    let sent = 0;
    while (Date.now() - from < 2_000) {
      sent += 1;
      await job.report({ type: "progress", progress: sent % 100 });
      await pass(4);
    }
    await pass(200);
    const frames = framesOf(viewer, 2);
    expect(frames.length).toBeGreaterThanOrEqual(19);
    expect(frames.length).toBeLessThanOrEqual(22);
    expect(frames.at(-1)).toMatchObject({ progress: sent % 100, offset: 2 + sent });
    expect(framesOf(every, 2)).toHaveLength(sent);
  });

  it("is held back with the output behind it; output and the end are never left out (S17c, B12)", async () => {
    const job = await makeJob();
    const viewer = await job.follow({ maxRate: 1 });
    viewer.take();
    for (let step = 1; step <= 5; step += 1) {
      await job.report({ type: "progress", progress: step });
      await job.report({ type: "output", delta: step });
    }
    await job.end();
    const frames = framesOf(viewer, 2);
    expect(frames.filter(({ type }) => type === "output").map(({ delta }) => delta)).toEqual([
      1, 2, 3, 4, 5,
    ]);
    expect(frames.at(-1)).toMatchObject({ status: "completed", result: "done" });
    expect(viewer.closed?.code).toBe(1000);
  });

  it("comes at once if it is slower than the rate (S17a)", async () => {
    const job = await makeJob();
    const viewer = await job.follow({ maxRate: 2 });
    viewer.take();
    for (let step = 1; step <= 5; step += 1) {
      await job.report({ type: "progress", progress: step });
      expect(framesOf(viewer, 1 + step)).toMatchObject([{ progress: step }]);
      await pass(600);
    }
  });

  it("comes every 50 ms at most to a client that is 64 KiB behind, and all at once when it has caught up (S18a, B13)", async () => {
    const job = await makeJob();
    const viewer = await job.follow({ acks: true });
    viewer.take();
    await job.report({ type: "output", delta: "x".repeat(70_000) });
    viewer.take();
    for (let step = 1; step <= 100; step += 1) {
      await job.report({ type: "progress", progress: step });
      await pass(4);
    }
    const slow = framesOf(viewer, 3);
    expect(slow.length).toBeGreaterThanOrEqual(8);
    expect(slow.length).toBeLessThanOrEqual(14);
    const last = Number(slow.at(-1)?.offset);
    await job.report({ type: "progress", progress: 1 });
    viewer.push({ type: "ack", offset: last });
    await pass(1);
    expect(framesOf(viewer, last).at(-1)).toMatchObject({ progress: 1, offset: 104 });
    for (let step = 1; step <= 10; step += 1) {
      await job.report({ type: "progress", progress: step });
    }
    expect(framesOf(viewer, 104)).toHaveLength(10);
  });
});
