import { describe, expect, it, vi } from "vitest";
import { ADMIN } from "../support/callers.ts";
import { pass, runInFakeRuntime } from "../support/runtime/globals.ts";
import type { FakeSocket, Frame } from "../support/runtime/socket.ts";
import { SpaceHost } from "./space-host.ts";

runInFakeRuntime();

/** The types of the frames of each message that comes of `act`; a batch is a list. */
async function messagesOf(socket: FakeSocket, act: () => unknown) {
  const before = socket.messages.length;
  await act();
  await pass(20);
  return socket.messages.slice(before).map((text) => {
    const message = JSON.parse(text) as Frame;
    return message.type === "batch"
      ? (message.frames as Frame[]).map(({ type }) => type)
      : message.type;
  });
}

function batch(...frames: object[]) {
  return { type: "batch", frames };
}

describe("a socket with `?batch=1`", () => {
  it("gets frames that are due at once as one message, and others alone (C6)", async () => {
    const space = await SpaceHost.make({ offline: "queue" });
    const viewer = await space.follow({ batch: true, as: { local: true } });
    const plain = await space.follow({ as: { local: true } });
    const submits = [1, 2, 3].map((ref) => ({ type: "submit", ref, input: {} }));
    const got = await messagesOf(viewer, () => viewer.push(batch(...submits)));
    expect(got).toEqual([["accepted", "accepted", "accepted", "progress", "progress", "progress"]]);
    expect(await messagesOf(viewer, () => viewer.push(batch(submits[0] ?? {})))).toEqual([
      ["accepted", "progress"],
    ]);
    await pass(200);
    const [job] = viewer.takeOnly("accepted");
    expect(await messagesOf(viewer, () => space.cancel(String(job?.job_id)))).toEqual(["progress"]);
    expect(await messagesOf(plain, () => plain.push(batch(...submits)))).toEqual(["error"]);
  });

  it("gets what is due before its close, and the close after it (C6b)", async () => {
    const space = await SpaceHost.make({ offline: "queue" });
    const viewer = await space.follow({ batch: true, as: { local: true } });
    const bad = { type: "nothing" };
    const got = await messagesOf(viewer, () =>
      viewer.push(batch({ type: "submit", ref: 1, input: {} }, bad, bad, bad, bad)),
    );
    expect(got.flat()).toEqual(["accepted", "error", "error", "error"]);
    expect(viewer.closed?.code).toBe(4400);
  });

  it("of a worker gets acks and jobs together, and may send its ends together (C6, C6a)", async () => {
    const space = await SpaceHost.make({ offline: "queue" });
    const worker = await space.dial({ batch: true });
    worker.push({ type: "register", worker_id: "w", concurrency: 2 });
    await pass();
    const ids = await space.submitAll([{}, {}, {}, {}]);
    const result = (job_id = "") => ({ type: "result", job_id, attempt: 1, output: 1 });
    const got = await messagesOf(worker, () => worker.push(batch(result(ids[0]), result(ids[1]))));
    expect(got).toEqual([["ack", "ack", "job", "job"]]);
    await space.host.hibernate();
    const again = await messagesOf(worker, () =>
      worker.push(batch(result(ids[2]), { type: "wish", job_id: ids[3], attempt: 1 })),
    );
    expect(again).toEqual([["ack", "error", "stale"]]);
    expect(await space.statusOf(ids[2] ?? "")).toBe("completed");
    expect(await space.statusOf(ids[3] ?? "")).toBe("failed: worker_error");
  });

  it("of one job gets its events together, and its end before the close", async () => {
    const space = await SpaceHost.make();
    const worker = await space.connect();
    const id = await space.submit();
    const viewer = await space.followJob(id, { batch: true });
    const output = { type: "output", job_id: id, attempt: 1, delta: "x" };
    const got = await messagesOf(viewer, () => {
      worker.push(output);
      worker.push(output);
      worker.push({ type: "result", job_id: id, attempt: 1, output: 1 });
    });
    expect(got).toEqual([["output", "output", "progress"]]);
    expect(viewer.closed?.code).toBe(1000);
  });
});

describe("what can't wait, while thousands of frames do", () => {
  const PIECES = 2_000;

  async function flooded() {
    const space = await SpaceHost.make({ job_timeout_s: 60, max_attempts: 1 });
    const worker = await space.connect();
    const id = await space.submit();
    const flood = (last: Frame) => {
      for (let n = 0; n < PIECES; n += 1) {
        worker.push({ type: "output", job_id: id, attempt: 1, delta: n });
      }
      worker.push({ job_id: id, attempt: 1, ...last });
    };
    return { space, worker, id, flood };
  }

  it("is answered without them", async () => {
    const { space, id, flood } = await flooded();
    flood({ type: "result", output: "done" });
    await space.object.drain(ADMIN, "a break");
    expect((await space.job(id))?.status).toBe("processing");
    await pass(100);
    expect(await space.job(id)).toMatchObject({ status: "completed", result: "done" });
  });

  it("is a close that comes after them, so that nothing of them is lost", async () => {
    const { space, worker, id, flood } = await flooded();
    flood({ type: "result", output: "done" });
    worker.leave(1000);
    await pass(100);
    expect(await space.job(id)).toMatchObject({ status: "completed", result: "done" });
  });

  it("is an alarm that ends no attempt whose result waits", async () => {
    const { space, worker, id, flood } = await flooded();
    for (const seconds of [25, 25, 9]) {
      await pass(seconds * 1_000);
      worker.push("ping");
    }
    flood({ type: "result", output: "done" });
    vi.setSystemTime(Date.now() + 2_000);
    void space.host.runAlarm();
    await pass(100);
    expect(await space.job(id)).toMatchObject({ status: "completed", result: "done" });
  });
});
