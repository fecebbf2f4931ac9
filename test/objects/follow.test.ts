import { evictDurableObject } from "cloudflare:test";
import { describe, expect, it } from "vitest";
import { LIMITS } from "../../src/protocol/limits.ts";
import { EventReader } from "./event-reader.ts";
import {
  call,
  connectWorker,
  expectStatus,
  type Frame,
  getJob,
  makeSpace,
  type NamedSpace,
  objectOf,
  problemOf,
  submit,
  TestSocket,
} from "./support.ts";

/** Connects a worker and starts a job on it; `sendAsWorker` sends a frame of the worker about this job. */
async function startJob(input: object = {}) {
  const space = await makeSpace({ offline: "queue" });
  const { socket: worker } = await connectWorker(space);
  const { id: job_id } = await submit(space.name, { input });
  await worker.next("job");
  const sendAsWorker = (type: string, more: object) =>
    worker.send({ type, job_id, attempt: 1, ...more });
  return { space, worker, job_id, sendAsWorker };
}

function spaceSocket(space: NamedSpace, query = ""): Promise<TestSocket> {
  return TestSocket.open(`/api/spaces/${space.name}/ws${query}`);
}

/** Returns every frame that the socket gets until the edge has handled what was sent before this call. */
async function receiveSoFar(socket: TestSocket, space: NamedSpace): Promise<Frame[]> {
  const frames: Frame[] = [];
  // Twice: the first answer may come in the turn of the frames before it, and follows take effect at a turn's end.
  for (const ref of ["so far 1", "so far 2"]) {
    socket.send({ type: "cancel", job_id: `${space.name}.${"0".repeat(26)}`, ref });
    frames.push(...(await socket.until((frame) => frame.ref === ref)).slice(0, -1));
  }
  return frames;
}

/** Returns once the job has a stored event that matches `wanted`. */
async function waitForEvent(job_id: string, wanted: (frame: Frame) => boolean): Promise<void> {
  const watcher = await TestSocket.open(`/ws/${job_id}`);
  await watcher.next(wanted);
  watcher.close();
}

function offsetsOf(frames: Frame[]): unknown[] {
  return frames.map(({ offset }) => offset);
}

describe("a follower of one job", () => {
  it("that comes late gets the streamed output and the state, then every live frame without a gap (C10b)", async () => {
    const { job_id, sendAsWorker } = await startJob();
    sendAsWorker("output", { delta: "a" });
    sendAsWorker("output", { delta: "b" });
    sendAsWorker("progress", { progress: 30, message: "on it" });
    await waitForEvent(job_id, (frame) => frame.progress === 30);
    const viewer = await TestSocket.open(`/api/jobs/${job_id}/ws`);
    const caughtUp = await viewer.until("progress");
    expect(caughtUp).toMatchObject([
      { type: "connection", job_id, offset: 5, recovered: false },
      { type: "output", job_id, delta: "ab", from: 3, offset: 4 },
      { type: "progress", status: "processing", progress: 30, message: "on it", offset: 5 },
    ]);
    sendAsWorker("output", { delta: "c" });
    sendAsWorker("result", { output: { done: true } });
    const live = await viewer.until((frame) => frame.status === "completed");
    expect(live).toMatchObject([
      { type: "output", delta: "c", offset: 6 },
      { type: "progress", progress: 100, result: { done: true }, offset: 7 },
    ]);
    expect((await viewer.closed).code).toBe(1000);
  });

  it("that comes back gets exactly the events that it missed (C9)", async () => {
    const { job_id, sendAsWorker } = await startJob();
    sendAsWorker("output", { delta: "a" });
    sendAsWorker("output", { delta: "b" });
    const first = await TestSocket.open(`/ws/${job_id}`);
    const { epoch } = await first.next("connection");
    await first.next((frame) => frame.delta === "b");
    for (const seen of [0, 1, 2, 3, 4]) {
      const again = await TestSocket.open(`/ws/${job_id}?since=${epoch}:${seen}`);
      expect(await again.next("connection")).toMatchObject({ offset: seen, recovered: true });
      again.send("{");
      const missed = (await again.until("error")).slice(0, -1);
      expect(offsetsOf(missed)).toEqual([1, 2, 3, 4].filter((offset) => offset > seen));
    }
  });

  it("with a position of another epoch, or one that can't be read, gets a snapshot (C8, C10)", async () => {
    const { job_id, sendAsWorker } = await startJob();
    sendAsWorker("output", { delta: "a" });
    await waitForEvent(job_id, (frame) => frame.delta === "a");
    const { epoch } = await (await TestSocket.open(`/ws/${job_id}`)).next("connection");
    for (const since of ["ZZZZZZZZ:2", `${epoch}:4`, `${epoch}:`, `${epoch}:-1`, "2", ":", "%00"]) {
      const viewer = await TestSocket.open(`/ws/${job_id}?since=${since}`);
      expect(await viewer.until("progress")).toMatchObject([
        { type: "connection", epoch, recovered: false },
        { type: "output", offset: 3 },
        { type: "progress", status: "processing", offset: 3 },
      ]);
    }
  });

  it("that is over gets its end and is closed with 1000 (S13a)", async () => {
    const { job_id, sendAsWorker, worker } = await startJob();
    sendAsWorker("output", { delta: "a" });
    sendAsWorker("result", { output: 1 });
    await worker.next("ack");
    const viewer = await TestSocket.open(`/ws/${job_id}`);
    const frames = await viewer.until("progress");
    expect(frames).toMatchObject([
      { type: "connection", recovered: false },
      { type: "output", delta: "a" },
      { type: "progress", status: "completed", result: 1, offset: 4 },
    ]);
    expect(await viewer.closed).toMatchObject({ code: 1000 });
    const [{ epoch }] = frames as [Frame];
    const again = await TestSocket.open(`/ws/${job_id}?since=${epoch}:3`);
    expect(await again.until("progress")).toMatchObject([
      { type: "connection", recovered: true },
      { type: "progress", status: "completed", result: 1, offset: 4 },
    ]);
    expect((await again.closed).code).toBe(1000);
  });

  it("that comes during a second attempt gets the output of that attempt only, and with a position all of it (C10b, C9)", async () => {
    const { space, worker, job_id, sendAsWorker } = await startJob();
    sendAsWorker("output", { delta: "old" });
    sendAsWorker("fail", { code: "oom", message: "out of memory", retryable: true });
    await worker.next("job");
    worker.send({ type: "output", job_id, attempt: 2, delta: "new" });
    await waitForEvent(job_id, (frame) => frame.delta === "new");
    const viewer = await TestSocket.open(`/ws/${job_id}`);
    const frames = await viewer.until("progress");
    expect(frames.filter(({ type }) => type === "output")).toMatchObject([{ delta: "new" }]);
    expect(frames.at(-1)).toMatchObject({ attempt: 2 });
    const { epoch } = frames[0] as Frame;
    const ofSpace = await spaceSocket(space);
    ofSpace.send({ type: "follow", job_id, since: `${epoch}:0` });
    const whole = await ofSpace.until((frame) => frame.delta === "new");
    expect(offsetsOf(whole.filter(({ type }) => type === "progress" || type === "output"))).toEqual(
      [1, 2, 3, 4, 5, 6],
    );
  });

  it("may cancel the job, and its socket is closed after the end (S13, S13a)", async () => {
    const { job_id, sendAsWorker, worker } = await startJob();
    const viewer = await TestSocket.open(`/ws/${job_id}`);
    viewer.send({ type: "cancel" });
    expect(await worker.next("cancel")).toMatchObject({ job_id, attempt: 1 });
    sendAsWorker("fail", { code: "canceled", message: "stopped" });
    expect(await viewer.next((frame) => frame.status === "canceled")).toMatchObject({
      error: { code: "canceled" },
    });
    expect((await viewer.closed).code).toBe(1000);
  });
});

describe("a follower on the socket of a space", () => {
  it("that comes late gets the streamed output and the state, then every live frame (C10b)", async () => {
    const { space, job_id, sendAsWorker } = await startJob();
    sendAsWorker("output", { delta: "a" });
    await waitForEvent(job_id, (frame) => frame.delta === "a");
    const viewer = await spaceSocket(space);
    viewer.send({ type: "follow", job_id });
    const caughtUp = await viewer.until("progress");
    expect(caughtUp.filter((frame) => frame.job_id === job_id)).toMatchObject([
      { type: "connection", offset: 3, recovered: false },
      { type: "output", delta: "a", offset: 3 },
      { type: "progress", status: "processing", offset: 3 },
    ]);
    sendAsWorker("output", { delta: "b" });
    sendAsWorker("result", { output: null });
    const live = await viewer.until((frame) => frame.status === "completed");
    expect(offsetsOf(live.filter((frame) => frame.job_id === job_id))).toEqual([4, 5]);
  });

  it("gets the events after the position that it names, or a snapshot (C9, C10)", async () => {
    const { space, job_id, sendAsWorker } = await startJob();
    sendAsWorker("output", { delta: "a" });
    sendAsWorker("output", { delta: "b" });
    await waitForEvent(job_id, (frame) => frame.delta === "b");
    const { epoch } = await (await TestSocket.open(`/ws/${job_id}`)).next("connection");
    const viewer = await spaceSocket(space);
    viewer.send({ type: "follow", job_id, since: `${epoch}:3` });
    const frames = await receiveSoFar(viewer, space);
    expect(frames.filter((frame) => frame.job_id === job_id)).toMatchObject([
      { type: "connection", offset: 3, recovered: true },
      { type: "output", delta: "b", offset: 4 },
    ]);
    viewer.send({ type: "follow", job_id, since: "ZZZZZZZZ:3" });
    const snapshot = await viewer.until("progress");
    expect(snapshot.filter((frame) => frame.job_id === job_id)).toMatchObject([
      { recovered: false },
      { delta: "ab", from: 3, offset: 4 },
      { status: "processing" },
    ]);
  });

  it("that comes in the same turn as the worker's output gets each piece once", async () => {
    const { space, job_id, sendAsWorker } = await startJob();
    const viewers: TestSocket[] = [];
    for (let index = 0; index < 4; index += 1) viewers.push(await spaceSocket(space));
    for (const [index, viewer] of viewers.entries()) {
      sendAsWorker("output", { delta: `${index} before` });
      viewer.send({ type: "follow", job_id });
      sendAsWorker("output", { delta: `${index} after` });
    }
    sendAsWorker("result", { output: null });
    for (const viewer of viewers) {
      const received = await viewer.until((frame) => frame.status === "completed");
      const frames = received.filter((frame) => frame.job_id === job_id);
      const pieces = frames.filter(({ type }) => type === "output");
      expect(offsetsOf(pieces)).toEqual([3, 4, 5, 6, 7, 8, 9, 10]);
      const snapshot = frames.findIndex(({ type }) => type === "progress");
      const live = frames.slice(snapshot + 1);
      const from = Number(frames[snapshot]?.offset) + 1;
      expect(offsetsOf(live)).toEqual(live.map((_, index) => from + index));
    }
  });

  it("gets nothing about a job that it unfollowed, even its own", async () => {
    const { space, worker, job_id, sendAsWorker } = await startJob();
    const viewer = await spaceSocket(space);
    viewer.send({ type: "follow", job_id });
    viewer.send({ type: "submit", ref: 1, input: {} });
    const own = String((await viewer.next("accepted")).job_id);
    viewer.send({ type: "unfollow", job_id });
    viewer.send({ type: "unfollow", job_id: own });
    await receiveSoFar(viewer, space);
    sendAsWorker("output", { delta: "x" });
    sendAsWorker("result", { output: null });
    await worker.next((frame) => frame.job_id === own);
    worker.send({ type: "result", job_id: own, attempt: 1, output: null });
    await worker.next((frame) => frame.type === "ack" && frame.job_id === own);
    const received = await receiveSoFar(viewer, space);
    expect(received.filter(({ type }) => type !== "space.status")).toEqual([]);
  });

  it("gets its own job's events again once it follows it again", async () => {
    const space = await makeSpace({ offline: "queue" });
    const viewer = await spaceSocket(space);
    viewer.send({ type: "submit", ref: 1, input: {} });
    const { job_id } = await viewer.next("accepted");
    viewer.send({ type: "unfollow", job_id });
    viewer.send({ type: "follow", job_id });
    await viewer.next((frame) => frame.type === "connection" && frame.job_id === job_id);
    viewer.send({ type: "cancel", job_id });
    expect(await viewer.next((frame) => frame.status === "canceled")).toMatchObject({ job_id });
  });

  it("gets `job_not_found` with its `ref` if the space has no such job (S7, S8)", async () => {
    const space = await makeSpace();
    const other = await startJob();
    const viewer = await spaceSocket(space);
    for (const job_id of [`${space.name}.${"0".repeat(26)}`, other.job_id]) {
      for (const type of ["follow", "cancel"]) {
        viewer.send({ type, job_id, ref: type });
        expect(await viewer.next("error")).toMatchObject({
          code: "job_not_found",
          job_id,
          ref: type,
        });
      }
    }
    expect(await getJob(other.job_id)).toMatchObject({ status: "processing" });
  });

  describe("of as many jobs as one socket may follow", () => {
    async function waitingJobs(count: number) {
      const space = await makeSpace({ offline: "queue" });
      const submitter = await spaceSocket(space);
      for (let ref = 1; ref <= count; ref += 1) submitter.send({ type: "submit", ref, input: {} });
      const frames = await submitter.until((frame) => frame.ref === count);
      const accepted = frames.filter(({ type }) => type === "accepted");
      return { space, jobs: accepted.map(({ job_id }) => String(job_id)) };
    }

    it("is refused one more, until it unfollows one (S12)", async () => {
      const { space, jobs } = await waitingJobs(LIMITS.followsPerSocket + 1);
      const [extra, ...others] = jobs as [string, ...string[]];
      const viewer = await spaceSocket(space);
      for (const job_id of others) viewer.send({ type: "follow", job_id });
      await receiveSoFar(viewer, space);
      viewer.send({ type: "follow", job_id: extra, ref: 7 });
      expect(await viewer.next("error")).toMatchObject({ code: "too_many_follows", job_id: extra });
      viewer.send({ type: "follow", job_id: others[0] });
      expect(await viewer.next("connection")).toMatchObject({ job_id: others[0] });
      viewer.send({ type: "unfollow", job_id: others[0] });
      viewer.send({ type: "follow", job_id: extra });
      expect(await viewer.next("connection")).toMatchObject({ job_id: extra });
    });

    it("is refused more that come in the same turn, too (S12)", async () => {
      const { space, jobs } = await waitingJobs(LIMITS.followsPerSocket + 20);
      const viewer = await spaceSocket(space);
      await viewer.next("space.status");
      for (const job_id of jobs) viewer.send({ type: "follow", job_id });
      const received = await receiveSoFar(viewer, space);
      const followed = received.filter(({ type }) => type === "connection");
      const refused = received.filter(({ code }) => code === "too_many_follows");
      expect([followed.length, refused.length]).toEqual([LIMITS.followsPerSocket, 20]);
    });
  });
});

describe("a stream of a job's events", () => {
  async function openEvents(job_id: string, headers: Record<string, string> = {}) {
    const path = `/api/jobs/${job_id}/events`;
    const answer = await expectStatus(200, await call("GET", path, undefined, headers));
    expect(answer.headers.get("content-type")).toBe("text/event-stream; charset=utf-8");
    return new EventReader(answer);
  }

  it("has the frames of the job's socket, each with its position, and ends with the job (C12, C12a)", async () => {
    const { job_id, sendAsWorker } = await startJob();
    const socket = await TestSocket.open(`/ws/${job_id}`);
    const stream = await openEvents(job_id);
    sendAsWorker("output", { delta: "line\n\nbreak" });
    sendAsWorker("progress", { progress: 50 });
    sendAsWorker("result", { output: { ok: true } });
    const frames = await socket.until((frame) => frame.status === "completed");
    const events = await stream.rest();
    expect(events.map(({ frame }) => frame)).toEqual(frames);
    expect(events.map(({ event }) => event)).toEqual(frames.map(({ type }) => type));
    const { epoch } = frames[0] as Frame;
    expect(events.map(({ id }) => id)).toEqual(
      frames.map(({ type, offset }) => (type === "connection" ? undefined : `${epoch}:${offset}`)),
    );
  });

  it("goes on after the last event that its reader got (C8, C9)", async () => {
    const { job_id, sendAsWorker } = await startJob();
    const first = await openEvents(job_id);
    sendAsWorker("output", { delta: "a" });
    let seen = await first.next();
    while (seen && seen.frame.delta !== "a") seen = await first.next();
    await first.cancel();
    sendAsWorker("output", { delta: "b" });
    sendAsWorker("result", { output: null });
    await waitForEvent(job_id, (frame) => frame.status === "completed");
    const again = await openEvents(job_id, { "last-event-id": seen?.id ?? "" });
    expect((await again.rest()).map(({ frame }) => frame)).toMatchObject([
      { type: "connection", recovered: true, offset: 3 },
      { type: "output", delta: "b", offset: 4 },
      { type: "progress", status: "completed", offset: 5 },
    ]);
  });

  it("is answered 204 for a reader that got the end (C13)", async () => {
    const { job_id, sendAsWorker, worker } = await startJob();
    sendAsWorker("result", { output: null });
    await worker.next("ack");
    const events = await (await openEvents(job_id)).rest();
    expect(events.at(-1)).toMatchObject({ event: "progress", frame: { status: "completed" } });
    const path = `/api/jobs/${job_id}/events`;
    const seen = { "last-event-id": events.at(-1)?.id ?? "" };
    const over = await call("GET", path, undefined, seen);
    expect([over.status, await over.text()]).toEqual([204, ""]);
  });

  it("of a job that doesn't exist is answered 404", async () => {
    const space = await makeSpace();
    const path = `/api/jobs/${space.name}.${"0".repeat(26)}/events`;
    expect(await problemOf(404, call("GET", path))).toMatchObject({ code: "job_not_found" });
  });
});

describe("a submit that prefers to wait", () => {
  function submitWaiting(space: NamedSpace, prefer: string): Promise<Response> {
    return call("POST", `/api/spaces/${space.name}/jobs`, { input: {} }, { prefer });
  }

  it("is answered with the job once it has ended (H7)", async () => {
    const space = await makeSpace();
    const { socket: worker } = await connectWorker(space);
    for (const [prefer, applied] of [
      ["wait=30", "wait=30"],
      ["wait", `wait=${LIMITS.waitSeconds}`],
      ["respond-async, wait=999", `wait=${LIMITS.waitSeconds}`],
    ] as const) {
      const waiting = submitWaiting(space, prefer);
      const { job_id } = await worker.next("job");
      worker.send({ type: "result", job_id, attempt: 1, output: "done" });
      const answer = await expectStatus(200, await waiting);
      expect(answer.headers.get("preference-applied")).toBe(applied);
      expect(answer.headers.get("location")).toBe(`/api/jobs/${job_id}`);
      expect(await answer.json()).toMatchObject({
        id: job_id,
        status: "completed",
        result: "done",
      });
    }
  });

  it("is answered with the job as it is if the wait is over first (H7)", async () => {
    const { space, worker } = await startJob();
    for (const seconds of [0, 1]) {
      const answer = await expectStatus(202, await submitWaiting(space, `wait=${seconds}`));
      expect(answer.headers.get("preference-applied")).toBe(`wait=${seconds}`);
      expect(await answer.json()).toMatchObject({ status: "queued", queue_position: seconds + 1 });
    }
    worker.close();
  });

  it("goes on waiting if the space restarts", async () => {
    const space = await makeSpace();
    const first = await connectWorker(space);
    const waiting = submitWaiting(space, "wait=30");
    const { job_id } = await first.socket.next("job");
    // Once this progress is stored, the waiting submit certainly follows the job.
    first.socket.send({ type: "progress", job_id, attempt: 1, progress: 1 });
    await waitForEvent(String(job_id), (frame) => frame.progress === 1);
    await evictDurableObject(objectOf(space), { webSockets: "close" });
    const { socket: worker } = await connectWorker(space, { resume: [{ job_id, attempt: 1 }] });
    worker.send({ type: "result", job_id, attempt: 1, output: "late" });
    const answer = await expectStatus(200, await waiting);
    expect(await answer.json()).toMatchObject({ status: "completed", result: "late" });
  });

  it("is answered at once without `wait`", async () => {
    const { space } = await startJob();
    const answer = await expectStatus(202, await submitWaiting(space, "respond-async"));
    expect(answer.headers.get("preference-applied")).toBeNull();
  });
});

describe("the status of a space", () => {
  it("is sent to its sockets on every change, with offsets without a gap (S3a, C14)", async () => {
    const space = await makeSpace({ offline: "queue" });
    const viewer = await spaceSocket(space);
    expect(await viewer.next("connection")).toMatchObject({ space: space.name, recovered: false });
    const statuses: Frame[] = [];
    const status = async (wanted: object) => {
      const fits = (frame: Frame) =>
        Object.entries(wanted).every(([key, value]) => frame[key] === value);
      statuses.push(...(await viewer.until(fits)));
    };
    await status({ worker: "disconnected", queue_size: 0, processing: 0 });
    const first = await connectWorker(space, { name: "box" });
    await status({ worker: "connected", worker_name: "box", queue_size: 0, processing: 0 });
    const job = await submit(space.name);
    await status({ worker: "connected", queue_size: 0, processing: 1 });
    await submit(space.name);
    await status({ queue_size: 1, processing: 1, waiting_reason: "Every worker is busy." });
    first.socket.send({ type: "drain", reason: "update" });
    await status({ worker: "draining", queue_size: 1, processing: 1 });
    first.socket.close(1001);
    await status({ worker: "reconnecting", queue_size: 1, processing: 1 });
    const resume = [{ job_id: job.id, attempt: 1 }];
    const second = await connectWorker(space, { name: "box", resume });
    await status({ worker: "connected", queue_size: 1, processing: 1 });
    second.socket.close(1000);
    await status({ worker: "disconnected", queue_size: 2, processing: 0 });
    expect(offsetsOf(statuses)).toEqual(statuses.map((_, index) => index + 1));
  });

  it("is sent to the sockets that are open even if a new socket reads it first (S3a)", async () => {
    const space = await makeSpace({ offline: "queue" });
    const early = await spaceSocket(space);
    await submit(space.name);
    const late = await spaceSocket(space);
    for (const socket of [early, late]) {
      expect(await socket.next((frame) => frame.queue_size === 1)).toMatchObject({
        type: "space.status",
      });
    }
  });

  it("is not sent again to a socket that comes back and missed nothing (S3a)", async () => {
    const space = await makeSpace({ offline: "queue" });
    const { epoch } = await (await spaceSocket(space)).next("connection");
    const again = await spaceSocket(space, `?since=${epoch}:1`);
    expect(await receiveSoFar(again, space)).toMatchObject([
      { type: "connection", epoch, offset: 1, recovered: true },
    ]);
    await submit(space.name);
    await again.next((frame) => frame.queue_size === 1);
    const missed = await spaceSocket(space, `?since=${epoch}:1`);
    const frames = await missed.until("space.status");
    expect(frames).toMatchObject([{ type: "connection" }, { queue_size: 1, offset: 2 }]);
  });

  it("starts a new epoch, with another `connection`, after the space was evicted from memory (S3b)", async () => {
    const space = await makeSpace({ offline: "queue" });
    const viewer = await spaceSocket(space);
    const { epoch } = await viewer.next("connection");
    await viewer.next("space.status");
    await evictDurableObject(objectOf(space));
    await submit(space.name);
    const frames = await viewer.until((frame) => frame.queue_size === 1);
    expect(frames[0]).toMatchObject({ type: "connection", space: space.name, recovered: false });
    expect(frames[0]?.epoch).not.toBe(epoch);
    const statuses = frames.slice(1);
    expect(offsetsOf(statuses)).toEqual(statuses.map((_, index) => index + 1));
  });
});
