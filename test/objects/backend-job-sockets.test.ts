import { evictDurableObject, runInDurableObject } from "cloudflare:test";
import { env } from "cloudflare:workers";
import { afterEach, describe, expect, it, vi } from "vitest";
import { indexOf } from "../../src/backend-job/job-index.ts";
import { backendServerFrame } from "../../src/protocol/backend-jobs.ts";
import { LIMITS } from "../../src/protocol/limits.ts";
import {
  alarmOf,
  bearer,
  follow,
  followCaughtUp,
  freshId,
  hasObject,
  isOver,
  makeJob,
  offsetsOf,
  receiveSoFar,
  reportOk,
  runAlarm,
  setClockAhead,
} from "./backend-jobs-support.ts";
import { connectUser, subscribe } from "./rooms-support.ts";
import { call, expectStatus, OPERATOR, TestSocket } from "./support.ts";

afterEach(() => {
  vi.restoreAllMocks();
});

describe("a subscriber of a job without a space", () => {
  it("gets the state at once, then every change, and is closed after the end (C10b, S13a)", async () => {
    const id = await makeJob({ message: "in line" });
    const viewer = await follow(id);
    const first = await viewer.until("progress");
    expect(first).toMatchObject([
      { type: "connection", job_id: id, offset: 1, recovered: false },
      { job_id: id, status: "queued", message: "in line", queue_position: null, offset: 1 },
    ]);
    await reportOk(id, "output", { delta: { step: 1 } });
    await reportOk(id, "complete", { result: { url: "x" }, output_path: "s3://a/b" });
    const rest = await viewer.until(isOver);
    expect(rest).toMatchObject([
      { type: "progress", status: "processing", attempt: 1, offset: 2 },
      { type: "output", delta: { step: 1 }, attempt: 1, offset: 3 },
      {
        status: "completed",
        progress: 100,
        result: { url: "x" },
        output_path: "s3://a/b",
        offset: 4,
      },
    ]);
    for (const frame of [...first, ...rest]) expect(backendServerFrame.parse(frame)).toEqual(frame);
    expect((await viewer.closed).code).toBe(1000);
  });

  it("gets the same frames as every other subscriber", async () => {
    const id = await makeJob();
    const viewers = await Promise.all(
      Array.from({ length: 40 }, (_, index) => {
        return followCaughtUp(id, "", index % 2 ? OPERATOR : {});
      }),
    );
    for (const delta of ["a", "b", "c"]) await reportOk(id, "output", { delta });
    await reportOk(id, "fail", { code: "oom", message: "no room" });
    for (const viewer of viewers) {
      const frames = await viewer.until(isOver);
      expect(offsetsOf(frames)).toEqual([2, 3, 4, 5, 6]);
      expect(frames.at(-1)).toMatchObject({ error: { code: "oom", message: "no room" } });
      expect((await viewer.closed).code).toBe(1000);
    }
  });

  it("that comes after the end gets the end and is closed (S13a)", async () => {
    const id = await makeJob();
    await reportOk(id, "output", { delta: "a" });
    await reportOk(id, "cancel", { reason: "no budget" });
    const viewer = await TestSocket.open(`/api/jobs/${id}/ws`);
    expect(await viewer.until(isOver)).toMatchObject([
      { type: "connection", offset: 4 },
      { type: "output", delta: "a", offset: 3 },
      { status: "canceled", error: { code: "canceled", message: "no budget" }, offset: 4 },
    ]);
    expect((await viewer.closed).code).toBe(1000);
  });

  it("gets exactly the events after its position, whichever it is (C9)", async () => {
    const id = await makeJob();
    const { epoch } = await (await follow(id)).next("connection");
    for (const delta of ["a", "b", "c", "d"]) await reportOk(id, "output", { delta });
    for (let seen = 0; seen <= 6; seen += 1) {
      const viewer = await follow(id, `?since=${epoch}:${seen}`);
      const frames = await receiveSoFar(viewer);
      expect(frames[0]).toMatchObject({ type: "connection", recovered: true, offset: seen });
      expect(offsetsOf(frames.slice(1))).toEqual(
        [1, 2, 3, 4, 5, 6].filter((offset) => offset > seen),
      );
      viewer.close();
    }
  });

  it("gets a snapshot if its position is of another epoch or can't be read (C8, C10)", async () => {
    const id = await makeJob();
    const { epoch } = await (await follow(id)).next("connection");
    for (const since of ["00000000:1", `${epoch}:9`, "nonsense", ""]) {
      const frames = await (await follow(id, `?since=${since}`)).until("progress");
      expect(frames).toMatchObject([{ recovered: false, offset: 1 }, { offset: 1 }]);
    }
  });

  it("gets a gap where the log was trimmed, and then the pieces that are left (C11a, B14)", async () => {
    const id = await makeJob();
    const { epoch } = await (await follow(id)).next("connection");
    const delta = "x".repeat(LIMITS.jobLogBytes / 3);
    for (let piece = 0; piece < 5; piece += 1) await reportOk(id, "output", { delta });
    const frames = await (await follow(id, `?since=${epoch}:1`)).until("progress");
    expect(frames[0]).toMatchObject({ type: "connection", recovered: false, offset: 7 });
    const [gap, ...left] = frames.slice(1);
    expect(gap).toMatchObject({ type: "gap", job_id: id });
    const first = Number(gap?.offset) + 1;
    expect(left.slice(0, -1).map(({ type, offset }) => [type, offset])).toEqual(
      Array.from({ length: 8 - first }, (_, index) => ["output", first + index]),
    );
  });

  it("can follow the job over /ws, unless the job is private (R8)", async () => {
    const id = await makeJob();
    const room = `job:${id}`;
    const socket = await connectUser("ann");
    expect(await subscribe(socket, room)).toMatchObject({ offset: 1, recovered: false });
    await reportOk(id, "complete", { result: 1 });
    expect(await socket.until("unsubscribed")).toMatchObject([
      { type: "progress", status: "queued", room },
      { type: "progress", status: "completed", result: 1, room, offset: 2 },
      { room, code: 1000 },
    ]);
    const secret = `job:${await makeJob({ visibility: "private" })}`;
    socket.send({ type: "subscribe", room: secret });
    expect(await socket.next("error")).toMatchObject({ code: "not_allowed", room: secret });
  });

  it("may offer the subprotocol, and is refused if an option in its address is out of range (C5)", async () => {
    const id = await makeJob();
    const response = await call("GET", `/ws/${id}`, undefined, {
      upgrade: "websocket",
      "sec-websocket-protocol": "dialout.v1",
    });
    expect(response.headers.get("sec-websocket-protocol")).toBe("dialout.v1");
    response.webSocket?.accept();
    response.webSocket?.close();
    for (const query of [
      "?ping=4",
      "?ping=301",
      "?ping=often",
      "?max_rate=0",
      "?max_rate=21",
      "?acks=2",
    ]) {
      await expect(follow(id, query)).rejects.toThrow("422");
    }
    expect((await call("GET", `/ws/${id}`)).status).toBe(426);
  });

  it("can read the events as a stream, which goes on after the `Last-Event-ID` and is 204 after the end (C12, C13)", async () => {
    const id = await makeJob();
    await reportOk(id, "output", { delta: "a" });
    await reportOk(id, "complete", { result: 1 });
    const events = await expectStatus(200, await call("GET", `/api/jobs/${id}/events`));
    expect(events.headers.get("content-type")).toContain("text/event-stream");
    const text = await events.text();
    const ids = [...text.matchAll(/^id: (.+)$/gm)].map((match) => match[1] ?? "");
    expect(text).toContain('"delta":"a"');
    expect(ids.at(-1)).toMatch(/:4$/);
    const resume = (since: string) =>
      call("GET", `/api/jobs/${id}/events`, undefined, { "last-event-id": since });
    expect((await resume(ids.at(-1) ?? "")).status).toBe(204);
    const missed = await (await resume((ids.at(-1) ?? "").replace(/4$/, "2"))).text();
    expect([...missed.matchAll(/^id: .+:(\d)$/gm)].map((match) => match[1])).toEqual(["3", "4"]);
  });
});

describe("a subscriber of a job that nobody has made yet", () => {
  it("gets the status `pending`, and then the job's events from the first on (B8)", async () => {
    const id = freshId();
    const early = await follow(id);
    const waiting = await early.until("progress");
    expect(waiting).toMatchObject([
      { type: "connection", job_id: id, offset: 0, recovered: false },
      { job_id: id, status: "pending", progress: 0, attempt: 0, offset: 0 },
    ]);
    for (const frame of waiting) expect(backendServerFrame.parse(frame)).toEqual(frame);
    expect(await hasObject(id)).toBe(false);
    await expectStatus(201, await call("POST", "/api/jobs", { id }, OPERATOR));
    await reportOk(id, "complete", { result: 1 });
    expect(offsetsOf(await early.until(isOver))).toEqual([1, 2]);
    expect((await early.closed).code).toBe(1000);
  });

  it("keeps its position over hibernation, and when it comes back after the job was made (B8)", async () => {
    const id = freshId();
    const early = await follow(id);
    const { epoch } = await early.next("connection");
    await early.next("progress");
    await evictDurableObject(indexOf(env, id));
    const other = await follow(id, `?since=${epoch}:0`);
    expect(await other.next("connection")).toMatchObject({ epoch, offset: 0, recovered: true });
    await expectStatus(201, await call("POST", "/api/jobs", { id }, OPERATOR));
    expect(await early.next("progress")).toMatchObject({ status: "queued", offset: 1 });
    expect(await other.next("progress")).toMatchObject({ status: "queued", offset: 1 });
    const back = await follow(id, `?since=${epoch}:0`);
    expect(await back.until("progress")).toMatchObject([
      { epoch, recovered: true, offset: 0 },
      { status: "queued", offset: 1 },
    ]);
  });

  it("can't report about it (B9)", async () => {
    const id = freshId();
    const backend = await followCaughtUp(id, "", OPERATOR);
    backend.send({ type: "progress", progress: 1, ref: 7 });
    expect(await backend.next("error")).toMatchObject({ code: "job_not_found", ref: 7 });
    expect(await hasObject(id)).toBe(false);
    const alarm = await runInDurableObject(indexOf(env, id), (_object, { storage }) =>
      storage.getAlarm(),
    );
    expect(alarm).not.toBeNull();
  });

  it("is closed with 4403 when the job is made private, unless its token names it (B8a)", async () => {
    const id = freshId();
    const stranger = await followCaughtUp(id);
    const invited = await followCaughtUp(id, "", await bearer({ rooms: [`job:${id}`] }));
    const backend = await followCaughtUp(id, "", await bearer({ publish: [`job:${id}`] }));
    const body = { id, visibility: "private" };
    await expectStatus(201, await call("POST", "/api/jobs", body, OPERATOR));
    expect(await stranger.next("error")).toMatchObject({ code: "not_allowed", job_id: id });
    expect((await stranger.closed).code).toBe(4403);
    for (const socket of [invited, backend]) {
      expect(await socket.next("progress")).toMatchObject({ status: "queued", offset: 1 });
    }
  });
});

describe("a socket of a private job", () => {
  it("that may not read the job gets the reason, and is closed with 4401 or 4403 (B7)", async () => {
    const id = await makeJob({ visibility: "private" });
    const stranger = await follow(id);
    expect(await stranger.next("connection.error")).toMatchObject({ code: "not_authenticated" });
    expect((await stranger.closed).code).toBe(4401);
    const user = await follow(id, "", await bearer({ rooms: ["job:other"] }));
    expect(await user.next("connection.error")).toMatchObject({ code: "not_allowed" });
    expect((await user.closed).code).toBe(4403);
    const expired = await follow(id, "", await bearer({ rooms: ["*"] }, -60));
    expect(await expired.next("connection.error")).toMatchObject({ message: /expired/ });
    expect((await expired.closed).code).toBe(4401);
  });

  it("accepts its token as browsers can send it: in the address, or as a subprotocol (B6b)", async () => {
    const id = await makeJob({ visibility: "private" });
    const { authorization } = await bearer({ rooms: [`job:${id}`] });
    const token = authorization.slice("Bearer ".length);
    expect(await (await follow(id, `?token=${token}`)).next("progress")).toMatchObject({
      offset: 1,
    });
    const protocols = { "sec-websocket-protocol": `dialout.v1, dialout.token.${token}` };
    expect(await (await follow(id, "", protocols)).next("progress")).toMatchObject({ offset: 1 });
  });

  it("is closed with 4401 when its token expires (B7a)", async () => {
    const id = await makeJob({ visibility: "private" });
    const viewer = await followCaughtUp(id, "", await bearer({ rooms: ["*"] }, 60));
    expect(Number(await alarmOf(id)) - Date.now()).toBeLessThanOrEqual(60_000);
    setClockAhead(50_000);
    await runAlarm(id);
    expect(await receiveSoFar(viewer)).toEqual([]);
    setClockAhead(61_000);
    await runAlarm(id);
    expect(await viewer.next("error")).toMatchObject({ code: "not_authenticated" });
    expect((await viewer.closed).code).toBe(4401);
  });

  it("that sends too much is closed with 4429 if it can't report (B9b)", async () => {
    const id = await makeJob();
    const viewer = await followCaughtUp(id);
    // A slow machine would take seconds to send them, in which more are allowed.
    setClockAhead(0);
    for (let n = 0; n < 900; n += 1) viewer.send({ type: "ack", offset: 1 });
    viewer.send({ type: "ping" });
    await viewer.next("pong");
    for (let n = 0; n < 1_500; n += 1) viewer.send({ type: "ping" });
    expect(await viewer.next("error")).toMatchObject({ code: "rate_limited" });
    expect((await viewer.closed).code).toBe(4429);
  });
});
