import { afterAll, beforeAll, beforeEach, describe, expect, it, onTestFinished } from "vitest";
import { WebSocket } from "ws";
import { operatorKey } from "../../scripts/local.ts";
import { assertUndisturbed, Bystander, MemoryWatch } from "../support/bystander.ts";
import { FrameSocket } from "../support/frame-socket.ts";
import { freePort } from "../support/port.ts";
import { EdgeClient } from "./client.ts";
import { makeState, type RunningEdge, removeState, runEdge } from "./edge.ts";

const MB = 1_048_576;
/** By how much the edge's memory may grow: what the attacks had built was a gigabyte and more. */
const ALLOWED_GROWTH = 300 * MB;

let running: RunningEdge;
let state: string;
let edge: EdgeClient;
let bystander: Bystander;

/** An edge of its own: its memory is measured, and no other test must wait for what is done to it. */
beforeAll(async () => {
  state = await makeState();
  running = await runEdge(state, await freePort());
  edge = new EdgeClient(running.url);
  bystander = await Bystander.open(edge.url, await edge.makeSpace());
});

afterAll(async () => {
  bystander.close();
  await running.program.stop();
  await removeState(state);
});

let victim: { name: string; token: string };
let bigJob: string;

/** A job that has ended with 1 MB of output and a large result, which is remembered by key and by cache. */
beforeEach(async () => {
  victim = await edge.makeSpace({ cache_ttl_s: 3_600 });
  const worker = await FrameSocket.open(`${edge.url}/api/spaces/${victim.name}/connect`, {
    authorization: `Bearer ${victim.token}`,
  });
  onTestFinished(() => worker.close());
  worker.send({ type: "register", worker_id: "big" });
  await worker.next("registered");
  const submitted = edge.call("POST", `/api/spaces/${victim.name}/jobs`, BIG);
  const { job_id, attempt } = await worker.next("job");
  bigJob = String(job_id);
  await submitted;
  for (let n = 0; n < 20; n += 1) {
    worker.send({ type: "output", job_id, attempt, delta: "o".repeat(50_000) });
  }
  worker.send({ type: "result", job_id, attempt, output: "r".repeat(400_000) });
  await worker.next("ack");
});

const BIG = { input: { n: 1 }, idempotency_key: "big" };

/** Runs an attack beside another client, which must not notice it, and returns what the attack returned. */
async function attacked<T>(attack: () => Promise<T>): Promise<T> {
  const memory = new MemoryWatch(running.program);
  try {
    const comparison = await bystander.compare(attack);
    assertUndisturbed(comparison);
    expect(memory.growth).toBeLessThan(ALLOWED_GROWTH);
    return comparison.result;
  } finally {
    memory.stop();
  }
}

/** Opens a socket that sends these frames and never reads, and waits for a moment. */
async function sendUnread(path: string, messages: readonly string[]): Promise<void> {
  const socket = new WebSocket(edge.url.replace(/^http/, "ws") + path, {
    headers: { authorization: `Bearer ${operatorKey()}` },
  });
  socket.on("error", () => undefined);
  await new Promise((resolve) => socket.once("open", resolve));
  socket.pause();
  for (const message of messages) socket.send(message);
  await new Promise((resolve) => setTimeout(resolve, ATTACK_MS));
  socket.terminate();
}

/** How long an attack lasts that is not answered. */
const ATTACK_MS = 5_000;

async function batch(jobs: unknown[]): Promise<string> {
  const response = await edge.call("POST", `/api/spaces/${victim.name}/jobs/batch`, { jobs });
  expect(response.status).toBe(202);
  return response.text();
}

describe("another client is served as always while somebody", () => {
  it("follows one large job 700 times in one message (S12a)", async () => {
    const frames = Array(700).fill({ type: "follow", job_id: bigJob });
    const message = JSON.stringify({ type: "batch", frames });
    await attacked(() => sendUnread(`/api/spaces/${victim.name}/ws?batch=1`, [message]));
  });

  it("follows it 400 times without reading (S12a)", async () => {
    const follow = JSON.stringify({ type: "follow", job_id: bigJob });
    await attacked(() => sendUnread(`/api/spaces/${victim.name}/ws`, Array(400).fill(follow)));
  });

  it("submits the same input a thousand times, which the cache answers (H11c, H13c)", async () => {
    const text = await attacked(() => batch(Array(1_000).fill({ input: BIG.input })));
    expect(text.length).toBeLessThan(3 * MB);
    expect(text).toContain("payload_too_large");
  });

  it("submits 900 jobs that all require something else, which its worker does one by one (Q5)", async () => {
    const space = await edge.makeSpace({ offline: "queue" });
    const words = Array.from({ length: 45 }, (_, n) => `word-${n}`);
    const worker = await FrameSocket.open(`${edge.url}/api/spaces/${space.name}/connect`, {
      authorization: `Bearer ${space.token}`,
    });
    onTestFinished(() => worker.close());
    worker.send({ type: "register", worker_id: "all", capabilities: words });
    await worker.next("registered");
    const pairs = words.flatMap((one, n) => words.slice(0, n).map((other) => [one, other]));
    const jobs = pairs.slice(0, 900).map((requires) => ({ input: {}, requires }));
    const done = await attacked(async () => {
      const response = await edge.call("POST", `/api/spaces/${space.name}/jobs/batch`, { jobs });
      const answer = (await response.json()) as { jobs: { job?: object }[] };
      const accepted = answer.jobs.filter(({ job }) => job !== undefined).length;
      for (let n = 0; n < accepted; n += 1) {
        const { job_id, attempt } = await worker.next("job");
        worker.send({ type: "result", job_id, attempt, output: null });
      }
      return accepted;
    });
    // One runs at once.
    expect(done).toBe(201);
  });

  it("names one idempotency key a thousand times (H13c)", async () => {
    const text = await attacked(() => batch(Array(1_000).fill(BIG)));
    expect(text.length).toBeLessThan(3 * MB);
    expect(text).toContain('"partial":true');
  });

  it.each([
    ["numbers that keep their digits", "1e20,"],
    ["lists", "[],"],
  ])("sends a batch of 8 MB of %s (H13d)", async (_what, part) => {
    const body = `{"jobs":[{"input":{"a":[${part.repeat(7_500_000 / part.length)}0]}}]}`;
    const response = await attacked(() =>
      fetch(`${edge.url}/api/spaces/${victim.name}/jobs/batch`, {
        method: "POST",
        body,
        headers: { "content-type": "application/json" },
      }),
    );
    expect(response.status).toBe(413);
    expect(await response.json()).toMatchObject({ code: "payload_too_large" });
  });

  it("subscribes to the whole past of a room again and again (R4e)", async () => {
    const room = `project:${victim.name}`;
    for (let n = 0; n < 15; n += 1) {
      const event = { type: "page.big", data: { n, a: "a".repeat(250_000) } };
      await edge.asOperator("POST", `/api/rooms/${room}/events`, event);
    }
    const history = await edge.asOperator<{ epoch: string }>("GET", `/api/rooms/${room}/history`);
    const subscribe = JSON.stringify({ type: "subscribe", room, since: `${history.epoch}:0` });
    await attacked(() => sendUnread("/ws", Array(90).fill(subscribe)));
  });

  it("subscribes to a large job again and again (R4e)", async () => {
    const subscribe = JSON.stringify({ type: "subscribe", room: `job:${bigJob}` });
    await attacked(() => sendUnread("/ws", Array(90).fill(subscribe)));
  });
});

describe("a thousand keyed jobs with results of 40 KiB", () => {
  it("are answered again after they are done, each with its id and status (H10, H13c)", async () => {
    const space = await edge.makeSpace({ max_queue: 2_000 });
    const { done } = await completeAll(space, 1_000);
    const jobs = Array.from({ length: 1_000 }, (_, n) => ({
      input: { n },
      idempotency_key: `key-${n}`,
    }));
    const send = async () => {
      const response = await edge.call("POST", `/api/spaces/${space.name}/jobs/batch`, { jobs });
      expect(response.status).toBe(202);
      return (await response.json()) as { jobs: { job: { id: string; status: string } }[] };
    };
    const first = await send();
    await done;
    const again = await send();
    expect(again.jobs.map(({ job }) => job.id)).toEqual(first.jobs.map(({ job }) => job.id));
    expect(new Set(again.jobs.map(({ job }) => job.status))).toEqual(new Set(["completed"]));
  });
});

/** Connects a worker that completes every job at once. Resolves to what resolves once `count` jobs are acknowledged. */
async function completeAll(space: { name: string; token: string }, count: number) {
  const url = `${edge.url.replace(/^http/, "ws")}/api/spaces/${space.name}/connect`;
  const socket = new WebSocket(url, { headers: { authorization: `Bearer ${space.token}` } });
  onTestFinished(() => socket.terminate());
  const send = (frame: object) => socket.send(JSON.stringify(frame));
  const { promise: registered, resolve: onRegistered } = Promise.withResolvers<void>();
  const { promise: done, resolve: onDone } = Promise.withResolvers<void>();
  let left = count;
  socket.on("message", (data) => {
    const { type, job_id, attempt } = JSON.parse(String(data));
    if (type === "registered") onRegistered();
    if (type === "job") send({ type: "result", job_id, attempt, output: "r".repeat(40 * 1_024) });
    if (type === "ack") left -= 1;
    if (left === 0) onDone();
  });
  socket.once("open", () => send({ type: "register", worker_id: "quick", concurrency: 50 }));
  await registered;
  return { done };
}
