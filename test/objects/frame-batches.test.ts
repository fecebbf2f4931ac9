import { evictDurableObject } from "cloudflare:test";
import { describe, expect, it } from "vitest";
import {
  connectWorker,
  type Frame,
  makeSpace,
  type NamedSpace,
  objectOf,
  TestSocket,
  type WorkerSpace,
} from "./support.ts";

const JOBS = [1, 2, 3];

function submitOf(ref: number) {
  return { type: "submit", ref, input: { n: ref } };
}

function batchOf(frames: object[]) {
  return { type: "batch", frames };
}

/** Reads messages up to the first with a frame of this type; returns the frames of each. */
async function messagesUntil(socket: TestSocket, type: string): Promise<Frame[][]> {
  const has = (frame: Frame) => framesOf(frame).some((frame) => frame.type === type);
  return (await socket.until(has)).map(framesOf);
}

function framesOf(message: Frame): Frame[] {
  return message.type === "batch" ? (message.frames as Frame[]) : [message];
}

async function openSpace(space: NamedSpace, query = "?batch=1"): Promise<TestSocket> {
  const socket = await TestSocket.open(`/api/spaces/${space.name}/ws${query}`);
  await socket.next("space.status");
  return socket;
}

async function openWorker(space: WorkerSpace): Promise<TestSocket> {
  const authorization = `Bearer ${space.token}`;
  const worker = await TestSocket.open(`/api/spaces/${space.name}/connect?batch=1`, {
    authorization,
  });
  expect(await worker.next("hello")).toMatchObject({ batch: true });
  worker.send({ type: "register", worker_id: "w", concurrency: 3 });
  await worker.next("registered");
  return worker;
}

describe("a socket with `?batch=1`", () => {
  it("sends several frames as one message, and gets frames that are due at once as one (C6, C6a)", async () => {
    const space = await makeSpace({ concurrency: 3 });
    const worker = await openWorker(space);
    const socket = await openSpace(space);
    socket.send(batchOf(JOBS.map(submitOf)));
    const accepted = (await messagesUntil(socket, "accepted")).at(-1) ?? [];
    const answers = accepted.filter(({ type }) => type === "accepted");
    expect(answers.map(({ ref }) => ref)).toEqual(JOBS);
    const jobs = (await messagesUntil(worker, "job")).at(-1) ?? [];
    expect(jobs.map(({ type, input }) => [type, input])).toEqual(JOBS.map((n) => ["job", { n }]));
    const results = jobs.map(({ job_id, attempt, input }) => {
      return { type: "result", job_id, attempt, output: input };
    });
    worker.send(batchOf(results));
    const acks = (await messagesUntil(worker, "ack")).at(-1) ?? [];
    expect(acks.map(({ type, job_id }) => [type, job_id])).toEqual(
      jobs.map(({ job_id }) => ["ack", job_id]),
    );
    const isEnd = (frame: Frame) => framesOf(frame).some(({ status }) => status === "completed");
    const ends = framesOf(await socket.next(isEnd)).filter(({ status }) => status === "completed");
    expect(ends.map(({ result }) => result)).toEqual(JOBS.map((n) => ({ n })));
  });

  it("gets every frame of a job in order, whatever else is in a batch (C6)", async () => {
    const space = await makeSpace();
    const worker = await openWorker(space);
    const socket = await openSpace(space);
    socket.send(batchOf([submitOf(1)]));
    const job = (await messagesUntil(worker, "job")).flat().at(-1);
    const [job_id, attempt] = [job?.job_id, job?.attempt];
    const outputs = JOBS.map((delta) => ({ type: "output", job_id, attempt, delta }));
    worker.send(batchOf([...outputs, { type: "result", job_id, attempt, output: 1 }]));
    const isEnd = (frame: Frame) => framesOf(frame).some(({ status }) => status === "completed");
    const events = (await socket.until(isEnd)).flatMap(framesOf).filter(({ offset, type }) => {
      return offset !== undefined && type !== "space.status";
    });
    expect(events.map(({ offset }) => offset)).toEqual(events.map((_, index) => index + 1));
    const pieces = events.filter(({ type }) => type === "output");
    expect(pieces.map(({ delta }) => delta)).toEqual(JOBS);
  });

  it("gets an error for each wrong frame of a batch, and the others are handled (C6b)", async () => {
    const space = await makeSpace({ offline: "queue" });
    const socket = await openSpace(space);
    const wrong = { type: "submit", ref: 2, input: "text" };
    socket.send(batchOf([submitOf(1), wrong, batchOf([submitOf(4)]), submitOf(3)]));
    const answers = (await messagesUntil(socket, "accepted")).flat();
    const outcomes = answers.filter(({ type }) => type === "accepted" || type === "error");
    expect(outcomes.map(({ type, ref, code }) => [type, ref, code])).toEqual([
      ["accepted", 1, undefined],
      ["error", 2, "malformed_frame"],
      ["error", undefined, "unknown_frame"],
      ["accepted", 3, undefined],
    ]);
  });

  it("gets the error before it is closed for a frame of a batch, and the frames after that one are ignored (C6b, W30)", async () => {
    const space = await makeSpace({ concurrency: 3 });
    const worker = await openWorker(space);
    const socket = await openSpace(space);
    socket.send(batchOf(JOBS.map(submitOf)));
    const jobs = (await messagesUntil(worker, "job")).at(-1) ?? [];
    const [first, second] = jobs.map(({ job_id, attempt }) => {
      return { type: "result", job_id, attempt, output: 1 };
    });
    worker.send(batchOf([first ?? {}, { type: "nonsense" }, second ?? {}]));
    const last = (await messagesUntil(worker, "error")).flat();
    expect(last.filter(({ type }) => type === "ack").map(({ job_id }) => job_id)).toEqual([
      first?.job_id,
    ]);
    expect(last.at(-1)).toMatchObject({ type: "error", code: "unknown_frame" });
    expect(await worker.closed).toMatchObject({ code: 4400 });
  });

  it("still takes batches after the object hibernated (C6a)", async () => {
    const space = await makeSpace({ offline: "queue" });
    const socket = await openSpace(space);
    await evictDurableObject(objectOf(space));
    socket.send(batchOf(JOBS.map(submitOf)));
    const messages = await messagesUntil(socket, "accepted");
    const answers = messages.flat().filter(({ type }) => type === "accepted");
    expect(answers.map(({ ref }) => ref)).toEqual(JOBS);
  });
});

describe("a socket without `?batch=1`", () => {
  it("gets frames one by one, and can't send a batch (C6c)", async () => {
    const space = await makeSpace({ offline: "queue" });
    const socket = await openSpace(space, "");
    socket.send(batchOf([submitOf(1)]));
    expect(await socket.next("error")).toMatchObject({ code: "unknown_frame" });
    for (const ref of JOBS) socket.send(submitOf(ref));
    for (const ref of JOBS) expect(await socket.next("accepted")).toMatchObject({ ref });
    const { socket: worker } = await connectWorker(space);
    expect(await worker.next("job")).toMatchObject({ input: { n: 1 } });
  });
});
