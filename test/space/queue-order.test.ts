import { describe, expect, it } from "vitest";
import { pass, runInFakeRuntime } from "../support/runtime/globals.ts";
import type { FakeSocket } from "../support/runtime/socket.ts";
import { SpaceHost } from "./space-host.ts";

runInFakeRuntime();

/** What a follower was told of the job's place in the queue. */
function placesOf(viewer: FakeSocket): unknown[] {
  return viewer.takeOnly("progress").map(({ queue_position }) => queue_position);
}

describe("the place of a waiting job", () => {
  it("is sent to its followers when it has changed, about once a second, and once only", async () => {
    const space = await SpaceHost.make({ offline: "queue" });
    const ids = await space.submitAll([{}, {}, {}, {}]);
    const viewer = await space.followJob(ids[3] ?? "");
    expect(placesOf(viewer)).toEqual([4]);
    await space.cancel(ids[0] ?? "");
    await space.cancel(ids[1] ?? "");
    await pass(900);
    expect(placesOf(viewer)).toEqual([]);
    await pass(200);
    expect(viewer.take()).toEqual([
      {
        type: "progress",
        job_id: ids[3],
        status: "queued",
        progress: 0,
        estimated_remaining: null,
        message: null,
        output_path: null,
        queue_position: 2,
        attempt: 0,
        offset: 2,
        timestamp: expect.any(String),
      },
    ]);
    const another = await space.submit();
    await space.cancel(another);
    await pass(2_000);
    expect(placesOf(viewer)).toEqual([]);
    await space.cancel(ids[2] ?? "");
    await pass(1_100);
    expect(placesOf(viewer)).toEqual([1]);
  });

  it("is sent to the first twenty, and to those who followed before the object slept", async () => {
    const space = await SpaceHost.make({ offline: "queue" });
    const ids = await space.submitAll(Array.from({ length: 23 }, () => ({})));
    const inside = await space.followJob(ids[20] ?? "");
    const outside = await space.followJob(ids[22] ?? "");
    await space.host.hibernate();
    inside.take();
    outside.take();
    await space.cancel(ids[0] ?? "");
    await pass(1_100);
    expect(placesOf(inside)).toEqual([20]);
    expect(placesOf(outside)).toEqual([]);
    expect((await space.job(ids[22] ?? ""))?.queue_position).toBe(22);
  });

  it("is sent to a later follower even if an earlier one was sent the same", async () => {
    const space = await SpaceHost.make({ offline: "queue" });
    const ids = await space.submitAll([{}, {}, {}]);
    const first = await space.followJob(ids[2] ?? "");
    await space.cancel(ids[0] ?? "");
    await pass(1_100);
    expect(placesOf(first)).toEqual([3, 2]);
    first.leave(1000);
    const urgent = await space.submit({ priority: 1 });
    const second = await space.followJob(ids[2] ?? "");
    expect(placesOf(second)).toEqual([3]);
    await space.cancel(urgent);
    await pass(1_100);
    expect(placesOf(second)).toEqual([2]);
  });

  it("writes nothing while nobody follows a job", async () => {
    const space = await SpaceHost.make({ offline: "queue" });
    const ids = await space.submitAll([{}, {}]);
    await space.cancel(ids[0] ?? "");
    await pass(3_000);
    expect(space.host.sql("SELECT * FROM channel_log")).toEqual([]);
  });

  it("follows priority, then age, whatever the jobs require", async () => {
    const space = await SpaceHost.make({ offline: "queue", max_workers: 2 });
    const ids = await space.submitAll([
      {},
      { priority: 5 },
      { requires: ["gpu"] },
      { priority: 5, requires: ["gpu"] },
      { priority: -1 },
    ]);
    const places = await Promise.all(ids.map(async (id) => (await space.job(id))?.queue_position));
    expect(places).toEqual([3, 1, 4, 2, 5]);
    await space.host.hibernate();
    await space.cancel(ids[1] ?? "");
    const after = await Promise.all(ids.map(async (id) => (await space.job(id))?.queue_position));
    expect(after).toEqual([2, null, 3, 1, 4]);
    const worker = await space.connect({ concurrency: 5 });
    expect(worker.takeOnly("job").map(({ job_id }) => job_id)).toEqual([ids[0], ids[4]]);
    const able = await space.connect({ worker_id: "able", capabilities: ["gpu"], concurrency: 5 });
    expect(able.takeOnly("job").map(({ job_id }) => job_id)).toEqual([ids[3], ids[2]]);
  });
});

describe("the next job of a worker", () => {
  it("is that of the highest priority, then the oldest, whatever the jobs require", async () => {
    const space = await SpaceHost.make();
    const worker = await space.connect({ capabilities: ["gpu"] });
    let running = await space.submit();
    const gpu = { requires: ["gpu"] };
    const ids = await space.submitAll([
      {},
      { priority: 5, ...gpu },
      { priority: 9 },
      { priority: 5 },
      { ...gpu },
    ]);
    const viewer = await space.followJob(ids[0] ?? "");
    expect(placesOf(viewer)).toEqual([4]);
    worker.take();
    const order: string[] = [];
    for (let next = 0; next < 5; next += 1) {
      await space.complete(worker, running);
      running = String(worker.takeOnly("job")[0]?.job_id);
      order.push(running);
      if (next === 0) {
        await pass(1_100);
        expect(placesOf(viewer)).toEqual([3]);
      }
    }
    expect(order).toEqual([ids[2], ids[1], ids[3], ids[0], ids[4]]);
  });

  it("may be one that came in the same turn as the place became free", async () => {
    const space = await SpaceHost.make();
    const worker = await space.connect();
    const running = await space.submit();
    await pass(500);
    await space.submit();
    const submitter = await space.follow({ as: { local: true } });
    submitter.take();
    worker.take();
    submitter.push({ type: "submit", ref: 1, input: {}, priority: 1 });
    worker.push({ type: "result", job_id: running, attempt: 1, output: 1 });
    await pass(20);
    const [accepted] = submitter.takeOnly("accepted");
    expect(worker.takeOnly("job")).toMatchObject([{ job_id: accepted?.job_id }]);
  });
});
