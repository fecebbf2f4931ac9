import { describe, expect, it, vi } from "vitest";
import { NO_SUCH_JOB, PRIVATE_JOB } from "../../src/backend-job/calls.ts";
import { JobRelay } from "../../src/backend-job/job-relay.ts";
import { madeText } from "../../src/backend-job/made-frame.ts";
import type { Refusal } from "../../src/objects/reply.ts";
import { LIMITS } from "../../src/protocol/limits.ts";
import { DialedSocket } from "../support/runtime/dialed-socket.ts";
import { pass, runInFakeRuntime } from "../support/runtime/globals.ts";
import { FakeSocket } from "../support/runtime/socket.ts";

runInFakeRuntime();

/** An object's end of a socket, and the frames that came there. */
class ObjectEnd {
  readonly socket = new FakeSocket();
  readonly got: unknown[] = [];
  readonly dialed = new DialedSocket(this.socket) as unknown as WebSocket;

  constructor() {
    this.socket.connect({
      onMessage: (_socket, message) => this.got.push(JSON.parse(message)),
      onClose: () => undefined,
      onError: () => undefined,
    });
  }

  send(frame: object): void {
    this.socket.send(JSON.stringify(frame));
  }
}

type Opened = WebSocket | Refusal;

/** How many frames a client of these tests may send at once. */
const RELAYED = 70;

/** A client that waits at the index, while the test decides when and how the job's socket opens. */
function relay() {
  const client = new FakeSocket();
  const index = new ObjectEnd();
  const opening: { since: string; open: (opened: Opened) => void; fail: (error: Error) => void }[] =
    [];
  const openJob = (since: string) =>
    new Promise<Opened>((open, fail) => opening.push({ since, open, fail }));
  new JobRelay(client as unknown as WebSocket, index.dialed, {
    id: "a",
    rate: { burst: RELAYED, perSecond: 5 },
    openJob,
  });
  const made = async () => {
    index.socket.send(madeText("epoch"));
    await pass();
    const last = opening.at(-1);
    if (!last) throw new Error("the job's socket was not opened");
    return last;
  };
  return { client, index, opening, made };
}

const CONNECTION = { type: "connection", job_id: "a", epoch: "epoch", offset: 0, recovered: true };

describe("a socket that waited for a job, once the job is made", () => {
  it("goes on where it is, and gets no second `connection` (B8)", async () => {
    const { client, index, made } = relay();
    index.send({ ...CONNECTION, recovered: false });
    const job = new ObjectEnd();
    const { since, open } = await made();
    expect(since).toBe("epoch:0");
    job.send(CONNECTION);
    job.send({ type: "progress", offset: 1 });
    open(job.dialed);
    await pass();
    job.send({ type: "progress", offset: 2 });
    await pass();
    expect(client.take()).toMatchObject([
      { type: "connection", recovered: false },
      { type: "progress", offset: 1 },
      { type: "progress", offset: 2 },
    ]);
    expect(index.socket.closed?.code).toBe(1000);
  });

  it("gets the `connection` if it can't go on where it is (B8)", async () => {
    const { client, made } = relay();
    const job = new ObjectEnd();
    (await made()).open(job.dialed);
    job.send({ ...CONNECTION, epoch: "other", recovered: false });
    await pass();
    expect(client.take()).toMatchObject([{ type: "connection", epoch: "other" }]);
  });

  it("loses no frame that it sends meanwhile, and all arrive in order (B8)", async () => {
    const { client, index, made } = relay();
    client.push({ n: 1 });
    const { open } = await made();
    client.push({ n: 2 });
    client.push({ n: 3 });
    await pass();
    const job = new ObjectEnd();
    open(job.dialed);
    await pass();
    client.push({ n: 4 });
    await pass();
    expect([index.got, job.got]).toEqual([[{ n: 1 }], [{ n: 2 }, { n: 3 }, { n: 4 }]]);
  });

  it("is closed with 4429 if it sends too much meanwhile", async () => {
    const { client, made } = relay();
    const { open } = await made();
    client.push({ text: "x".repeat(LIMITS.frameBytes / 2) });
    await pass();
    expect(client.closed).toBe(null);
    client.push({ text: "x".repeat(LIMITS.frameBytes / 2) });
    await pass();
    expect(client.closed?.code).toBe(4429);
    const job = new ObjectEnd();
    open(job.dialed);
    await pass();
    expect(job.socket.closed).not.toBe(null);
    expect(job.got).toEqual([]);
  });

  it("is closed with 4429 if it sends too many frames, and none of these is passed on (B9b)", async () => {
    const { client, index } = relay();
    for (let n = 0; n < RELAYED + 20; n += 1) client.push({ n });
    await pass();
    expect(index.got).toHaveLength(RELAYED);
    expect(client.take()).toMatchObject([{ type: "error", code: "rate_limited", job_id: "a" }]);
    expect(client.closed).toEqual({ code: 4429, reason: "Too many frames: 5 a second at most." });
    expect(index.socket.closed?.code).toBe(1001);
  });

  it("is cut off if it sends on and on after the close", () => {
    let push: (event: { data: string }) => void = () => undefined;
    const closes: number[] = [];
    const client = {
      accept: () => undefined,
      send: () => undefined,
      close: (code: number) => closes.push(code),
      addEventListener: (type: string, listener: typeof push) => {
        if (type === "message") push = listener;
      },
    } as unknown as WebSocket;
    const rate = { burst: RELAYED, perSecond: 5 };
    const openJob = () => Promise.reject(new Error("the job is not made"));
    new JobRelay(client, new ObjectEnd().dialed, { id: "a", rate, openJob });
    for (let n = 0; n < RELAYED + 1; n += 1) push({ data: "pong" });
    expect(closes).toEqual([4429]);
    for (let n = 0; n < 1_999; n += 1) push({ data: "pong" });
    // An error in a listener is what makes the runtime drop the connection.
    expect(() => push({ data: "pong" })).toThrow("went on sending");
  });

  it("may send as many a second as its rate says, long messages as many frames (B9b, S20c)", async () => {
    const { client, index } = relay();
    for (let second = 0; second < 5; second += 1) {
      for (let n = 0; n < 5; n += 1) client.push({ n });
      await pass(1_000);
    }
    expect(index.got).toHaveLength(25);
    expect(client.closed).toBe(null);
    client.push({ text: "x".repeat((RELAYED + 1) * LIMITS.countedLength) });
    await pass();
    expect(client.closed?.code).toBe(4429);
  });

  it("waits on if the job was not made after all, and hears of the next one (B8)", async () => {
    const { client, index, opening, made } = relay();
    const { open } = await made();
    client.push({ n: 1 });
    await pass();
    open(NO_SUCH_JOB);
    await pass();
    expect(index.got).toEqual([{ n: 1 }]);
    const job = new ObjectEnd();
    (await made()).open(job.dialed);
    job.send({ type: "progress", offset: 1 });
    await pass();
    expect(opening).toHaveLength(2);
    expect(client.take()).toMatchObject([{ type: "progress", offset: 1 }]);
  });

  it("is closed if the job was not made after all, and the index has closed it meanwhile", async () => {
    const { client, index, made } = relay();
    const { open } = await made();
    index.socket.close(4404, "nobody made it");
    await pass();
    open(NO_SUCH_JOB);
    await pass();
    expect(client.closed).toEqual({ code: 4404, reason: "nobody made it" });
  });

  it("is opened once, however often the index says so", async () => {
    const { index, opening, made } = relay();
    await made();
    index.socket.send(madeText("epoch"));
    await pass();
    expect(opening).toHaveLength(1);
  });

  it("is closed with 4403 if it may not read the job, with the reason before (B8a)", async () => {
    const { client, made } = relay();
    (await made()).open(PRIVATE_JOB);
    await pass();
    expect(client.take()).toMatchObject([{ type: "error", code: "not_allowed", job_id: "a" }]);
    expect(client.closed?.code).toBe(4403);
  });

  it("is closed with 4429 if its address has too many at the job, with the reason before (B8c)", async () => {
    const { client, made } = relay();
    (await made()).open({ ok: false, code: "rate_limited", detail: "too many" });
    await pass();
    expect(client.take()).toMatchObject([{ type: "error", code: "rate_limited", job_id: "a" }]);
    expect(client.closed?.code).toBe(4429);
  });

  it("is closed with 1012 if the job's object can't be reached, so that it dials again", async () => {
    const errors = vi.spyOn(console, "error").mockImplementation(() => undefined);
    const { client, index, made } = relay();
    (await made()).fail(new Error("overloaded"));
    await pass();
    expect(client.closed?.code).toBe(1012);
    expect(index.socket.closed?.code).toBe(1000);
    expect(errors).toHaveBeenCalledOnce();
  });
});

describe("the close of a socket that waits, or waited, for a job", () => {
  it("passes from the client to the index, or to the job (C15)", async () => {
    const early = relay();
    early.client.leave(4567, "bye");
    await pass();
    expect(early.index.socket.closed).toEqual({ code: 4567, reason: "bye" });
    const late = relay();
    const job = new ObjectEnd();
    (await late.made()).open(job.dialed);
    await pass();
    late.client.leave(4567, "bye");
    await pass();
    expect(job.socket.closed).toEqual({ code: 4567, reason: "bye" });
  });

  it("passes from the index, or from the job, to the client (B8b, S13a)", async () => {
    const early = relay();
    early.index.socket.close(4404, "nobody made it");
    await pass();
    expect(early.client.closed).toEqual({ code: 4404, reason: "nobody made it" });
    const late = relay();
    const job = new ObjectEnd();
    (await late.made()).open(job.dialed);
    job.socket.close(1000, "ended");
    await pass();
    expect(late.client.closed).toEqual({ code: 1000, reason: "ended" });
  });

  it("also closes a socket of the job that is opened too late", async () => {
    const { client, index, made } = relay();
    const { open } = await made();
    client.leave(1000);
    await pass();
    const job = new ObjectEnd();
    open(job.dialed);
    await pass();
    expect([index, job].map(({ socket }) => socket.closed !== null)).toEqual([true, true]);
  });
});
