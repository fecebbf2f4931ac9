import { runInDurableObject } from "cloudflare:test";
import { env } from "cloudflare:workers";
import { afterEach, describe, expect, it, vi } from "vitest";
import { indexOf } from "../../src/backend-job/job-index.ts";
import { LIMITS } from "../../src/protocol/limits.ts";
import {
  alarmOf,
  expectGapless,
  follow,
  followCaughtUp,
  freshId,
  hasObject,
  hibernate,
  isOver,
  makeJob,
  objectOf,
  offsetsOf,
  receiveSoFar,
  reportOk,
  runAlarm,
  sendBurst,
  setClockAhead,
  tablesOf,
} from "./backend-jobs-support.ts";
import { call, expectStatus, OPERATOR, passTimeTo } from "./support.ts";

const MINUTE_MS = 60_000;
const DAY_MS = 86_400_000;

afterEach(() => {
  vi.restoreAllMocks();
});

/** Changes the attachments of the throttled sockets as if nothing after this offset had been sent to them yet. */
function markSentUpTo(id: string, sentTo: number): Promise<void> {
  return runInDurableObject(objectOf(id), (_object, ctx) => {
    for (const socket of ctx.getWebSockets()) {
      const at = socket.deserializeAttachment();
      socket.serializeAttachment({ ...at, throttled: { ...at.throttled, sentTo } });
    }
  });
}

describe("progress that comes fast", () => {
  it("reaches a socket without `?max_rate=` frame by frame, up to the end (B12, S17)", async () => {
    const id = await makeJob();
    const backend = await followCaughtUp(id, "", OPERATOR);
    const viewer = await followCaughtUp(id);
    sendBurst(backend, 200, (index) => ({ type: "progress", progress: index / 2, message: "…" }));
    backend.send({ type: "complete" });
    const offsets = offsetsOf(await viewer.until(isOver));
    expect(offsets).toEqual(Array.from({ length: 201 }, (_, index) => index + 2));
  });

  it("is thinned out with `?max_rate=`: the newest frame arrives and says how many were left out (S17a, S17b)", async () => {
    const id = await makeJob();
    const backend = await followCaughtUp(id, "", OPERATOR);
    const viewer = await followCaughtUp(id, "?max_rate=20");
    const from = Date.now();
    sendBurst(backend, 60, (index) => ({ type: "progress", progress: index }));
    const frames = await viewer.until((frame) => frame.progress === 60);
    expect(frames.length).toBeLessThanOrEqual(2 + (Date.now() - from) / 50);
    expectGapless(frames, 1);
  });

  it("is thinned out without losing output, its order, or the end (S17c)", async () => {
    const id = await makeJob();
    const backend = await followCaughtUp(id, "", OPERATOR);
    const viewer = await followCaughtUp(id, "?max_rate=20");
    sendBurst(backend, 60, (index) =>
      index % 3 === 0
        ? { type: "output", delta: index }
        : { type: "progress", progress: index, message: `at ${index}` },
    );
    backend.send({ type: "complete", result: "done" });
    const frames = await viewer.until(isOver);
    const offsets = offsetsOf(frames).map(Number);
    expect(offsets).toEqual([...offsets].sort((a, b) => a - b));
    const deltas = frames.filter(({ type }) => type === "output").map(({ delta }) => delta);
    expect(deltas).toEqual(Array.from({ length: 20 }, (_, index) => 3 * (index + 1)));
    expect(frames.at(-1)).toMatchObject({ result: "done", offset: 62 });
  });

  it("is thinned out more with a lower `?max_rate=` (S17a)", async () => {
    const id = await makeJob();
    const backend = await followCaughtUp(id, "", OPERATOR);
    const [calm, quick] = [await followCaughtUp(id, "?max_rate=1"), await followCaughtUp(id)];
    const from = Date.now();
    for (let percent = 1; percent <= 4; percent += 1) {
      sendBurst(backend, 5, (index) => ({ type: "progress", progress: 10 * percent + index }));
      await quick.next((frame) => frame.progress === 10 * percent + 5);
    }
    backend.send({ type: "complete" });
    const frames = await calm.until(isOver);
    expect(frames.length).toBeLessThanOrEqual(3 + (Date.now() - from) / 1_000);
    expectGapless(frames, 1);
    expect(frames.at(-1)).toMatchObject({ status: "completed", offset: 22 });
  });

  it("that is held back when the object is evicted from memory still arrives", async () => {
    const id = await makeJob();
    const viewer = await followCaughtUp(id, "?max_rate=20");
    for (const delta of ["a", "b"]) await reportOk(id, "output", { delta });
    expect(offsetsOf(await viewer.until((frame) => frame.delta === "b"))).toEqual([2, 3, 4]);
    await markSentUpTo(id, 2);
    await hibernate(id);
    await reportOk(id, "complete");
    expect(offsetsOf(await viewer.until(isOver))).toEqual([3, 4, 5]);
  });

  it("that is held back when the object is evicted, and then trimmed, is replaced by a gap and a snapshot (C11a)", async () => {
    const id = await makeJob();
    const viewer = await followCaughtUp(id, "?max_rate=20");
    const delta = "x".repeat(LIMITS.jobLogBytes / 3);
    for (let piece = 0; piece < 4; piece += 1) await reportOk(id, "output", { delta });
    await viewer.next((frame) => frame.offset === 6);
    await markSentUpTo(id, 1);
    await hibernate(id);
    await reportOk(id, "complete");
    const [gap, ...rest] = await viewer.until(isOver);
    expect(gap).toMatchObject({ type: "gap" });
    expect(offsetsOf(rest)[0]).toBe(Number(gap?.offset) + 1);
    expect(rest.at(-2)).toMatchObject({ type: "progress", status: "processing", offset: 6 });
  });
});

describe("a socket of a job without a space", () => {
  it("gets pings with `?ping=`, also after hibernation, and may answer them (B11a)", async () => {
    const id = await makeJob();
    const viewer = await followCaughtUp(id, "?ping=5");
    const before = Date.now();
    expect(Number(await alarmOf(id)) - before).toBeLessThanOrEqual(5_000);
    setClockAhead(5_000);
    await runAlarm(id);
    expect(await viewer.next("ping")).toMatchObject({ timestamp: expect.any(String) });
    viewer.send({ type: "pong" });
    expect(await receiveSoFar(viewer)).toEqual([]);
    await hibernate(id);
    expect(Number(await alarmOf(id))).toBeGreaterThan(before + 9_000);
    setClockAhead(5_000);
    await runAlarm(id);
    await viewer.next("ping");
  });

  it("gets pings without any request, and none if it didn't ask for them (B11a)", async () => {
    const id = await makeJob();
    const [asked, other] = [await followCaughtUp(id, "?ping=5"), await followCaughtUp(id)];
    setClockAhead(4_000);
    await runAlarm(id);
    expect(await receiveSoFar(asked)).toEqual([]);
    setClockAhead(1_000);
    await runAlarm(id);
    expect(await receiveSoFar(asked)).toMatchObject([{ type: "ping" }]);
    expect(await receiveSoFar(other)).toEqual([]);
  });

  it("is closed with 1001 if it has sent the text `ping`, not only when it was opened, and then nothing for 3 minutes (B11b)", async () => {
    const id = await makeJob();
    setClockAhead(-MINUTE_MS);
    const [silent, never] = [await followCaughtUp(id), await followCaughtUp(id)];
    vi.restoreAllMocks();
    const listener = await followCaughtUp(id);
    for (const socket of [silent, listener]) socket.send("ping");
    await vi.waitFor(async () => {
      const answered = await runInDurableObject(objectOf(id), (_object, ctx) =>
        ctx
          .getWebSockets()
          .filter((socket) => ctx.getWebSocketAutoResponseTimestamp(socket) !== null),
      );
      expect(answered).toHaveLength(2);
    });
    setClockAhead(2 * MINUTE_MS);
    await runAlarm(id);
    expect(await receiveSoFar(never)).toEqual([]);
    setClockAhead(2 * MINUTE_MS);
    await runAlarm(id);
    expect((await silent.closed).code).toBe(1001);
    for (const socket of [never, listener]) expect(await receiveSoFar(socket)).toEqual([]);
  });
});

describe("a job that hibernates", () => {
  it("goes on without a gap for its backend, its subscribers and its readers", async () => {
    const id = await makeJob({ input: { prompt: "a cat" } });
    const backend = await followCaughtUp(id, "", OPERATOR);
    const viewer = await followCaughtUp(id);
    for (const [index, delta] of ["a", "b", "c"].entries()) {
      await hibernate(id);
      backend.send({ type: "output", delta, ref: index });
      expect(await backend.next("ack")).toMatchObject({ ref: index });
      expect(await viewer.next("output")).toMatchObject({ delta, offset: 3 + index });
    }
    await hibernate(id);
    backend.send({ type: "complete", result: "cat" });
    expect(await viewer.next(isOver)).toMatchObject({ result: "cat", offset: 6 });
    await hibernate(id);
    const job = await (await call("GET", `/api/jobs/${id}`)).json();
    expect(job).toMatchObject({
      input: { prompt: "a cat" },
      output: "abc",
      result: "cat",
      attempt: 1,
    });
    await reportOk(id, "complete", { result: "cat" });
  });
});

describe("what is kept of a job", () => {
  it("is erased completely, by the alarm, `result_ttl_s` after its end (B15)", async () => {
    const id = await makeJob({ result_ttl_s: 0.2 });
    await reportOk(id, "output", { delta: "a" });
    await reportOk(id, "complete");
    await vi.waitFor(async () => expect((await call("GET", `/api/jobs/${id}`)).status).toBe(404), {
      timeout: 5_000,
    });
    expect([await tablesOf(id), await alarmOf(id)]).toEqual([[], null]);
    const { epoch } = await (await follow(id)).next("connection");
    await expectStatus(201, await call("POST", "/api/jobs", { id }, OPERATOR));
    const again = await follow(id);
    expect(await again.until("progress")).toMatchObject([
      { epoch },
      { status: "queued", offset: 1 },
    ]);
  });

  it("is kept until then (B15)", async () => {
    const id = await makeJob({ result_ttl_s: 60 });
    await reportOk(id, "complete");
    setClockAhead(MINUTE_MS - 1_000);
    await runAlarm(id);
    expect((await call("GET", `/api/jobs/${id}`)).status).toBe(200);
    expect(await alarmOf(id)).not.toBeNull();
  });

  it("is erased a week after the last report if it never ends, and its sockets are closed with 4404 (B15)", async () => {
    const id = await makeJob();
    const viewer = await followCaughtUp(id);
    setClockAhead(6 * DAY_MS);
    await reportOk(id, "progress", { progress: 5 });
    setClockAhead(6 * DAY_MS);
    await runAlarm(id);
    expect((await call("GET", `/api/jobs/${id}`)).status).toBe(200);
    setClockAhead(DAY_MS);
    await runAlarm(id);
    expect(await viewer.next("error")).toMatchObject({ code: "job_not_found", job_id: id });
    expect((await viewer.closed).code).toBe(4404);
    expect(await tablesOf(id)).toEqual([]);
  });

  it("is nothing if nobody makes the job: after an hour, a waiting socket is closed with 4404 (B8b)", async () => {
    const id = freshId();
    const waiting = await followCaughtUp(id);
    const openedAt = Date.now();
    await passTimeTo(openedAt + 59 * MINUTE_MS, [indexOf(env, id)]);
    expect(await receiveSoFar(waiting)).toEqual([]);
    await passTimeTo(openedAt + 60 * MINUTE_MS, [indexOf(env, id)]);
    expect(await waiting.next("error")).toMatchObject({ code: "job_not_found" });
    expect((await waiting.closed).code).toBe(4404);
    expect(await hasObject(id)).toBe(false);
  });
});
