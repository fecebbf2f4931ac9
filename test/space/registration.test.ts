import { describe, expect, it } from "vitest";
import { pass, runInFakeRuntime } from "../support/runtime/globals.ts";
import { SpaceHost } from "./space-host.ts";

runInFakeRuntime();

describe("the socket of a worker", () => {
  it("that never registers is closed with 4408 after 10 seconds, and not before (W6)", async () => {
    const space = await SpaceHost.make();
    const worker = await space.dial();
    await pass(9_900);
    expect(worker.closed).toBe(null);
    await pass(200);
    expect(worker.closed?.code).toBe(4408);
    expect(worker.takeOnly("error")).toMatchObject([{ code: "register_timeout" }]);
  });

  it("that never registers is closed even if the object slept meanwhile (W6)", async () => {
    const space = await SpaceHost.make();
    const worker = await space.dial();
    await space.host.hibernate();
    await pass(10_100);
    expect(worker.closed?.code).toBe(4408);
  });

  it("that never registers is closed then, although something else was due before (W6)", async () => {
    const space = await SpaceHost.make({ offline: "queue", queue_timeout_s: 5 });
    await space.submit();
    await space.host.hibernate();
    const worker = await space.dial();
    await pass(9_900);
    expect(space.host.alarms).toBe(1);
    expect(worker.closed).toBe(null);
    await pass(200);
    expect(worker.closed?.code).toBe(4408);
  });

  it("that has registered isn't closed for that", async () => {
    const space = await SpaceHost.make();
    const worker = await space.connect();
    await pass(12_000);
    expect(worker.closed).toBe(null);
  });

  it("is greeted with one `hello`, whatever happens before it registers (W5)", async () => {
    const space = await SpaceHost.make();
    const worker = await space.dial();
    await space.connect({ worker_id: "another" });
    await space.submit();
    await space.host.hibernate();
    await pass(5_000);
    expect(worker.takeOnly("hello")).toMatchObject([
      {
        type: "hello",
        protocol: "dialout.worker.v1",
        space: "demo",
        heartbeat_s: 10,
        lease_s: 30,
        max_frame_bytes: 1_048_576,
        batch: false,
      },
    ]);
  });

  it("says in `hello` how many places are taken, and takes none until it registers (W5, W6c)", async () => {
    const space = await SpaceHost.make({ max_workers: 2 });
    const serving = await space.connect({ worker_id: "serving" });
    const asking = await space.dial();
    expect(asking.take()).toMatchObject([{ type: "hello", workers: 1, max_workers: 2 }]);
    asking.leave(1000);
    await pass();
    const second = await space.connect({ worker_id: "second" });
    expect(second.takeOnly("registered")).toHaveLength(1);
    expect(serving.closed).toBe(null);
  });

  it("says in `hello` whether the worker may send batches (W5, C6a)", async () => {
    const space = await SpaceHost.make();
    const worker = await space.dial({ batch: true });
    expect(worker.take()).toMatchObject([{ type: "hello", batch: true }]);
  });

  it("that sends another frame before `register` is closed with 4400 (W6)", async () => {
    const space = await SpaceHost.make();
    const worker = await space.dial();
    worker.push({ type: "drain" });
    await pass();
    expect(worker.takeOnly("error")).toMatchObject([{ code: "not_registered" }]);
    expect(worker.closed?.code).toBe(4400);
  });
});

describe("a second `register` on a connection", () => {
  it("changes nothing: neither generation, name, places nor running attempts (W8)", async () => {
    const space = await SpaceHost.make();
    const worker = await space.connect({ name: "first", concurrency: 2 });
    const id = await space.submit();
    worker.take();
    worker.push({ type: "register", worker_id: "worker-1", name: "second", concurrency: 9 });
    await pass();
    expect(worker.take()).toMatchObject([{ type: "error", code: "already_registered" }]);
    expect(worker.closed).toBe(null);
    expect((await space.describe()).status.worker_name).toBe("first");
    await space.complete(worker, id, "done");
    expect(worker.take()).toMatchObject([{ type: "ack", job_id: id }]);
    const next = await space.connect({ worker_id: "worker-1" });
    expect(next.takeOnly("registered")).toMatchObject([{ generation: 2 }]);
  });
});

describe("a worker for which there is no place", () => {
  it("is refused with 4409, and the one that is there is not disturbed (W7)", async () => {
    const space = await SpaceHost.make();
    const first = await space.connect({ worker_id: "first" });
    const second = await space.connect({ worker_id: "second" });
    expect(second.closed?.code).toBe(4409);
    const [error] = second.takeOnly("error");
    expect(error).toMatchObject({ code: "space_occupied" });
    expect(error?.message).toContain("Another worker serves the space demo");
    expect(first.closed).toBe(null);
    await space.submit();
    expect(first.takeOnly("job")).toHaveLength(1);
  });

  it("finds one when the space has more places, up to their number (W7)", async () => {
    const space = await SpaceHost.make({ max_workers: 2 });
    await space.connect({ worker_id: "first" });
    const second = await space.connect({ worker_id: "second" });
    const third = await space.connect({ worker_id: "third" });
    expect(second.closed).toBe(null);
    expect(third.closed?.code).toBe(4409);
    expect(third.takeOnly("error")[0]?.message).toContain("2 workers serve the space demo");
  });

  it("finds the place of one that has been silent for its lease (W7b)", async () => {
    const space = await SpaceHost.make();
    const first = await space.connect({ worker_id: "first" });
    await pass(31_000);
    const second = await space.connect({ worker_id: "second" });
    expect(first.closed?.code).toBe(1001);
    expect(second.takeOnly("registered")).toHaveLength(1);
  });

  it("replaces an older connection of its own (W7a)", async () => {
    const space = await SpaceHost.make();
    const first = await space.connect();
    const second = await space.connect();
    expect(first.closed?.code).toBe(4409);
    const [error] = first.takeOnly("error");
    expect(error).toMatchObject({ code: "replaced" });
    expect(error?.message).toContain(
      "with the worker id worker-1 took its place. If that is another",
    );
    expect(second.closed).toBe(null);
    await space.submit();
    expect(second.takeOnly("job")).toHaveLength(1);
  });
});

describe("a worker that comes back", () => {
  it("goes on with the attempts it lists, knows how many outputs arrived, and when they must end (W26, W26b)", async () => {
    const space = await SpaceHost.make({ job_timeout_s: 60 });
    const worker = await space.connect();
    const id = await space.submit();
    const [job] = worker.takeOnly("job");
    await space.report(worker, id, { type: "output", delta: "a" });
    await space.report(worker, id, { type: "output", delta: "b" });
    worker.leave(1006);
    await pass(5_000);
    const again = await space.connect({ resume: [{ job_id: id, attempt: 1 }] });
    expect(again.takeOnly("registered")).toMatchObject([
      {
        generation: 2,
        resumed: [{ job_id: id, attempt: 1, outputs: 2, deadline: job?.deadline }],
        dropped: [],
      },
    ]);
    await space.complete(again, id);
    expect(await space.statusOf(id)).toBe("completed");
  });

  it("is told again of a cancel that it has not answered, after `registered` (W27)", async () => {
    const space = await SpaceHost.make({ max_workers: 2 });
    const worker = await space.connect({ concurrency: 2 });
    const canceled = await space.submit();
    const other = await space.submit();
    await space.cancel(canceled);
    expect(worker.takeOnly("cancel")).toHaveLength(1);
    worker.leave(1006);
    await pass(1_000);
    const resume = [canceled, other].map((job_id) => ({ job_id, attempt: 1 }));
    const again = await space.connect({ concurrency: 2, resume });
    const frames = again.take();
    expect(frames.map(({ type }) => type)).toEqual(["hello", "registered", "cancel"]);
    expect(frames.at(-1)).toEqual({
      type: "cancel",
      job_id: canceled,
      attempt: 1,
      reason: "Canceled on request.",
    });
    const stranger = await space.connect({ worker_id: "stranger" });
    expect(stranger.takeOnly("cancel")).toEqual([]);
  });

  it("loses at once an attempt that it doesn't list (W25)", async () => {
    const space = await SpaceHost.make();
    const worker = await space.connect({ concurrency: 2 });
    const kept = await space.submit();
    const forgotten = await space.submit();
    worker.leave(1006);
    const again = await space.connect({ resume: [{ job_id: kept, attempt: 1 }], concurrency: 2 });
    expect(again.takeOnly("job")).toMatchObject([{ job_id: forgotten, attempt: 2 }]);
    expect(await space.job(kept)).toMatchObject({ status: "processing", attempt: 1 });
  });

  it("is told which attempts it must drop: ended, of another attempt, of another space (W25a)", async () => {
    const space = await SpaceHost.make();
    const worker = await space.connect({ concurrency: 3 });
    const ended = await space.submit();
    const running = await space.submit();
    await space.complete(worker, ended);
    worker.leave(1006);
    const resume = [
      { job_id: ended, attempt: 1 },
      { job_id: running, attempt: 2 },
      { job_id: running, attempt: 1 },
      { job_id: "elsewhere.01KA7Z3QK0ABCDEFGHJKMNPQRS", attempt: 1 },
    ];
    const again = await space.connect({ resume, concurrency: 3 });
    const [registered] = again.takeOnly("registered");
    expect(registered?.resumed).toMatchObject([{ job_id: running, attempt: 1 }]);
    expect(registered).toMatchObject({ dropped: [resume[0], resume[1], resume[3]] });
  });

  it("loses its attempts when others take every place meanwhile, and only then (W24b)", async () => {
    const space = await SpaceHost.make({ max_workers: 2 });
    const first = await space.connect({ worker_id: "first" });
    const id = await space.submit();
    first.leave(1006);
    const second = await space.connect({ worker_id: "second" });
    expect(await space.job(id)).toMatchObject({ status: "processing", attempt: 1 });
    expect(second.takeOnly("job")).toEqual([]);
    const third = await space.connect({ worker_id: "third" });
    const jobs = [second, third].flatMap((worker) => worker.takeOnly("job"));
    expect(jobs).toMatchObject([{ job_id: id, attempt: 2 }]);
    const late = await space.connect({
      worker_id: "first",
      resume: [{ job_id: id, attempt: 1 }],
    });
    expect(late.closed?.code).toBe(4409);
  });

  it("keeps its attempts if it is the one that takes the last place (W24b)", async () => {
    const space = await SpaceHost.make();
    const worker = await space.connect();
    const id = await space.submit();
    worker.leave(1006);
    const again = await space.connect({ resume: [{ job_id: id, attempt: 1 }] });
    expect(again.takeOnly("registered")).toMatchObject([{ resumed: [{ job_id: id }] }]);
  });
});
