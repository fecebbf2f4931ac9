import { describe, expect, onTestFinished, test, vi } from "vitest";
import { DialoutError, JobFailed } from "../../src/client/index.ts";
import { AT, problem } from "../support/fake-subscriber-edge.ts";
import { completed, connection, gap, jobResource, output, progress } from "./jobs.ts";
import { JOB_ID, startClient } from "./start.ts";

async function all<T>(items: AsyncIterable<T>): Promise<T[]> {
  const read: T[] = [];
  for await (const item of items) read.push(item);
  return read;
}

describe("following a job", () => {
  test("events arrive in order with their positions, and the last one ends the subscription", async () => {
    const { edge, client } = await startClient();
    const events = client.job(JOB_ID).events();
    const socket = await edge.socket();
    expect(socket.path).toBe(`/api/jobs/${JOB_ID}/ws`);
    expect(socket.query.get("since")).toBeNull();
    expect(socket.protocols).toEqual(["dialout.v1"]);
    socket.send(connection(2), output(2, "a"), progress(2), output(3, "b"), completed(4, { n: 1 }));
    const told = [];
    for await (const event of events) told.push(event);
    expect(told).toMatchObject([
      { type: "output", delta: "a", position: "e:2" },
      { type: "progress", status: "processing", position: "e:2" },
      { type: "output", delta: "b", position: "e:3" },
      { type: "progress", status: "completed", result: { n: 1 }, position: "e:4" },
    ]);
    expect(await socket.closed).toBe(1000);
  });

  test("with a link it is followed over a socket of its own, and read with the link's header", async () => {
    const { edge, client } = await startClient();
    edge.answer = () => ({ body: jobResource() });
    const job = client.space("demo").job(JOB_ID, { share: "dos_1" });
    const result = job.result();
    const socket = await edge.socket();
    expect(socket.path).toBe(`/api/jobs/${JOB_ID}/ws`);
    expect(socket.query.get("share")).toBe("dos_1");
    socket.send(connection(1), completed(1, { n: 1 }));
    expect(await result).toEqual({ n: 1 });
    await job.get();
    expect(edge.requests.map(({ headers }) => headers["job-share"])).toEqual(["dos_1"]);
  });

  test("after a broken connection it resumes where it was and delivers nothing twice (C8, C9)", async () => {
    const { edge, client } = await startClient();
    const texts: unknown[] = [];
    const links: string[] = [];
    const following = client.job(JOB_ID).follow({
      onOutput: ({ delta }) => texts.push(delta),
      onLink: (state) => links.push(state),
    });
    const first = await edge.socket();
    first.send(connection(1), progress(1), output(2, "a"), output(3, "b"));
    await expect.poll(() => texts).toEqual(["a", "b"]);
    first.drop();
    const second = await edge.socket();
    expect(second.query.get("since")).toBe("e:3");
    second.send(connection(3, true), output(3, "b"), output(4, "c"), completed(5, null));
    expect(await following.closed).toBeNull();
    expect(texts).toEqual(["a", "b", "c"]);
    expect(links).toEqual(["open", "lost", "open", "closed"]);
  });

  test("an interrupted snapshot is delivered once, after it has arrived completely (C10)", async () => {
    const { edge, client } = await startClient();
    const events = client.job(JOB_ID).events();
    const first = await edge.socket();
    first.send(connection(3), output(2, "a"));
    first.drop();
    const second = await edge.socket();
    expect(second.query.get("since")).toBeNull();
    second.send(connection(4), output(2, "a"), output(3, "b"), progress(4), completed(5, null));
    const told = [];
    for await (const event of events) told.push(event);
    expect(told.map(({ type }) => type)).toEqual(["output", "output", "progress", "progress"]);
  });

  test("events lost while disconnected are reported as a gap, and the rest follows (C11)", async () => {
    const { edge, client } = await startClient();
    const gaps: unknown[] = [];
    const texts: unknown[] = [];
    const following = client.job(JOB_ID).follow({
      onGap: ({ after, until }) => gaps.push({ after, until }),
      onOutput: ({ delta }) => texts.push(delta),
    });
    const first = await edge.socket();
    first.send(connection(1), progress(1), output(2, "a"));
    await expect.poll(() => texts).toEqual(["a"]);
    first.drop();
    const second = await edge.socket();
    second.send(connection(9), gap(7), output(8, "z"), progress(9), completed(10, null));
    await following.closed;
    expect(gaps).toEqual([{ after: "e:2", until: "e:7" }]);
    expect(texts).toEqual(["a", "z"]);
  });

  test("progress that the edge skipped in favour of newer progress is not a gap (S17)", async () => {
    const { edge, client } = await startClient();
    const types: string[] = [];
    const events = client.job(JOB_ID).events();
    const socket = await edge.socket();
    socket.send(connection(1), progress(1), progress(5, { skipped: 3 }), completed(6, null));
    for await (const event of events) types.push(event.type);
    expect(types).toEqual(["progress", "progress", "progress"]);
  });

  test("a silent connection is dialed again, but not one that still answers pings (C2)", async () => {
    vi.useFakeTimers({ toFake: ["setInterval", "clearInterval"] });
    onTestFinished(() => void vi.useRealTimers());
    const { edge, client } = await startClient();
    const links: string[] = [];
    const following = client.job(JOB_ID).follow({ onLink: (state) => links.push(state) });
    const first = await edge.socket();
    first.send(connection(1), progress(1));
    await expect.poll(() => links).toEqual(["open"]);
    for (let beat = 1; beat <= 3; beat += 1) {
      vi.advanceTimersByTime(20_000);
      // One ping came when the socket had opened.
      await expect.poll(() => first.pings).toBe(beat + 1);
      await first.read();
    }
    expect(links).toEqual(["open"]);
    first.answersPings = false;
    vi.advanceTimersByTime(40_000);
    const second = await edge.socket();
    expect(links).toEqual(["open", "lost"]);
    second.send(connection(1, true), completed(2, null));
    expect(await following.closed).toBeNull();
  });

  test("a missing job ends the subscription with the edge's reason, requested over HTTP (S2)", async () => {
    const { edge, client } = await startClient();
    edge.answer = () => problem(404, "job_not_found", "There is no such job.");
    edge.refuse(404);
    const following = client.job(JOB_ID).follow({});
    expect(await following.closed).toMatchObject({ code: "job_not_found", status: 404 });
    expect(edge.unasked).toBe(0);
  });

  test("a refusal by a proxy in between does not end the subscription (W4a)", async () => {
    const { edge, client } = await startClient();
    edge.answer = () => ({ status: 404, body: "404 page not found" });
    edge.refuse(404);
    const following = client.job(JOB_ID).follow({});
    const socket = await edge.socket();
    socket.send(connection(0, false), completed(1, 42));
    socket.close(1000);
    expect(await following.closed).toBeNull();
  });

  test("the end is delivered even if every event was received before", async () => {
    const { edge, client } = await startClient();
    edge.answer = () => ({
      body: jobResource({ status: "completed", result: 42, completed_at: AT, attempt: 1 }),
    });
    const told: unknown[] = [];
    const following = client
      .job(JOB_ID)
      .follow({ since: "e:9", onEnd: ({ result, position }) => told.push([result, position]) });
    const socket = await edge.socket();
    expect(socket.query.get("since")).toBe("e:9");
    socket.send(connection(9, true));
    socket.close(1000);
    expect(await following.closed).toBeNull();
    expect(told).toEqual([[42, "e:9"]]);
  });

  test("frames of unknown types, and messages that aren't frames, are ignored (C1)", async () => {
    const { edge, client } = await startClient();
    const result = client.job(JOB_ID).result();
    const socket = await edge.socket();
    socket.sendText("no JSON");
    socket.send({ type: "weather", sun: true }, connection(0), { type: "progress" }, progress(0));
    socket.send(completed(1, "done"));
    expect(await result).toBe("done");
  });

  test("a handler that throws does not keep other handlers from being called", async () => {
    const thrown: unknown[] = [];
    const note = (error: unknown) => void thrown.push(error);
    const listeners = process.listeners("uncaughtException");
    process.removeAllListeners("uncaughtException").on("uncaughtException", note);
    const { edge, client } = await startClient();
    const ends: unknown[] = [];
    const following = client.job(JOB_ID).follow({
      onOutput: () => {
        throw new Error("a fault of the page");
      },
      onEnd: ({ result }) => ends.push(result),
    });
    const socket = await edge.socket();
    socket.send(connection(1), progress(1), output(2, "a"), completed(3, "done"));
    await following.closed;
    await expect.poll(() => thrown).toHaveLength(1);
    process.removeAllListeners("uncaughtException");
    for (const listener of listeners) process.on("uncaughtException", listener);
    expect(ends).toEqual(["done"]);
  });
});

describe("the result of a job", () => {
  test.each([
    ["failed", { code: "timeout", message: "It took too long." }],
    ["canceled", { code: "canceled", message: "Canceled on request." }],
    ["failed", { code: "a-code-of-the-backend", message: "No." }],
  ])("a %s job rejects with its code and message", async (status, error) => {
    const { edge, client } = await startClient();
    const result = client.job(JOB_ID).result();
    (await edge.socket()).send(connection(1), progress(1, { status, error }));
    const thrown = await result.catch((reason) => reason);
    expect(thrown).toBeInstanceOf(JobFailed);
    expect(thrown).toMatchObject({ ...error, jobId: JOB_ID });
  });

  test("is waited for until the signal aborts", async () => {
    const { edge, client } = await startClient();
    const controller = new AbortController();
    const result = client.job(JOB_ID).result({ signal: controller.signal });
    const socket = await edge.socket();
    controller.abort(new Error("no more"));
    await expect(result).rejects.toThrow("no more");
    await socket.closed;
  });

  test("rejects when the client is closed", async () => {
    const { edge, client } = await startClient();
    const result = client.job(JOB_ID).result();
    await edge.socket();
    client.close();
    await expect(result).rejects.toMatchObject({ code: "connection_closed" });
  });
});

describe("the output of a job", () => {
  test("is returned as text, piece by piece", async () => {
    const { edge, client } = await startClient();
    const reading = all(client.job(JOB_ID).output());
    const socket = await edge.socket();
    socket.send(connection(1), progress(1), output(2, "a "), output(3, { x: 1 }), output(4, "cat"));
    socket.send(completed(5, null));
    expect(await reading).toEqual(["a ", "cat"]);
  });

  test("of an attempt in vain is not mixed with that of the next (S5)", async () => {
    const { edge, client } = await startClient();
    const job = client.job(JOB_ID);
    let text = "";
    const resets: unknown[] = [];
    const onReset = (reason: { type: string }) => {
      resets.push(reason.type);
      text = "";
    };
    const careful = (async () => {
      for await (const piece of job.output({ onReset })) text += piece;
    })();
    const frames = [
      connection(1),
      progress(1),
      output(2, "half"),
      progress(3, { attempt: 2 }),
      output(4, "whole", 2),
      completed(5, null),
    ];
    (await edge.socket()).send(...frames);
    await careful;
    expect({ text, resets }).toEqual({ text: "whole", resets: ["restart"] });

    const careless = all(job.output());
    (await edge.socket()).send(...frames);
    await expect(careless).rejects.toMatchObject({ code: "output_restarted" });
  });
});

describe("an iterator", () => {
  test("whose loop is left closes its socket", async () => {
    const { edge, client } = await startClient();
    const events = client.job(JOB_ID).events();
    const socket = await edge.socket();
    socket.send(connection(1), progress(1), output(2, "a"));
    for await (const event of events) if (event.type === "output") break;
    expect(await socket.closed).toBe(1000);
    expect(await events.next()).toEqual({ done: true, value: undefined });
  });

  test("that is not read keeps 10,000 events and ends with an error", async () => {
    const { edge, client } = await startClient();
    const events = client.job(JOB_ID).events();
    const socket = await edge.socket();
    socket.send(connection(0), progress(0));
    for (let offset = 1; offset <= 10_100; offset += 1) socket.send(output(offset, "x"));
    await socket.closed;
    let read = 0;
    const error = await (async () => {
      for await (const _ of events) read += 1;
    })().catch((thrown) => thrown);
    expect(read).toBe(10_000);
    expect(error).toBeInstanceOf(DialoutError);
    expect(error).toMatchObject({ code: "too_slow" });
  });
});
