import { describe, expect, it } from "vitest";
import { call, connectWorker, getJob, makeSpace, submit, TestSocket } from "./support.ts";

describe("a job of a space", () => {
  it("goes to the worker, and its streamed output and its result come back (W16, W17)", async () => {
    const space = await makeSpace();
    const { socket: worker } = await connectWorker(space);
    const viewer = await TestSocket.open(`/api/spaces/${space.name}/ws`);
    viewer.send({ type: "submit", ref: 1, input: { prompt: "hi" } });
    const { job_id } = await viewer.next("accepted");
    const job = await worker.next("job");
    expect(job).toMatchObject({ job_id, attempt: 1, input: { prompt: "hi" }, files: [] });
    worker.send({ type: "accept", job_id, attempt: 1 });
    worker.send({ type: "progress", job_id, attempt: 1, progress: 50, message: "half" });
    worker.send({ type: "output", job_id, attempt: 1, delta: "Hel" });
    worker.send({ type: "output", job_id, attempt: 1, delta: "lo" });
    worker.send({ type: "result", job_id, attempt: 1, output: { text: "Hello" } });
    expect(await worker.next("ack")).toMatchObject({ job_id, attempt: 1, of: "result" });
    expect(await viewer.next("output")).toMatchObject({ delta: "Hel" });
    expect(await viewer.next("output")).toMatchObject({ delta: "lo" });
    const last = await viewer.next((frame) => frame.status === "completed");
    expect(last).toMatchObject({ job_id, progress: 100, result: { text: "Hello" } });
    expect(await getJob(String(job_id))).toMatchObject({
      status: "completed",
      output: "Hello",
      result: { text: "Hello" },
    });
  });

  it("waits while the worker is busy, and jobs run in the order of their submits (W11)", async () => {
    const space = await makeSpace();
    const { socket: worker } = await connectWorker(space);
    const first = await submit(space.name);
    const second = await submit(space.name);
    const third = await submit(space.name);
    expect([first.status, second.queue_position, third.queue_position]).toEqual([
      "processing",
      1,
      2,
    ]);
    for (const { id } of [first, second, third]) {
      expect((await worker.next("job")).job_id).toBe(id);
      worker.send({ type: "result", job_id: id, attempt: 1, output: id });
    }
    await worker.next((frame) => frame.type === "ack" && frame.job_id === third.id);
    expect((await getJob(third.id)).result).toBe(third.id);
  });

  it("is refused while no worker is connected, unless the space's `offline` is `queue` (H3)", async () => {
    const refusing = await makeSpace();
    const refused = await call("POST", `/api/spaces/${refusing.name}/jobs`, { input: {} });
    expect(refused.status).toBe(409);
    expect(await refused.json()).toMatchObject({ code: "worker_not_connected" });
    const queueing = await makeSpace({ offline: "queue" });
    const job = await submit(queueing.name);
    expect(job).toMatchObject({ status: "queued", queue_position: 1 });
    const { socket: worker } = await connectWorker(queueing);
    expect((await worker.next("job")).job_id).toBe(job.id);
  });

  it("ends once: a result that is sent twice is acknowledged twice, one of another attempt is stale (W20b, W22)", async () => {
    const space = await makeSpace();
    const { socket: worker } = await connectWorker(space);
    const { id: job_id } = await submit(space.name);
    await worker.next("job");
    worker.send({ type: "result", job_id, attempt: 1, output: "one" });
    await worker.next("ack");
    worker.send({ type: "result", job_id, attempt: 1, output: "two" });
    await worker.next("ack");
    worker.send({ type: "result", job_id, attempt: 2, output: "three" });
    expect(await worker.next("stale")).toMatchObject({ job_id, attempt: 2 });
    expect((await getJob(job_id)).result).toBe("one");
  });

  it("is canceled at once while it waits, and when its worker confirms while it runs (H8b, W23a)", async () => {
    const space = await makeSpace();
    const { socket: worker } = await connectWorker(space);
    const running = await submit(space.name);
    const waiting = await submit(space.name);
    await call("POST", `/api/jobs/${waiting.id}/cancel`);
    expect((await getJob(waiting.id)).status).toBe("canceled");
    await call("POST", `/api/jobs/${running.id}/cancel`);
    expect((await getJob(running.id)).status).toBe("processing");
    const { job_id, attempt } = await worker.next("cancel");
    worker.send({ type: "fail", job_id, attempt, code: "canceled", message: "stopped" });
    await worker.next("ack");
    expect((await getJob(running.id)).status).toBe("canceled");
  });
});

describe("a worker", () => {
  it("is the only one of its space: another gets `space_occupied` and close 4409 (W7)", async () => {
    const space = await makeSpace();
    await connectWorker(space);
    const second = await TestSocket.open(`/api/spaces/${space.name}/connect?token=${space.token}`);
    second.send({ type: "register", worker_id: "worker-2" });
    expect(await second.next("error")).toMatchObject({ code: "space_occupied" });
    expect((await second.closed).code).toBe(4409);
  });

  it("that comes back replaces its own old socket, resumes, and loses no output (W7a, W25, W26)", async () => {
    const space = await makeSpace();
    const first = await connectWorker(space);
    const { id: job_id } = await submit(space.name);
    await first.socket.next("job");
    first.socket.send({ type: "output", job_id, attempt: 1, delta: "a" });
    const resume = [
      { job_id, attempt: 1 },
      { job_id: `${space.name}.gone`, attempt: 1 },
    ];
    const second = await connectWorker(space, { resume });
    expect((await first.socket.closed).code).toBe(4409);
    expect(second.registered).toMatchObject({
      generation: Number(first.registered.generation) + 1,
      resumed: [{ job_id, attempt: 1, outputs: 1 }],
      dropped: [{ job_id: `${space.name}.gone`, attempt: 1 }],
    });
    second.socket.send({ type: "output", job_id, attempt: 1, delta: "b" });
    second.socket.send({ type: "result", job_id, attempt: 1, output: null });
    await second.socket.next("ack");
    expect(await getJob(job_id)).toMatchObject({ status: "completed", output: "ab", attempt: 1 });
  });

  it("that comes back with an end that is stored is told so: only its ack was lost (W25b)", async () => {
    const space = await makeSpace();
    const { socket } = await connectWorker(space);
    const { id: job_id } = await submit(space.name);
    await socket.next("job");
    socket.send({ type: "result", job_id, attempt: 1, output: "here" });
    await socket.next("ack");
    const back = await connectWorker(space, { resume: [{ job_id, attempt: 1 }] });
    expect(back.registered).toMatchObject({ dropped: [{ job_id, attempt: 1, of: "result" }] });
    const other = await connectWorker(space, {
      worker_id: "worker-1",
      resume: [{ job_id, attempt: 2 }],
    });
    expect(other.registered).toMatchObject({ dropped: [{ job_id, attempt: 2 }] });
    expect(JSON.stringify(other.registered)).not.toContain('"of"');
  });

  it("that comes back without listing its attempt gets the job again as the next attempt (W25)", async () => {
    const space = await makeSpace();
    const first = await connectWorker(space);
    const { id: job_id } = await submit(space.name);
    await first.socket.next("job");
    const second = await connectWorker(space);
    expect(await second.socket.next("job")).toMatchObject({ job_id, attempt: 2 });
  });

  it("is closed with 4401 when its token is revoked, and can't dial again (H4, W4)", async () => {
    const space = await makeSpace();
    const { socket } = await connectWorker(space);
    const { OPERATOR } = await import("./support.ts");
    await call("DELETE", `/api/spaces/${space.name}/tokens/${space.tokenId}`, undefined, OPERATOR);
    expect(await socket.next("error")).toMatchObject({ code: "token_revoked" });
    expect((await socket.closed).code).toBe(4401);
    await expect(connectWorker(space)).rejects.toThrow("401");
  });
});
