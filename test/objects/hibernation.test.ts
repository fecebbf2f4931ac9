import { evictDurableObject, runDurableObjectAlarm } from "cloudflare:test";
import { describe, expect, it } from "vitest";
import { LIMITS } from "../../src/protocol/limits.ts";
import {
  call,
  connectWorker,
  getJob,
  makeSpace,
  type NamedSpace,
  objectOf,
  runSql,
  submit,
  TestSocket,
} from "./support.ts";

const GRACE_S = 0.2;

/** Evicts the space's object from memory but keeps its sockets and their attachments, as hibernation does. */
function hibernate(space: NamedSpace): Promise<void> {
  return evictDurableObject(objectOf(space));
}

/** Evicts the space's object from memory and closes its sockets, as a deploy does. */
function restart(space: NamedSpace): Promise<void> {
  return evictDurableObject(objectOf(space), { webSockets: "close" });
}

function spaceSocket(space: NamedSpace): Promise<TestSocket> {
  return TestSocket.open(`/api/spaces/${space.name}/ws`);
}

describe("a space that hibernates", () => {
  it("keeps its worker, which gets the next jobs and can end them", async () => {
    const space = await makeSpace();
    const { socket: worker } = await connectWorker(space, { name: "box", concurrency: 2 });
    await hibernate(space);
    const described = await call("GET", `/api/spaces/${space.name}`);
    expect(await described.json()).toMatchObject({
      status: { worker: "connected", worker_name: "box" },
    });
    const first = await submit(space.name);
    const second = await submit(space.name);
    for (const { id: job_id } of [first, second]) {
      expect(await worker.next("job")).toMatchObject({ job_id, attempt: 1 });
    }
    for (const { id: job_id } of [first, second]) {
      worker.send({ type: "result", job_id, attempt: 1, output: job_id });
      await worker.next("ack");
      expect(await getJob(job_id)).toMatchObject({ status: "completed", result: job_id });
    }
  });

  it("goes on with a running attempt, and its followers get every offset once", async () => {
    const space = await makeSpace();
    const { socket: worker } = await connectWorker(space);
    const { id: job_id } = await submit(space.name);
    await worker.next("job");
    const viewer = await TestSocket.open(`/ws/${job_id}`);
    await viewer.next("progress");
    for (const [index, delta] of ["a", "b", "c"].entries()) {
      worker.send({ type: "output", job_id, attempt: 1, delta });
      worker.send({ type: "progress", job_id, attempt: 1, progress: 10 * (index + 1) });
      const received = await viewer.until("progress");
      expect(received.map(({ offset }) => offset)).toEqual([2 * index + 3, 2 * index + 4]);
      expect(received).toMatchObject([{ delta }, { progress: 10 * (index + 1), attempt: 1 }]);
      await hibernate(space);
    }
    worker.send({ type: "result", job_id, attempt: 1, output: "end" });
    expect(await worker.next("ack")).toMatchObject({ job_id, of: "result" });
    expect(await viewer.next("progress")).toMatchObject({ status: "completed", offset: 9 });
    expect((await viewer.closed).code).toBe(1000);
    expect(await getJob(job_id)).toMatchObject({ output: "abc", result: "end", attempt: 1 });
  });

  it("still knows the progress and the output of a running attempt", async () => {
    const space = await makeSpace();
    const { socket: worker } = await connectWorker(space);
    const { id: job_id } = await submit(space.name);
    worker.send({ type: "progress", job_id, attempt: 1, progress: 40, message: "painting" });
    worker.send({ type: "output", job_id, attempt: 1, delta: "x" });
    const viewer = await TestSocket.open(`/ws/${job_id}`);
    await viewer.next("output");
    await hibernate(space);
    expect(await getJob(job_id)).toMatchObject({
      status: "processing",
      progress: 40,
      message: "painting",
      output: "x",
    });
    const resume = [{ job_id, attempt: 1 }];
    const { registered } = await connectWorker(space, { resume });
    expect(registered).toMatchObject({ resumed: [{ job_id, attempt: 1, outputs: 1 }] });
  });

  it("still sends subscribers the jobs they follow, and not those they unfollowed", async () => {
    const space = await makeSpace();
    const { socket: worker } = await connectWorker(space, { concurrency: 3 });
    const submitter = await spaceSocket(space);
    const follower = await spaceSocket(space);
    const jobs: string[] = [];
    for (const ref of [0, 1]) {
      submitter.send({ type: "submit", ref, input: {} });
      jobs.push(String((await submitter.next("accepted")).job_id));
    }
    const [followed, left] = jobs as [string, string];
    for (const job_id of jobs) {
      follower.send({ type: "follow", job_id });
      await follower.next((frame) => frame.type === "progress" && frame.job_id === job_id);
    }
    for (const socket of [submitter, follower]) {
      socket.send({ type: "unfollow", job_id: left });
      socket.send({ type: "cancel", job_id: `${space.name}.${"0".repeat(26)}` });
      await socket.next("error");
    }
    await hibernate(space);
    for (const job_id of [left, followed]) {
      worker.send({ type: "output", job_id, attempt: 1, delta: "x" });
      worker.send({ type: "result", job_id, attempt: 1, output: null });
    }
    for (const socket of [submitter, follower]) {
      const received = await socket.until((frame) => frame.status === "completed");
      const ofJobs = received.filter(({ type }) => type !== "space.status");
      expect(ofJobs.map(({ job_id }) => job_id)).toEqual([followed, followed]);
    }
  });

  it("still cancels the jobs of a submitter that leaves, if it asked for that (S11)", async () => {
    const space = await makeSpace();
    const { socket: worker } = await connectWorker(space);
    const submitter = await spaceSocket(space);
    const jobs: string[] = [];
    for (const cancel_on_disconnect of [true, true, false]) {
      submitter.send({ type: "submit", ref: 1, input: {}, cancel_on_disconnect });
      jobs.push(String((await submitter.next("accepted")).job_id));
    }
    const [running, waiting, kept] = jobs as [string, string, string];
    await hibernate(space);
    submitter.close();
    expect(await worker.next("cancel")).toMatchObject({ job_id: running, attempt: 1 });
    expect(await getJob(waiting)).toMatchObject({ status: "canceled" });
    expect(await getJob(kept)).toMatchObject({ status: "queued" });
  });

  it("queues an attempt again at once if its worker closes with 1000 meanwhile (W28a)", async () => {
    const space = await makeSpace({ offline: "queue" });
    const { socket: worker } = await connectWorker(space);
    const { id } = await submit(space.name);
    await hibernate(space);
    worker.close();
    await worker.closed;
    expect(await getJob(id)).toMatchObject({ status: "queued", attempt: 1 });
  });

  it("gives a worker whose connection drops meanwhile its grace (W24)", async () => {
    const space = await makeSpace();
    const { socket: worker } = await connectWorker(space);
    const { id } = await submit(space.name);
    await hibernate(space);
    worker.close(1001);
    await worker.closed;
    expect(await getJob(id)).toMatchObject({ status: "processing", attempt: 1 });
    const { registered } = await connectWorker(space, { resume: [{ job_id: id, attempt: 1 }] });
    expect(registered).toMatchObject({ resumed: [{ job_id: id, attempt: 1 }] });
  });

  it("still counts the malformed frames of a socket (S6a)", async () => {
    const space = await makeSpace();
    const viewer = await spaceSocket(space);
    for (let count = 1; count < LIMITS.malformedFrames; count += 1) {
      viewer.send("{");
      await viewer.next("error");
      await hibernate(space);
    }
    viewer.send("{");
    expect(await viewer.next("error")).toMatchObject({ code: "malformed_frame" });
    expect((await viewer.closed).code).toBe(4400);
  });

  it("keeps the queue in order, by priority and then by age, with new jobs behind", async () => {
    const space = await makeSpace({ offline: "queue" });
    const low = await submit(space.name, { input: {}, priority: -1 });
    const first = await submit(space.name);
    const second = await submit(space.name);
    const high = await submit(space.name, { input: {}, priority: 5 });
    await hibernate(space);
    const third = await submit(space.name);
    const order = [high, first, second, third, low];
    const positions = await Promise.all(order.map(({ id }) => getJob(id)));
    expect(positions.map(({ queue_position }) => queue_position)).toEqual([1, 2, 3, 4, 5]);
    await hibernate(space);
    const { socket: worker } = await connectWorker(space);
    for (const { id } of order) {
      expect((await worker.next("job")).job_id).toBe(id);
      worker.send({ type: "result", job_id: id, attempt: 1, output: null });
      await worker.next("ack");
    }
  });

  it("gives no new job to a worker that sent `drain` before (W28)", async () => {
    const space = await makeSpace({ offline: "queue" });
    const { socket: worker } = await connectWorker(space);
    const viewer = await spaceSocket(space);
    worker.send({ type: "drain", reason: "update" });
    await viewer.next((frame) => frame.worker === "draining");
    await hibernate(space);
    expect(await submit(space.name)).toMatchObject({ status: "queued", queue_position: 1 });
  });

  it("still ends a job at its deadline (W15)", async () => {
    const space = await makeSpace({ job_timeout_s: 0.3 });
    await connectWorker(space);
    const { id } = await submit(space.name);
    const viewer = await TestSocket.open(`/ws/${id}`);
    await hibernate(space);
    expect(await viewer.next((frame) => frame.status === "failed")).toMatchObject({
      error: { code: "timeout" },
    });
  });
});

describe("a space that restarts", () => {
  it("lets a worker that comes back within its grace go on with its attempt (W24, W26)", async () => {
    const space = await makeSpace();
    const { socket: worker } = await connectWorker(space);
    const { id: job_id } = await submit(space.name);
    worker.send({ type: "output", job_id, attempt: 1, delta: "a" });
    await (await TestSocket.open(`/ws/${job_id}`)).next("output");
    await restart(space);
    expect((await worker.closed).code).toBe(1006);
    const described = await call("GET", `/api/spaces/${space.name}`);
    expect(await described.json()).toMatchObject({
      status: { worker: "reconnecting", processing: 1 },
    });
    const { socket, registered } = await connectWorker(space, {
      resume: [{ job_id, attempt: 1 }],
    });
    expect(registered).toMatchObject({ resumed: [{ job_id, attempt: 1, outputs: 1 }] });
    socket.send({ type: "output", job_id, attempt: 1, delta: "b" });
    socket.send({ type: "result", job_id, attempt: 1, output: null });
    await socket.next("ack");
    expect(await getJob(job_id)).toMatchObject({ status: "completed", output: "ab", attempt: 1 });
  });

  it("queues an attempt again, ahead of the others, when its worker stays away (W24a)", async () => {
    const space = await makeSpace({ offline: "queue", reconnect_grace_s: GRACE_S });
    await connectWorker(space);
    const lost = await submit(space.name);
    const next = await submit(space.name);
    await restart(space);
    const viewer = await TestSocket.open(`/ws/${lost.id}`);
    expect(await viewer.next("progress")).toMatchObject({ status: "processing", attempt: 1 });
    expect(await viewer.next("progress")).toMatchObject({
      status: "queued",
      queue_position: 1,
      message: `The worker was gone for ${GRACE_S} s (reconnect_grace_s).`,
    });
    const { socket: worker } = await connectWorker(space);
    expect(await worker.next("job")).toMatchObject({ job_id: lost.id, attempt: 2 });
    worker.send({ type: "result", job_id: lost.id, attempt: 2, output: null });
    expect(await worker.next("job")).toMatchObject({ job_id: next.id, attempt: 1 });
  });

  it("takes an attempt back by alarms alone, without any request (W24a)", async () => {
    const space = await makeSpace({ offline: "queue" });
    await connectWorker(space);
    const { id } = await submit(space.name);
    await restart(space);
    // The alarm that was set for the attempt wakes the object, which sets one for the grace.
    expect(await runDurableObjectAlarm(objectOf(space))).toBe(true);
    await runSql(space, "UPDATE jobs SET detached_at = detached_at - 15500");
    await hibernate(space);
    expect(await runDurableObjectAlarm(objectOf(space))).toBe(true);
    expect(await getJob(id)).toMatchObject({ status: "queued", attempt: 1 });
  });

  it("loses no accepted job, and its followers come back without a gap (C8, C9)", async () => {
    const space = await makeSpace({ offline: "queue" });
    const { id: job_id } = await submit(space.name);
    const before = await TestSocket.open(`/ws/${job_id}`);
    const { epoch, offset } = await before.next("connection");
    await restart(space);
    const { socket: worker } = await connectWorker(space);
    worker.send({ type: "output", job_id, attempt: 1, delta: "x" });
    worker.send({ type: "result", job_id, attempt: 1, output: null });
    await worker.next("ack");
    const after = await TestSocket.open(`/ws/${job_id}?since=${epoch}:${offset}`);
    const frames = await after.until((frame) => frame.status === "completed");
    expect(frames[0]).toMatchObject({ type: "connection", epoch, offset, recovered: true });
    expect(frames.slice(1).map((frame) => frame.offset)).toEqual(
      frames.slice(1).map((_, index) => Number(offset) + 1 + index),
    );
  });
});
