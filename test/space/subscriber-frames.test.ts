import { describe, expect, it } from "vitest";
import { ADMIN } from "../support/callers.ts";
import { pass, runInFakeRuntime } from "../support/runtime/globals.ts";
import { ask, SpaceHost, submitOver } from "./space-host.ts";

runInFakeRuntime();

/** The id of a job that never was. */
const NOWHERE = "demo.01KA7Z3QK0ABCDEFGHJKMNPQRS";

describe("malformed frames of a subscriber", () => {
  it("close its socket with 4400 when three come in a row, also if the object slept between (S6a)", async () => {
    const space = await SpaceHost.make();
    const viewer = await space.follow();
    expect(await ask(viewer, "{")).toMatchObject([{ type: "error", code: "malformed_frame" }]);
    await ask(viewer, { type: "wish" });
    await space.host.hibernate();
    expect(viewer.closed).toBe(null);
    expect(await ask(viewer, { type: "submit", ref: "r", input: 5 })).toMatchObject([
      { type: "error", ref: "r" },
    ]);
    expect(viewer.closed?.code).toBe(4400);
  });

  it("are forgiven if a well-formed one comes between them, however many they are (S6a)", async () => {
    const space = await SpaceHost.make();
    const viewer = await space.follow();
    for (let round = 0; round < 4; round += 1) {
      await ask(viewer, "{");
      await ask(viewer, "{");
      await space.host.hibernate();
      await ask(viewer, { type: "unfollow", job_id: NOWHERE });
      await space.host.hibernate();
    }
    expect(viewer.closed).toBe(null);
  });

  it("on the socket of one job count the same (S6a, S13)", async () => {
    const space = await SpaceHost.make({ offline: "queue" });
    const id = await space.submit();
    const viewer = await space.followJob(id);
    for (let count = 0; count < 2; count += 1) await ask(viewer, { type: "submit", input: {} });
    await ask(viewer, { type: "ack", offset: 0 });
    for (let count = 0; count < 2; count += 1) await ask(viewer, "{");
    expect(viewer.closed).toBe(null);
    await ask(viewer, "{");
    expect(viewer.closed?.code).toBe(4400);
  });

  it("that are too large close it at once with 1009 (S14)", async () => {
    const space = await SpaceHost.make();
    const viewer = await space.follow();
    await ask(viewer, `"${"x".repeat(1_048_576)}"`);
    expect(viewer.closed?.code).toBe(1009);
  });

  it("are answered with the `ref` that can be read, and without one that can't (S6a)", async () => {
    const space = await SpaceHost.make();
    const viewer = await space.follow();
    const [text] = await ask(viewer, { type: "submit", ref: "mine", input: 5 });
    const [number] = await ask(viewer, { type: "submit", ref: 7, input: 5 });
    expect([text?.ref, number?.ref]).toEqual(["mine", 7]);
    await ask(viewer, { type: "unfollow", job_id: NOWHERE });
    const [list] = await ask(viewer, [{ ref: 3 }]);
    const [object] = await ask(viewer, { type: "submit", ref: { a: 1 }, input: {} });
    expect(list).not.toHaveProperty("ref");
    expect(object).not.toHaveProperty("ref");
  });

  it("don't count after the socket was closed, nor is anything else taken from it", async () => {
    const space = await SpaceHost.make({ offline: "queue" });
    const viewer = await space.follow();
    for (let count = 0; count < 3; count += 1) viewer.push("{");
    viewer.push({ type: "submit", ref: 1, input: {} });
    await pass();
    expect(viewer.takeOnly("error")).toHaveLength(3);
    expect((await space.describe()).status.queue_size).toBe(0);
  });
});

describe("the socket of one job", () => {
  it("may cancel it (S13), and is closed with 1000 after the end (S13a)", async () => {
    const space = await SpaceHost.make();
    const worker = await space.connect();
    const id = await space.submit();
    const viewer = await space.followJob(id);
    expect(await ask(viewer, { type: "cancel" })).toMatchObject([
      { status: "processing", message: "Canceling …" },
    ]);
    expect(worker.takeOnly("cancel")).toHaveLength(1);
    await space.report(worker, id, { type: "fail", code: "canceled", message: "ok" });
    expect(viewer.take()).toMatchObject([{ status: "canceled" }]);
    expect(viewer.closed).toEqual({ code: 1000, reason: "The job has ended." });
  });

  it("that cancels when it breaks off does so for every code but 1000 (H12a)", async () => {
    for (const code of [1000, 1001, 1006]) {
      const space = await SpaceHost.make({ offline: "queue" });
      const id = await space.submit();
      const viewer = await space.followJob(id, { leaving: true });
      const other = await space.followJob(id);
      other.leave(1006);
      await pass();
      expect(await space.statusOf(id)).toBe("queued");
      viewer.leave(code);
      await pass();
      expect(await space.statusOf(id)).toBe(code === 1000 ? "queued" : "canceled: canceled");
    }
  });

  it("that cancels when it breaks off does so too if the edge closes it (H12a, S14)", async () => {
    const space = await SpaceHost.make({ offline: "queue" });
    const [dropped = "", rude = "", stays = ""] = await space.submitAll([{}, {}, {}]);
    await space.followJob(dropped, { leaving: true });
    const viewer = await space.followJob(rude, { leaving: true, as: { isAdmin: true } });
    await space.followJob(stays);
    for (let count = 0; count < 3; count += 1) viewer.push("{");
    await pass();
    expect(await space.statusOf(rude)).toBe("canceled: canceled");
    expect(await space.statusOf(dropped)).toBe("queued");
    await space.object.change(ADMIN, { visibility: "private" });
    expect(await space.statusOf(dropped)).toBe("canceled: canceled");
    expect(await space.statusOf(stays)).toBe("queued");
  });

  it("is refused for a job that doesn't exist (S2)", async () => {
    const space = await SpaceHost.make();
    await expect(space.followJob("demo.01KA7Z3QK0ABCDEFGHJKMNPQRS")).rejects.toThrow(
      "job_not_found",
    );
  });

  it("follows it on after the object slept", async () => {
    const space = await SpaceHost.make();
    const worker = await space.connect();
    const id = await space.submit();
    const viewer = await space.followJob(id);
    await space.host.hibernate();
    viewer.take();
    await space.complete(worker, id, 5);
    expect(viewer.take()).toMatchObject([{ status: "completed", result: 5 }]);
    expect(viewer.closed?.code).toBe(1000);
  });
});

describe("the close of a client", () => {
  it("is answered with its code, or without one that can't be sent, on every kind of socket (C15)", async () => {
    const space = await SpaceHost.make({ offline: "queue" });
    const id = await space.submit();
    for (const [code, answer] of [
      [1000, { code: 1000, reason: "bye" }],
      [4567, { code: 4567, reason: "bye" }],
      [1006, { code: undefined, reason: "" }],
    ] as const) {
      const sockets = [await space.connect(), await space.follow(), await space.followJob(id)];
      for (const socket of sockets) socket.leave(code, "bye");
      await pass(5);
      expect(sockets.map(({ answered }) => answered)).toEqual([answer, answer, answer]);
    }
  });
});

describe("a socket that the edge has closed", () => {
  it("may still send frames, of which nothing is taken", async () => {
    const space = await SpaceHost.make({ offline: "queue" });
    const viewer = await space.follow();
    const worker = await space.connect();
    worker.push({ type: "register", worker_id: "worker-1" });
    await space.connect();
    for (let count = 0; count < 3; count += 1) viewer.push("{");
    await pass(5);
    expect([viewer.closed?.code, worker.closed?.code]).toEqual([4400, 4409]);
    viewer.push({ type: "submit", ref: 1, input: {} });
    worker.push({ type: "drain" });
    await pass(5);
    const { status } = await space.describe();
    expect(status).toMatchObject({ worker: "connected", queue_size: 0, processing: 0 });
  });
});

describe("a socket that fails", () => {
  it("is answered like a close without a goodbye: attempts get their grace, submits are canceled (W24, S11)", async () => {
    const space = await SpaceHost.make();
    const worker = await space.connect();
    const running = await space.submit();
    const viewer = await space.follow();
    const waiting = await submitOver(viewer, { cancel_on_disconnect: true });
    viewer.fail();
    worker.fail();
    await pass(5);
    expect(await space.statusOf(waiting)).toBe("canceled: canceled");
    expect(await space.statusOf(running)).toBe("processing");
    expect([viewer, worker].map(({ answered }) => answered?.code)).toEqual([1001, 1001]);
    const again = await space.connect({ resume: [{ job_id: running, attempt: 1 }] });
    expect(again.takeOnly("registered")).toMatchObject([{ resumed: [{ job_id: running }] }]);
  });
});

describe("submits over sockets", () => {
  it("above the limit of their address are refused with their `ref`; other frames are not counted (S9b)", async () => {
    const keys: string[] = [];
    const SUBMITS = {
      limit: async ({ key }: { key: string }) => {
        keys.push(key);
        return { success: keys.length <= 1 };
      },
    };
    const space = await SpaceHost.make({ offline: "queue" }, { SUBMITS });
    const viewer = await space.follow({ as: { address: "192.0.2.1" } });
    expect(await submitOver(viewer)).toMatch(/^demo\./);
    const frames = await ask(viewer, { type: "submit", ref: 9, input: {} });
    expect(frames).toMatchObject([{ type: "error", code: "rate_limited", ref: 9 }]);
    await ask(viewer, { type: "cancel", job_id: NOWHERE });
    expect(keys).toEqual(["address 192.0.2.1", "address 192.0.2.1"]);
    expect((await space.describe()).status.queue_size).toBe(1);
    const operator = await space.follow({ as: { isAdmin: true } });
    expect(await submitOver(operator)).toMatch(/^demo\./);
    const local = await space.follow({ as: { local: true } });
    expect(await submitOver(local)).toMatch(/^demo\./);
    expect(keys).toHaveLength(2);
  });

  it("from the edge's own machine are counted once the edge is public (H9c)", async () => {
    let counted = 0;
    const SUBMITS = {
      limit: async () => {
        counted += 1;
        return { success: true };
      },
    };
    const env = { SUBMITS, PUBLIC_URL: "https://edge.example" };
    const space = await SpaceHost.make({ offline: "queue" }, env);
    await submitOver(await space.follow({ as: { local: true } }));
    expect(counted).toBe(1);
  });
});
