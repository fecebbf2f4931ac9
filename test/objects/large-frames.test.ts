import { evictDurableObject, runDurableObjectAlarm, runInDurableObject } from "cloudflare:test";
import { describe, expect, it } from "vitest";
import { LEASE_S } from "../../src/space/workers/leases.ts";
import {
  call,
  connectWorker,
  makeSpace,
  type NamedSpace,
  OPERATOR,
  objectOf,
  runSql,
  submit,
  TestSocket,
} from "./support.ts";

/** Takes 97 seconds on the slowest link on which large frames arrive. */
const ANNOUNCEMENT = { type: "sending", bytes: 400_000 };
const LARGE = "x".repeat(70_000);

/** Makes everything that the workers' sockets remember so many seconds older, and runs the alarm of a new object. */
async function letPass(space: NamedSpace, seconds: number): Promise<void> {
  const ms = seconds * 1_000;
  await runInDurableObject(objectOf(space), (_object, state) => {
    for (const socket of state.getWebSockets()) {
      const at = socket.deserializeAttachment();
      if (at.kind !== "worker") continue;
      const { sending } = at.state;
      const older = sending ? { sending: { ...sending, until: sending.until - ms } } : {};
      const connected = { ...at, openedAt: at.openedAt - ms };
      socket.serializeAttachment({ ...connected, state: { ...at.state, ...older } });
    }
  });
  await evictDurableObject(objectOf(space));
  await runDurableObjectAlarm(objectOf(space));
}

async function sendingWorker(space: NamedSpace & { token: string }) {
  const { socket: worker } = await connectWorker(space);
  const { id } = await submit(space.name);
  await worker.next("job");
  const viewer = await TestSocket.open(`/ws/${id}`);
  worker.send({ type: "progress", job_id: id, attempt: 1, progress: 20 });
  await viewer.next(({ progress }) => progress === 20);
  worker.send(ANNOUNCEMENT);
  await expect.poll(() => announcedBy(space)).toBe(ANNOUNCEMENT.bytes);
  return { worker, viewer, id };
}

function announcedBy(space: NamedSpace): Promise<number | null> {
  return runInDurableObject(objectOf(space), (_object, state) => {
    const sockets = state.getWebSockets().map((socket) => socket.deserializeAttachment());
    return sockets.find(({ kind }) => kind === "worker")?.state.sending?.bytes ?? null;
  });
}

describe("a large frame of a worker", () => {
  it("that was announced may be under way for longer than a lease, also while the object is not in memory (W34a)", async () => {
    const space = await makeSpace();
    const { worker, id } = await sendingWorker(space);
    await letPass(space, LEASE_S + 20);
    worker.send({ type: "result", job_id: id, attempt: 1, output: "here" });
    expect(await worker.next("ack")).toMatchObject({ job_id: id, of: "result" });
  });

  it("keeps a worker that is dead only as long as it may take (W34a)", async () => {
    const space = await makeSpace();
    const { worker } = await sendingWorker(space);
    await letPass(space, 97 + LEASE_S + 1);
    expect((await worker.closed).code).toBe(1001);
  });

  it("keeps it no longer once the next frame has come (W34a)", async () => {
    const space = await makeSpace();
    const { worker, id } = await sendingWorker(space);
    worker.send({ type: "progress", job_id: id, attempt: 1, progress: 30 });
    await expect.poll(() => announcedBy(space)).toBe(0);
    await letPass(space, LEASE_S + 1);
    expect((await worker.closed).code).toBe(1001);
  });

  it("does not count as silence of its job (W34a)", async () => {
    const space = await makeSpace({ stall_timeout_s: 0.5 });
    const { worker, id } = await sendingWorker(space);
    await scheduler.wait(800);
    await runDurableObjectAlarm(objectOf(space));
    worker.send({ type: "result", job_id: id, attempt: 1, output: "here" });
    expect(await worker.next(({ type }) => type === "ack" || type === "stale")).toMatchObject({
      type: "ack",
    });
  });

  it("is named as the cause if the attempt runs into `job_timeout_s` meanwhile (W34a)", async () => {
    const space = await makeSpace({ job_timeout_s: 60 });
    const { viewer } = await sendingWorker(space);
    await runSql(space, "UPDATE jobs SET dispatched_at = dispatched_at - 60000");
    await letPass(space, 0);
    const end = await viewer.next(({ status }) => status === "failed");
    expect(end.error).toMatchObject({
      code: "timeout",
      message: expect.stringContaining("was still sending 400,000 bytes over a slow connection"),
    });
  });
});

describe("a large `register`", () => {
  async function dial(space: NamedSpace & { token: string }): Promise<TestSocket> {
    const worker = await TestSocket.open(`/api/spaces/${space.name}/connect?token=${space.token}`);
    expect(await worker.next("hello")).toMatchObject({ unannounced_bytes: 65_536 });
    worker.send({ type: "sending", bytes: 90_000 });
    return worker;
  }

  it("that was announced may take longer than 10 seconds (W34d)", async () => {
    const space = await makeSpace();
    const worker = await dial(space);
    await letPass(space, 20);
    worker.send({ type: "register", worker_id: "worker-1" });
    expect(await worker.next("registered")).toMatchObject({ generation: 1 });
  });

  it("can be announced once, and must come then (W34d)", async () => {
    const space = await makeSpace();
    const late = await dial(space);
    await letPass(space, 33);
    expect((await late.closed).code).toBe(4408);
    const never = await dial(space);
    never.send({ type: "sending", bytes: 90_000 });
    expect(await never.next("error")).toMatchObject({ code: "not_registered" });
  });
});

describe("a large message of the edge", () => {
  it("is announced to a worker, with its size (C17)", async () => {
    const space = await makeSpace();
    const { socket: worker } = await connectWorker(space);
    await submit(space.name, { input: { prompt: LARGE } });
    const job = await worker.next("job");
    expect(worker.announced).toEqual([JSON.stringify(job).length]);
  });

  it("may be under way for longer than `first_output_timeout_s`, until the worker has accepted it (W34c)", async () => {
    const space = await makeSpace({ first_output_timeout_s: 0.5 });
    const { socket: worker } = await connectWorker(space);
    const { id } = await submit(space.name, { input: { prompt: LARGE } });
    await worker.next("job");
    await scheduler.wait(800);
    await runDurableObjectAlarm(objectOf(space));
    worker.send({ type: "accept", job_id: id, attempt: 1 });
    expect(await worker.next("cancel")).toMatchObject({
      reason: expect.stringContaining("first_output_timeout_s"),
    });
  });

  it("is announced on sockets of jobs, spaces and `/ws`, once, and in no stream (C17)", async () => {
    const space = await makeSpace();
    const { socket: worker } = await connectWorker(space);
    const { id } = await submit(space.name);
    await worker.next("job");
    const viewer = await TestSocket.open(`/ws/${id}`);
    const gateway = await TestSocket.open("/ws", OPERATOR);
    await gateway.next("connection.established");
    gateway.send({ type: "subscribe", room: `job:${id}` });
    await gateway.next("subscribed");
    const stream = await call("GET", `/api/jobs/${id}/events`);
    worker.send({ type: "result", job_id: id, attempt: 1, output: LARGE });
    for (const socket of [viewer, gateway]) {
      const end = await socket.next(({ status }) => status === "completed");
      expect(socket.announced).toEqual([JSON.stringify(end).length]);
    }
    const text = await stream.text();
    expect(text).toContain(LARGE);
    expect(text).not.toContain("event: sending");
  });
});
