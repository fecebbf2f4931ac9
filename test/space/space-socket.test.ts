import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { ADMIN } from "../support/callers.ts";
import { pass, runInFakeRuntime } from "../support/runtime/globals.ts";
import { ask, SpaceHost, submitOver } from "./space-host.ts";

runInFakeRuntime();

/** The id of a job that never was. */
const NOWHERE = "demo.01KA7Z3QK0ABCDEFGHJKMNPQRS";

describe("a socket of the space", () => {
  it("follows what it submits from the first event on (S10)", async () => {
    const space = await SpaceHost.make();
    const worker = await space.connect();
    const viewer = await space.follow();
    const frames = await ask(viewer, { type: "submit", ref: "a", input: { prompt: "x" } });
    const [job] = worker.takeOnly("job");
    expect(frames.map(({ type }) => type)).toEqual(["accepted", "progress", "progress"]);
    expect(frames[0]).toEqual({
      type: "accepted",
      ref: "a",
      job_id: job?.job_id,
      queue_position: null,
      epoch: String(job?.job_id).slice(-8),
    });
    expect(frames.slice(1)).toMatchObject([
      { status: "queued", offset: 1, attempt: 0 },
      { status: "processing", offset: 2, attempt: 1 },
    ]);
  });

  it("is told the place in the queue of a job that waits (S10)", async () => {
    const space = await SpaceHost.make({ offline: "queue" });
    const viewer = await space.follow();
    await submitOver(viewer);
    const [accepted] = await ask(viewer, { type: "submit", ref: 2, input: {} });
    expect(accepted).toMatchObject({ type: "accepted", queue_position: 2 });
  });

  it("follows its own jobs on after the object slept, but not those it unfollowed (S10)", async () => {
    const space = await SpaceHost.make({ offline: "queue" });
    const viewer = await space.follow();
    const followed = await submitOver(viewer);
    const muted = await submitOver(viewer);
    await ask(viewer, { type: "unfollow", job_id: muted });
    await space.host.hibernate();
    viewer.take();
    await space.cancel(muted);
    await space.cancel(followed);
    expect(viewer.takeOnly("progress")).toMatchObject([{ job_id: followed, status: "canceled" }]);
  });

  it("follows its running jobs on after the object slept, and gets their end", async () => {
    const space = await SpaceHost.make();
    const worker = await space.connect();
    const viewer = await space.follow();
    const id = await submitOver(viewer);
    await space.host.hibernate();
    viewer.take();
    await space.complete(worker, id, 5);
    expect(viewer.takeOnly("progress")).toMatchObject([{ status: "completed", result: 5 }]);
  });

  it("gets nothing of a job that it unfollowed, and everything once it follows it again", async () => {
    const space = await SpaceHost.make();
    const worker = await space.connect();
    const id = await space.submit();
    const viewer = await space.follow();
    await ask(viewer, { type: "follow", job_id: id });
    await space.report(worker, id, { type: "output", delta: "a" });
    expect(viewer.takeOnly("output")).toHaveLength(1);
    expect(await ask(viewer, { type: "unfollow", job_id: id })).toEqual([]);
    await space.report(worker, id, { type: "output", delta: "b" });
    expect(viewer.takeOnly("output")).toEqual([]);
    const frames = await ask(viewer, { type: "follow", job_id: id });
    expect(frames).toMatchObject([
      { type: "connection" },
      { type: "output", delta: "ab" },
      { type: "progress" },
    ]);
    await space.sleep();
    await space.report(worker, id, { type: "output", delta: "c" });
    expect(viewer.takeOnly("output")).toMatchObject([{ delta: "c" }]);
  });

  it("may unfollow a job that it doesn't follow", async () => {
    const space = await SpaceHost.make({ offline: "queue" });
    const id = await space.submit();
    const viewer = await space.follow();
    const other = await space.followJob(id);
    expect(await ask(viewer, { type: "unfollow", job_id: id })).toEqual([]);
    expect(await ask(viewer, { type: "follow", job_id: id })).toHaveLength(2);
    other.take();
    await space.cancel(id);
    expect(other.take()).toHaveLength(1);
  });

  it("remembers over a sleep which jobs it follows: not those that it unfollowed, or that ended", async () => {
    const space = await SpaceHost.make({ offline: "queue" });
    const [kept = "", left = "", over = ""] = await space.submitAll([{}, {}, {}]);
    const viewer = await space.follow();
    for (const job_id of [kept, left, over]) await ask(viewer, { type: "follow", job_id });
    await ask(viewer, { type: "unfollow", job_id: left });
    await space.cancel(over);
    await space.host.hibernate();
    viewer.take();
    await space.cancel(left);
    await space.cancel(kept);
    expect(viewer.takeOnly("progress")).toMatchObject([{ job_id: kept, status: "canceled" }]);
  });

  it("that closes in the turn of another one's submit doesn't cancel that (S11)", async () => {
    const space = await SpaceHost.make({ offline: "queue" });
    const leaving = await space.follow({ as: { local: true } });
    const staying = await space.follow({ as: { local: true } });
    const submit = { type: "submit", ref: 1, input: {}, cancel_on_disconnect: true };
    staying.take();
    staying.push(submit);
    leaving.push(submit);
    leaving.leave(1001);
    await pass(20);
    const [accepted] = staying.takeOnly("accepted");
    expect(await space.statusOf(String(accepted?.job_id))).toBe("queued");
    expect((await space.describe()).status.queue_size).toBe(1);
  });

  it("that follows a job from a position gets what came after it (C9)", async () => {
    const space = await SpaceHost.make();
    const worker = await space.connect();
    const id = await space.submit();
    for (const delta of ["a", "b", "c"]) await space.report(worker, id, { type: "output", delta });
    const viewer = await space.follow();
    const epoch = id.slice(-8);
    const frames = await ask(viewer, { type: "follow", job_id: id, since: `${epoch}:4` });
    expect(frames).toMatchObject([
      { type: "connection", job_id: id, epoch, offset: 4, recovered: true },
      { type: "output", delta: "c", offset: 5 },
    ]);
    const anew = await ask(viewer, { type: "follow", job_id: id, since: `other:4` });
    expect(anew[0]).toMatchObject({ type: "connection", offset: 5, recovered: false });
    expect(anew.slice(1)).toMatchObject([
      { type: "output", delta: "abc", from: 3, offset: 5 },
      { type: "progress", offset: 5 },
    ]);
  });

  it("follows 100 jobs besides its own, and no more; ended ones don't count (S12)", async () => {
    const space = await SpaceHost.make({ offline: "queue" });
    const ids = await space.submitAll(Array.from({ length: 102 }, () => ({})));
    const viewer = await space.follow();
    for (const job_id of ids.slice(0, 99)) viewer.push({ type: "follow", job_id });
    await pass();
    const own = await submitOver(viewer);
    expect(await ask(viewer, { type: "follow", job_id: ids[99] })).toMatchObject([
      { type: "connection" },
      { type: "progress" },
    ]);
    const refused = await ask(viewer, { type: "follow", job_id: ids[100], ref: "r" });
    expect(refused).toMatchObject([
      { type: "error", code: "too_many_follows", ref: "r", job_id: ids[100] },
    ]);
    expect(refused[0]?.message).toBe("One socket follows 100 jobs at most: unfollow some first.");
    // A job that it follows already takes no further place.
    expect((await ask(viewer, { type: "follow", job_id: ids[3] }))[0]?.type).toBe("connection");
    await space.cancel(own);
    expect((await ask(viewer, { type: "follow", job_id: ids[100] }))[0]?.type).toBe("error");
    await space.cancel(ids[5] ?? "");
    await space.host.hibernate();
    expect((await ask(viewer, { type: "follow", job_id: ids[100] }))[0]?.type).toBe("connection");
  });

  it("can cancel a job, and gets `job_not_found` with its `ref` for one that isn't there (S7)", async () => {
    const space = await SpaceHost.make({ offline: "queue" });
    const id = await space.submit();
    const viewer = await space.follow();
    await ask(viewer, { type: "cancel", job_id: id });
    expect(await space.job(id)).toMatchObject({
      status: "canceled",
      error: { code: "canceled", message: "Canceled on request." },
    });
    const unknown = [{ type: "error", code: "job_not_found", ref: 4, job_id: NOWHERE }];
    expect(await ask(viewer, { type: "cancel", job_id: NOWHERE, ref: 4 })).toMatchObject(unknown);
    expect(await ask(viewer, { type: "follow", job_id: NOWHERE, ref: 4 })).toMatchObject(unknown);
    const elsewhere = `elsewhere.${id.slice(5)}`;
    expect((await ask(viewer, { type: "cancel", job_id: elsewhere }))[0]?.code).toBe(
      "job_not_found",
    );
    expect((await ask(viewer, { type: "follow", job_id: elsewhere }))[0]?.code).toBe(
      "job_not_found",
    );
    expect(await ask(viewer, { type: "unfollow", job_id: elsewhere })).toEqual([]);
  });

  it("is answered in the order of its frames, also those about a job that is not stored yet (S9c)", async () => {
    const space = await SpaceHost.make();
    const worker = await space.connect();
    await space.complete(worker, await space.submit());
    const viewer = await space.follow();
    viewer.take();
    viewer.push({ type: "submit", ref: 1, input: {} });
    viewer.push({ type: "cancel", job_id: NOWHERE, ref: 2 });
    viewer.push({ type: "submit", ref: 3, input: { prompt: 5 } });
    await pass(50);
    const answers = viewer.take().filter(({ ref }) => ref !== undefined);
    expect(answers.map(({ type, ref }) => [type, ref])).toEqual([
      ["accepted", 1],
      ["error", 2],
      ["error", 3],
    ]);
  });

  it("cancels what it submitted so when it closes, with whatever code, and nothing else (S11)", async () => {
    for (const code of [1000, 1001, 1006]) {
      const space = await SpaceHost.make();
      const worker = await space.connect();
      const viewer = await space.follow();
      const leaving = await submitOver(viewer, { cancel_on_disconnect: true });
      const queued = await submitOver(viewer, { cancel_on_disconnect: true });
      const staying = await submitOver(viewer);
      worker.take();
      viewer.leave(code);
      await pass();
      expect(worker.takeOnly("cancel")).toEqual([
        { type: "cancel", job_id: leaving, attempt: 1, reason: "The submitter disconnected." },
      ]);
      expect(await space.statusOf(queued)).toBe("canceled: canceled");
      expect(await space.statusOf(staying)).toBe("queued");
    }
  });

  it("cancels what it submitted so even if the edge closes it, in the same batch too (S11)", async () => {
    const space = await SpaceHost.make({ offline: "queue" });
    const viewer = await space.follow();
    viewer.push({ type: "submit", ref: 1, input: {}, cancel_on_disconnect: true });
    for (let count = 0; count < 3; count += 1) viewer.push("{");
    await pass(20);
    const [accepted] = viewer.takeOnly("accepted");
    expect(await space.statusOf(String(accepted?.job_id))).toBe("canceled: canceled");
  });

  it("gets a job that was submitted before with its key, as it stands now (S15)", async () => {
    const space = await SpaceHost.make();
    const worker = await space.connect();
    const first = await space.submit({ idempotency_key: "k" });
    await space.report(worker, first, { type: "output", delta: "a" });
    const viewer = await space.follow();
    const frames = await ask(viewer, { type: "submit", ref: 1, input: {}, idempotency_key: "k" });
    expect(frames.map(({ type }) => type)).toEqual([
      "accepted",
      "connection",
      "output",
      "progress",
    ]);
    expect(frames[0]).toMatchObject({ job_id: first, ref: 1 });
    await space.complete(worker, first, "end");
    expect(viewer.takeOnly("progress")).toMatchObject([{ status: "completed", result: "end" }]);
    const other = { type: "submit", ref: 2, input: { a: 1 }, idempotency_key: "k" };
    expect(await ask(viewer, other)).toMatchObject([
      { type: "error", code: "idempotency_key_reused", ref: 2 },
    ]);
  });

  it("is closed with 4401 when the space becomes private, unless the operator opened it (S14)", async () => {
    const space = await SpaceHost.make({ offline: "queue" });
    const id = await space.submit();
    const strangers = [await space.follow(), await space.followJob(id)];
    const own = await space.follow({ as: { isAdmin: true } });
    await space.object.change(ADMIN, { visibility: "private" });
    expect(strangers.map(({ closed }) => closed?.code)).toEqual([4401, 4401]);
    expect(own.closed).toBe(null);
    await expect(space.follow()).rejects.toThrow("not_authenticated");
    await expect(space.follow({ as: { isAdmin: true } })).resolves.toBeDefined();
  });
});

describe("frames of every kind that come at once", () => {
  it("are answered in their order, whatever waits for what (S9c)", async () => {
    const space = await SpaceHost.make({ offline: "queue", max_queue: 1_000 });
    const first = await space.submit();
    const second = await space.submit();
    const kinds = {
      submit: (ref: string) => ({ type: "submit", ref, input: {} }),
      follow: (ref: string) => ({ type: "follow", ref, job_id: ref.length % 2 ? first : second }),
      unknown: (ref: string) => ({ type: "follow", ref, job_id: NOWHERE }),
      cancel: (ref: string) => ({ type: "cancel", ref, job_id: NOWHERE }),
      unfollow: (ref: string) => ({ type: "unfollow", ref, job_id: first }),
      malformed: (ref: string) => ({ type: "follow", ref, job_id: 7 }),
    };
    const given = fc.array(fc.constantFrom(...(Object.keys(kinds) as (keyof typeof kinds)[])), {
      maxLength: 12,
    });
    await fc.assert(
      fc.asyncProperty(given, fc.boolean(), async (names, batch) => {
        // A third malformed frame in a row would close the socket.
        const sent = names.filter(
          (name, at) => name !== "malformed" || names[at - 1] !== "malformed",
        );
        const viewer = await space.follow({ as: { local: true }, batch });
        viewer.take();
        const frames = sent.map((name, at) => kinds[name](`${at}`));
        if (batch) viewer.push({ type: "batch", frames });
        else for (const frame of frames) viewer.push(frame);
        await pass(50);
        const expected = sent.flatMap((name, at) => {
          if (name === "unfollow") return [];
          const { job_id } = kinds[name](`${at}`) as { job_id?: string };
          if (name === "follow") return [`connection ${job_id}`];
          return [name === "submit" ? `accepted ${at}` : `error ${at}`];
        });
        const answers = viewer.take().flatMap(({ type, ref, job_id }) => {
          if (type === "connection") return [`connection ${String(job_id)}`];
          return type === "accepted" || type === "error" ? [`${type} ${String(ref)}`] : [];
        });
        expect(answers).toEqual(expected);
        viewer.leave(1000);
        await pass();
      }),
      { numRuns: 60 },
    );
  });
});
