import { describe, expect, it } from "vitest";
import { LIMITS } from "../../src/protocol/limits.ts";
import { connectUser, freshRoom, publish, userToken } from "./rooms-support.ts";
import {
  call,
  connectWorker,
  expectStatus,
  type Frame,
  makeSpace,
  problemOf,
  runSql,
  submit,
  TestSocket,
  type WorkerSpace,
} from "./support.ts";

const KB = 1_024;

interface Answer {
  job?: { id: string; status: string; partial?: true; result?: unknown; urls: { self: string } };
  error?: { code: string; detail: string };
}

async function submitBatch(space: string, jobs: unknown[]) {
  const response = await call("POST", `/api/spaces/${space}/jobs/batch`, { jobs });
  const text = await (await expectStatus(202, response)).text();
  return { bytes: text.length, answers: (JSON.parse(text) as { jobs: Answer[] }).jobs };
}

/** Lets a worker complete every job it gets with a result of this size, in characters. */
async function completeWith(space: WorkerSpace, characters: number, concurrency = 10) {
  const { socket } = await connectWorker(space, { concurrency });
  const complete = async (): Promise<void> => {
    for (;;) {
      const { job_id, attempt } = await socket.next("job");
      socket.send({ type: "result", job_id, attempt, output: "r".repeat(characters) });
    }
  };
  void complete();
}

/** Submits a job and waits until it has ended. */
async function completed(space: WorkerSpace, body: object): Promise<string> {
  const { id } = await submit(space.name, body);
  await (await TestSocket.open(`/api/jobs/${id}/ws`)).closed;
  return id;
}

describe("the answer to a batch of submits", () => {
  it("has the places alone of jobs that were there before, once it is full (H13c)", async () => {
    const space = await makeSpace();
    await completeWith(space, 100 * KB);
    const ids = [];
    for (let key = 0; key < 15; key += 1) {
      ids.push(await completed(space, { input: { key }, idempotency_key: `key-${key}` }));
    }
    const jobs = ids.map((_, key) => ({ input: { key }, idempotency_key: `key-${key}` }));
    const { bytes, answers } = await submitBatch(space.name, [...jobs, { input: { fresh: 1 } }]);
    expect(bytes).toBeLessThan(LIMITS.batchAnswerBytes + 50 * KB);
    expect(answers.slice(0, -1).map(({ job }) => job?.id)).toEqual(ids);
    expect(answers[0]?.job).toMatchObject({ result: "r".repeat(100 * KB) });
    expect(answers[14]?.job).toEqual({
      id: ids[14],
      space: space.name,
      status: "completed",
      partial: true,
      urls: expect.objectContaining({ self: `/api/jobs/${ids[14]}` }),
    });
    expect(answers[15]?.job).toMatchObject({ input: { fresh: 1 }, result: null });
  });

  it("is as small if one job is named a thousand times (H13c)", async () => {
    const space = await makeSpace();
    await completeWith(space, 500 * KB);
    const once = { input: { n: 1 }, idempotency_key: "once" };
    const id = await completed(space, once);
    const { bytes, answers } = await submitBatch(space.name, Array(1_000).fill(once));
    expect(bytes).toBeLessThan(2 * LIMITS.batchAnswerBytes);
    expect(new Set(answers.map(({ job }) => job?.id))).toEqual(new Set([id]));
    expect(answers.filter(({ job }) => job?.partial)).not.toHaveLength(0);
  });

  it("refuses jobs whose answers from the cache are too much for one transaction, and stores nothing of them (H11c)", async () => {
    const space = await makeSpace({ cache_ttl_s: 600 });
    await completeWith(space, 800 * KB);
    await completed(space, { input: { n: 1 } });
    const { bytes, answers } = await submitBatch(space.name, Array(300).fill({ input: { n: 1 } }));
    expect(bytes).toBeLessThan(2 * LIMITS.batchAnswerBytes);
    const accepted = answers.filter(({ job }) => job?.status === "completed");
    const refused = answers.filter(({ error }) => error?.code === "payload_too_large");
    expect(accepted).toHaveLength(Math.floor(LIMITS.cachedBytes / (800 * KB)));
    expect(accepted.length + refused.length).toBe(300);
    expect(refused[0]?.error?.detail).toContain("submit this one again");
    const [row] = await runSql<{ bytes: number }>(
      space,
      "SELECT SUM(LENGTH(result)) AS bytes FROM jobs",
    );
    expect(row?.bytes).toBeLessThan(LIMITS.cachedBytes + 900 * KB);
    // The next batch may take over as much again.
    const again = await submitBatch(space.name, [{ input: { n: 1 } }]);
    expect(again.answers[0]?.job?.status).toBe("completed");
  });

  it("is short, however much is wrong with the jobs (H2d)", async () => {
    const space = await makeSpace({ offline: "queue" });
    const wrong = {
      input: {},
      webhook: { url: "https://a.example", events: Array(60).fill("x".repeat(50)) },
    };
    const { bytes } = await submitBatch(space.name, Array(1_000).fill(wrong));
    expect(bytes).toBeLessThan(1_000 * KB);
  });
});

describe("a batch of submits", () => {
  it.each([
    ["lists", "[],"],
    ["numbers that keep their digits", "1.0,"],
    ["fields", '{"a":1},'],
  ])("with too many %s is refused as a whole, and says so (H13d)", async (_what, part) => {
    const space = await makeSpace({ offline: "queue" });
    const list = `[${part.repeat(LIMITS.bodyParts / 10)}0]`;
    const jobs = Array(11).fill(`{"input":{"a":${list}}}`);
    const body = `{"jobs":[${jobs.join()}]}`;
    expect(body.length).toBeLessThan(LIMITS.batchBodyBytes);
    const path = `/api/spaces/${space.name}/jobs/batch`;
    expect(await problemOf(413, call("POST", path, body))).toMatchObject({
      code: "payload_too_large",
      detail: expect.stringContaining("send it in parts"),
    });
  });

  it("over the socket of a space refuses what is too much for the cache, with its `ref` (H11c)", async () => {
    const space = await makeSpace({ cache_ttl_s: 600 });
    await completeWith(space, 800 * KB);
    await completed(space, { input: { n: 1 } });
    const socket = await TestSocket.open(`/api/spaces/${space.name}/ws?batch=1`);
    const submits = Array.from({ length: 50 }, (_, ref) => {
      return { type: "submit", ref, input: { n: 1 } };
    });
    socket.send({ type: "batch", frames: submits });
    const answered = new Map<unknown, Frame>();
    while (answered.size < 50) {
      for (const frame of unpacked([await socket.next(() => true)])) {
        if (frame.ref !== undefined) answered.set(frame.ref, frame);
      }
    }
    const types = [...answered.values()].map(({ type, code }) => code ?? type);
    expect(types.filter((type) => type === "accepted")).toHaveLength(5);
    expect(types.filter((type) => type === "payload_too_large")).toHaveLength(45);
  });
});

describe("following a job again and again", () => {
  it("is answered when the socket may be sent more, in the order of the frames (S12a)", async () => {
    const space = await makeSpace();
    await completeWith(space, 900 * KB);
    const job_id = await completed(space, { input: {} });
    const socket = await TestSocket.open(`/api/spaces/${space.name}/ws?batch=1`);
    const follows = Array(40).fill({ type: "follow", job_id });
    socket.send({
      type: "batch",
      frames: [...follows, { type: "cancel", job_id: missing(space), ref: "end" }],
    });
    const startedAt = Date.now();
    // Beside the many follows, others are served.
    const other = await TestSocket.open(`/api/spaces/${space.name}/ws`);
    other.send({ type: "follow", job_id, ref: 1 });
    await other.next((frame) => frame.status === "completed");
    expect(Date.now() - startedAt).toBeLessThan(10_000);
    const bytes = () => JSON.stringify(socket.unread).length;
    const seconds = () => (Date.now() - startedAt) / 1_000;
    await expect.poll(bytes).toBeGreaterThan(2 * LIMITS.catchUpBytes);
    expect(bytes()).toBeLessThan(
      LIMITS.catchUpBytes + (seconds() + 1) * LIMITS.catchUpBytesPerSecond + 1_024 * KB,
    );
    expect(unpacked(socket.unread).some(({ ref }) => ref === "end")).toBe(false);
    socket.close();
  });

  it("costs nothing if the client has it all already (C9)", async () => {
    const space = await makeSpace();
    const { socket: worker } = await connectWorker(space);
    const { id: job_id } = await submit(space.name);
    await worker.next("job");
    const live = await TestSocket.open(`/api/jobs/${job_id}/ws`);
    worker.send({ type: "output", job_id, attempt: 1, delta: "o".repeat(900 * KB) });
    const { offset } = await live.next("output");
    const since = `${String(job_id).slice(-8)}:${offset}`;
    const socket = await TestSocket.open(`/api/spaces/${space.name}/ws`);
    for (let ref = 0; ref < 200; ref += 1) socket.send({ type: "follow", job_id, since, ref });
    const opened = () =>
      socket.unread.filter(({ type, job_id: of }) => type === "connection" && of === job_id);
    // At 2 MiB a second they would take more than a minute.
    await expect.poll(() => opened().length, { timeout: 10_000 }).toBe(200);
    expect(opened().every(({ recovered }) => recovered === true)).toBe(true);
  });

  it("closes the socket if too much waits, and says why (S9d)", async () => {
    const space = await makeSpace({ offline: "queue" });
    await completeWith(space, 900 * KB);
    const job_id = await completed(space, { input: {} });
    const socket = await TestSocket.open(`/api/spaces/${space.name}/ws`);
    for (let n = 0; n < 12; n += 1) socket.send({ type: "follow", job_id });
    const large = { type: "submit", ref: 1, input: { a: "a".repeat(500 * KB) } };
    for (let n = 0; n < 20; n += 1) socket.send(large);
    expect(await socket.next("error")).toMatchObject({ code: "rate_limited" });
    expect((await socket.closed).code).toBe(4429);
  });
});

describe("a room's past", () => {
  it("comes in pages that have a bound, and the next page goes on (R18g)", async () => {
    const room = freshRoom();
    for (let n = 0; n < 14; n += 1) await publish(room, "page.big", { n, a: "a".repeat(200 * KB) });
    const token = await userToken("reader", { rooms: [room] });
    const seen: number[] = [];
    let since = "";
    for (let more = true; more; ) {
      const path = `/api/rooms/${room}/history?limit=1000${since && `&since=${since}`}`;
      const response = await call("GET", path, undefined, { authorization: `Bearer ${token}` });
      const text = await response.text();
      expect(text.length).toBeLessThan(LIMITS.historyBytes + KB);
      const page = JSON.parse(text) as {
        more: boolean;
        next: string;
        events: { data: { n: number } }[];
      };
      seen.push(...page.events.map(({ data }) => data.n));
      ({ more, next: since } = page);
    }
    expect(seen).toEqual(Array.from({ length: 14 }, (_, n) => n));
  });

  it("is sent to a subscriber that asks for it again and again when it may be sent more (R4e)", async () => {
    const room = freshRoom();
    for (let n = 0; n < 10; n += 1) await publish(room, "page.big", { n, a: "a".repeat(200 * KB) });
    const socket = await connectUser("greedy", { rooms: [room] });
    socket.send({ type: "subscribe", room });
    const { epoch } = await socket.next(
      (frame) => frame.type === "subscribed" && frame.room === room,
    );
    const startedAt = Date.now();
    for (let ref = 0; ref < 30; ref += 1) {
      socket.send({ type: "subscribe", room, since: `${epoch}:0`, ref });
    }
    const bytes = () => JSON.stringify(socket.unread).length;
    await expect.poll(bytes).toBeGreaterThan(2 * LIMITS.catchUpBytes);
    const seconds = (Date.now() - startedAt) / 1_000;
    expect(bytes()).toBeLessThan(
      LIMITS.catchUpBytes + (seconds + 1) * LIMITS.catchUpBytesPerSecond + 3_000 * KB,
    );
    socket.close();
  });
});

describe("a worker with many places", () => {
  it("runs no more at once than fit into memory, and gets the rest as they end (W11a)", async () => {
    const space = await makeSpace({ offline: "queue" });
    const fit = Math.ceil(LIMITS.runningInputBytes / (500 * KB));
    const input = { a: "a".repeat(500 * KB) };
    for (let n = 0; n < 5; n += 1) await submitBatch(space.name, Array(15).fill({ input }));
    const { socket } = await connectWorker(space, { concurrency: 100 });
    const held: unknown[] = [];
    while (held.length < fit) {
      const { job_id, attempt } = await socket.next("job");
      held.push(job_id);
      // Each frame shows that the worker reads (W11b).
      socket.send({ type: "accept", job_id, attempt });
    }
    const path = `/api/spaces/${space.name}`;
    const counts = async () => (await call("GET", path)).json<{ status: { processing: number } }>();
    expect(JSON.stringify(await counts())).toContain(`"processing":${fit}`);
    socket.send({ type: "result", job_id: held[0], attempt: 1, output: null });
    await socket.next("job");
    socket.close();
  }, 180_000);
});

function missing({ name }: { name: string }): string {
  return `${name}.${"0".repeat(26)}`;
}

/** The frames, those of batches among them. */
function unpacked(frames: readonly Frame[]): Frame[] {
  return frames.flatMap((frame) => (frame.type === "batch" ? (frame.frames as Frame[]) : [frame]));
}
