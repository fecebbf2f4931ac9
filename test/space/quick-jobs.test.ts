import { describe, expect, it } from "vitest";
import { pass, runInFakeRuntime } from "../support/runtime/globals.ts";
import { SpaceHost, submitOver } from "./space-host.ts";

runInFakeRuntime();

describe("a new job that ends at once", () => {
  it("is answered with its end: it isn't reported before (S9)", async () => {
    const space = await SpaceHost.make();
    const worker = await space.connect();
    await space.complete(worker, await space.submit());
    worker.take();
    const viewer = await space.follow();
    viewer.take();
    viewer.push({ type: "submit", ref: 1, input: {} });
    await pass(1);
    const [job] = worker.takeOnly("job");
    expect(viewer.take()).toEqual([]);
    expect(space.host.sql("SELECT * FROM jobs WHERE status <> 'completed'")).toEqual([]);
    worker.push({ type: "result", job_id: job?.job_id, attempt: 1, output: 5 });
    await pass(1);
    expect(viewer.takeOnly("accepted")).toHaveLength(1);
    expect(viewer.messages.some((text) => text.includes('"result":5'))).toBe(true);
  });

  it("is stored and reported after 10 ms if it doesn't end, and a restart loses nothing that was reported", async () => {
    const space = await SpaceHost.make();
    const worker = await space.connect();
    await space.complete(worker, await space.submit());
    const viewer = await space.follow();
    viewer.take();
    viewer.push({ type: "submit", ref: 1, input: {} });
    await pass(5);
    expect(viewer.take()).toEqual([]);
    await pass(6);
    const [accepted] = viewer.takeOnly("accepted");
    const id = String(accepted?.job_id);
    await space.host.restart();
    expect(await space.statusOf(id)).toBe("processing");
  });

  it("is stored as soon as somebody asks for it, follows it or its worker reports anything else", async () => {
    const space = await SpaceHost.make();
    const worker = await space.connect();
    await space.complete(worker, await space.submit());
    const viewer = await space.follow();
    const next = async () => {
      worker.take();
      viewer.take();
      viewer.push({ type: "submit", ref: 1, input: {} });
      await pass(1);
      const [job] = worker.takeOnly("job");
      return String(job?.job_id);
    };
    const asked = await next();
    expect(await space.statusOf(asked)).toBe("processing");
    expect(viewer.takeOnly("accepted")).toHaveLength(1);
    await space.complete(worker, asked);
    const followed = await next();
    await space.followJob(followed);
    expect(viewer.takeOnly("accepted")).toHaveLength(1);
    await space.complete(worker, followed);
    const reported = await next();
    await space.report(worker, reported, { type: "output", delta: 1 });
    expect(viewer.take().map(({ type }) => type)).toEqual([
      "accepted",
      "progress",
      "progress",
      "output",
    ]);
    await space.complete(worker, reported);
  });

  it("is stored at once where jobs usually take longer", async () => {
    const space = await SpaceHost.make();
    const worker = await space.connect();
    const id = await space.submit();
    await pass(500);
    await space.complete(worker, id);
    const viewer = await space.follow();
    viewer.take();
    viewer.push({ type: "submit", ref: 1, input: {} });
    await pass(1);
    expect(viewer.takeOnly("accepted")).toHaveLength(1);
  });

  it("is accepted before its socket is closed for other frames of the same turn (S9)", async () => {
    const space = await SpaceHost.make();
    const worker = await space.connect();
    await space.complete(worker, await space.submit());
    const viewer = await space.follow({ as: { local: true } });
    viewer.take();
    viewer.push({ type: "submit", ref: 1, input: {} });
    for (let count = 0; count < 3; count += 1) viewer.push("{");
    await pass(1);
    const types = viewer.take().map(({ type }) => type);
    expect(types.filter((type) => type !== "progress")).toEqual([
      "accepted",
      "error",
      "error",
      "error",
    ]);
    expect(viewer.closed?.code).toBe(4400);
  });

  it("is lost with a crash before that, and nobody was promised anything: its frames are stale", async () => {
    const space = await SpaceHost.make();
    const worker = await space.connect();
    await space.complete(worker, await space.submit());
    const viewer = await space.follow();
    worker.take();
    viewer.take();
    viewer.push({ type: "submit", ref: 1, input: {} });
    await pass(1);
    const [job] = worker.takeOnly("job");
    await space.host.hibernate();
    expect(viewer.take()).toEqual([]);
    await space.complete(worker, String(job?.job_id));
    expect(worker.take()).toMatchObject([{ type: "stale" }]);
    const next = await submitOver(viewer);
    expect(next.slice(5) > String(job?.job_id).slice(5)).toBe(true);
  });
});
