import { describe, expect, it } from "vitest";
import { ADMIN } from "../support/callers.ts";
import { pass, runInFakeRuntime, START } from "../support/runtime/globals.ts";
import { SpaceHost, typesOf } from "./space-host.ts";

runInFakeRuntime();

describe("a worker that leaves", () => {
  it("for good with 1000 gives its jobs back at once (W28a)", async () => {
    const space = await SpaceHost.make({ offline: "queue" });
    const worker = await space.connect();
    const id = await space.submit();
    worker.leave(1000);
    await pass();
    expect(await space.job(id)).toMatchObject({
      status: "queued",
      message: "The worker left before it ended the job.",
    });
  });

  it("without saying so keeps them for the grace that was set when they were submitted (W24)", async () => {
    const space = await SpaceHost.make({ offline: "queue", reconnect_grace_s: 5 });
    const worker = await space.connect();
    const id = await space.submit();
    await space.object.change(ADMIN, { reconnect_grace_s: 500 });
    worker.leave(1001);
    await pass(4_900);
    expect(await space.statusOf(id)).toBe("processing");
    await pass(200);
    expect(await space.statusOf(id)).toBe("queued");
  });

  it("doesn't touch the attempts of other workers", async () => {
    const space = await SpaceHost.make({ max_workers: 2 });
    const first = await space.connect({ worker_id: "first" });
    const second = await space.connect({ worker_id: "second" });
    const [a = "", b = ""] = await space.submitAll([{}, {}]);
    first.leave(1000);
    await pass();
    expect(await space.job(a)).toMatchObject({ status: "queued" });
    expect(await space.job(b)).toMatchObject({ status: "processing", attempt: 1 });
    expect(typesOf(second)).not.toContain("cancel");
  });
});

describe("a worker that drains", () => {
  it("gets no new job but may end those it has, also after the object slept (W28)", async () => {
    const space = await SpaceHost.make({ offline: "queue" });
    const worker = await space.connect({ concurrency: 2 });
    const id = await space.submit();
    worker.push({ type: "drain" });
    await pass();
    await space.host.hibernate();
    worker.take();
    await space.submit();
    expect(worker.take()).toEqual([]);
    expect((await space.describe()).status).toMatchObject({ worker: "draining", queue_size: 1 });
    await space.complete(worker, id);
    expect(typesOf(worker)).toEqual(["ack"]);
  });

  it("is told so if the operator wants it, with the reason (W28b, H17)", async () => {
    const space = await SpaceHost.make({ offline: "queue" });
    const worker = await space.connect();
    const body = await space.object.drain(ADMIN, "an update");
    expect(body.ok && JSON.parse(body.body).status.worker).toBe("draining");
    expect(worker.takeOnly("drain")).toEqual([{ type: "drain", reason: "an update" }]);
    await space.submit();
    expect(typesOf(worker)).toEqual([]);
    const again = await space.connect();
    expect(again.takeOnly("job")).toHaveLength(1);
  });
});

describe("a worker's load", () => {
  it("decides who gets the next job, until it connects again (W33a)", async () => {
    const space = await SpaceHost.make({ max_workers: 2 });
    const first = await space.connect({ worker_id: "first" });
    const second = await space.connect({ worker_id: "second" });
    first.push({ type: "load", load: 0.5 });
    await pass();
    await space.host.hibernate();
    const id = await space.submit();
    expect(second.takeOnly("job")).toHaveLength(1);
    await space.complete(second, id);
    second.push({ type: "load", load: 0.9 });
    await pass();
    await space.submit();
    expect(first.takeOnly("job")).toHaveLength(1);
  });
});

describe("the settings of a space", () => {
  it("reach its workers when they change, as `config` (W29)", async () => {
    const space = await SpaceHost.make();
    const worker = await space.connect({ concurrency: 8 });
    worker.take();
    const patch = { concurrency: 3, job_timeout_s: 9, reconnect_grace_s: 1, stall_timeout_s: 4 };
    await space.object.change(ADMIN, { ...patch, first_output_timeout_s: 5 });
    const config = { ...patch, first_output_timeout_s: 5 };
    expect(worker.take()).toEqual([{ type: "config", config }]);
    await space.host.hibernate();
    expect(await space.describe()).toMatchObject({ ...config, title: "" });
    expect((await space.describe()).updated_at).toBe(new Date(START + 3).toISOString());
  });

  it("let waiting jobs start as soon as they allow more (W11)", async () => {
    const space = await SpaceHost.make({ concurrency: 1 });
    const worker = await space.connect({ concurrency: 2 });
    await space.submitAll([{}, {}]);
    expect(worker.takeOnly("job")).toHaveLength(1);
    await space.object.change(ADMIN, { concurrency: 2 });
    expect(worker.takeOnly("job")).toHaveLength(1);
  });
});

describe("a worker whose token is revoked", () => {
  it("can't open a connection that was on its way meanwhile (H4)", async () => {
    const space = await SpaceHost.make();
    await space.object.dropToken("revoked");
    await expect(space.dial({ tokenId: "revoked" })).rejects.toThrow("temporarily_unavailable");
    const other = await space.dial({ tokenId: "another" });
    expect(other.takeOnly("hello")).toHaveLength(1);
  });

  it("is closed with 4401, and only it (H4)", async () => {
    const space = await SpaceHost.make({ max_workers: 2 });
    const kept = await space.dial({ tokenId: "kept" });
    const revoked = await space.dial({ tokenId: "revoked" });
    for (const [index, worker] of [kept, revoked].entries()) {
      worker.push({ type: "register", worker_id: `w${index}` });
    }
    await pass();
    await space.object.dropToken("revoked");
    expect(revoked.closed?.code).toBe(4401);
    expect(revoked.takeOnly("error")).toMatchObject([{ code: "token_revoked" }]);
    expect(kept.closed).toBe(null);
  });
});
