import { execFileSync } from "node:child_process";
import { readFileSync } from "node:fs";
import { describe, expect, test } from "vitest";
import { JobAborted, JobFailure } from "../../worker-client/index.ts";
import { JOB_ID, jobFrame, SPACE } from "../support/fake-edge.ts";
import { aborted, gate, startEdge, startWorker } from "./start.ts";

const REF = { job_id: JOB_ID, attempt: 1 };
const OTHER_ID = `${SPACE}.01JZZZZZZZZZZZZZZZZZZZZZZY`;

describe("a job", () => {
  test("is accepted at once, sends progress and output, and ends with a result (W12, W16, W17)", async () => {
    const edge = await startEdge();
    const { worker } = startWorker(edge, {
      handler: async (job) => {
        job.progress(40, "half way", 3);
        job.output("a");
        job.output({ b: 1 });
        job.metrics({ tokens: 2 });
        return { echo: job.input };
      },
    });
    const connection = await edge.connection();
    await connection.welcome();
    await connection.dispatch();
    expect(await connection.next("progress")).toEqual({
      type: "progress",
      ...REF,
      progress: 40,
      message: "half way",
      estimated_remaining: 3,
    });
    expect(await connection.next("output")).toMatchObject({ ...REF, delta: "a" });
    expect(await connection.next("output")).toMatchObject({ ...REF, delta: { b: 1 } });
    expect(await connection.next("result")).toEqual({
      type: "result",
      ...REF,
      output: { echo: { prompt: "hello" } },
      metrics: { tokens: 2 },
    });
    connection.ack(REF, "result");
    await expect.poll(() => worker.statistics().jobs).toMatchObject({ completed: 1, held: 0 });
  });

  test.each([
    [100.5, 100],
    [-1, 0],
    [1e300, 100],
    [-0.1, 0],
  ])("may report a progress of %d, which is sent as %d (W16a)", async (given, sent) => {
    const edge = await startEdge();
    startWorker(edge, { handler: async (job) => job.progress(given) ?? null });
    const connection = await edge.connection();
    await connection.welcome();
    await connection.dispatch();
    expect(await connection.next("progress")).toMatchObject({ progress: sent });
  });

  test.each([Number.NaN, Number.POSITIVE_INFINITY, null, "50", undefined])(
    "that reports a progress of %s fails, and the message says so (W16a)",
    async (given) => {
      const edge = await startEdge();
      startWorker(edge, { handler: async (job) => job.progress(given as number) ?? null });
      const connection = await edge.connection();
      await connection.welcome();
      await connection.dispatch();
      const { message } = await connection.next("fail");
      expect(message).toMatch(/^Progress must be a number from 0 to 100, not /);
    },
  );

  test.each([
    { streamed: [], joined: null },
    { streamed: ["one ", "two"], joined: "one two" },
    { streamed: ["one", 2], joined: ["one", 2] },
  ])(
    "whose handler returns nothing has the streamed output as its result: $joined",
    async (given) => {
      const edge = await startEdge();
      startWorker(edge, {
        handler: async (job) => {
          for (const delta of given.streamed) job.output(delta);
          return undefined;
        },
      });
      const connection = await edge.connection();
      await connection.welcome();
      await connection.dispatch();
      const frames = await connection.until("result");
      expect(frames.at(-1)).toMatchObject({ output: given.joined });
    },
  );

  test.each([
    [new Error("out of memory"), "worker_error", false],
    [new JobFailure("model_missing", "out of memory", true), "model_missing", true],
  ])(
    "whose handler throws fails with the message of the error: %s",
    async (error, code, retryable) => {
      const edge = await startEdge();
      const { worker } = startWorker(edge, {
        handler: async () => {
          throw error;
        },
      });
      const connection = await edge.connection();
      await connection.welcome();
      await connection.dispatch();
      expect(await connection.next("fail")).toEqual({
        type: "fail",
        ...REF,
        code,
        message: "out of memory",
        retryable,
      });
      connection.ack(REF, "fail");
      await expect.poll(() => worker.statistics().jobs.failed).toBe(1);
    },
  );

  test.each([
    ["of the file system", () => readFileSync("/home/me/keys/model.bin")],
    ["of another program", () => execFileSync("/opt/models/run", ["--key=1"])],
    ["of the language", () => JSON.parse("<secret>")],
    ["of the network", () => fetch("http://127.0.0.1:1/internal")],
  ])(
    "whose handler throws an error %s tells the submitter nothing of this machine, and logs it",
    async (_, work) => {
      const edge = await startEdge();
      const { logged } = startWorker(edge, { handler: async () => void (await work()) });
      const connection = await edge.connection();
      await connection.welcome();
      await connection.dispatch();
      expect(await connection.next("fail")).toMatchObject({
        code: "worker_error",
        message: "The worker's program failed: the worker's log says why.",
        retryable: false,
      });
      expect(logged.join()).toMatch(/Error.*\n\s+at /s);
    },
  );

  test("beyond the worker's concurrency is sent back to the queue", async () => {
    const edge = await startEdge();
    startWorker(edge, { handler: (job) => aborted(job.signal).then(() => null) });
    const connection = await edge.connection();
    await connection.welcome();
    await connection.dispatch();
    connection.send(jobFrame({ job_id: OTHER_ID }));
    expect(await connection.next("reject")).toMatchObject({ job_id: OTHER_ID, attempt: 1 });
  });

  test("runs beside others up to the worker's concurrency", async () => {
    const edge = await startEdge();
    const both = gate();
    let running = 0;
    startWorker(edge, {
      concurrency: 2,
      handler: async () => {
        running += 1;
        if (running === 2) both.open();
        await both.promise;
        return running;
      },
    });
    const connection = await edge.connection();
    await connection.welcome();
    await connection.dispatch();
    await connection.dispatch({ job_id: OTHER_ID });
    expect(await connection.next("result")).toMatchObject({ output: 2 });
    expect(await connection.next("result")).toMatchObject({ output: 2 });
  });

  test.each([
    ["NaN", Number.NaN],
    ["Infinity", Number.POSITIVE_INFINITY],
    ["a Map", new Map([["a", 1]])],
    ["a bigint", 1n],
  ])(
    "fails with a reason if its result has %s, which JSON would lose (H18)",
    async (word, value) => {
      const edge = await startEdge();
      startWorker(edge, { handler: async () => ({ score: value }) as never });
      const connection = await edge.connection();
      await connection.welcome();
      await connection.dispatch();
      const { message } = (await connection.next("fail")) as { message: string };
      expect(message).toContain(`\`score\` is ${word}`);
    },
  );

  test("past its deadline is aborted and fails with timeout", async () => {
    const edge = await startEdge();
    startWorker(edge, {
      handler: async (job) => {
        throw await aborted(job.signal);
      },
    });
    const connection = await edge.connection();
    await connection.welcome();
    await connection.dispatch({ deadline: new Date(Date.now() - 10_000).toISOString() });
    expect(await connection.next("fail")).toMatchObject({ code: "timeout" });
  });

  test("has the deadline that the edge names on the same connection (W15a)", async () => {
    const edge = await startEdge();
    startWorker(edge, {
      handler: async (job) => {
        throw await aborted(job.signal);
      },
    });
    const connection = await edge.connection();
    await connection.welcome();
    await connection.dispatch();
    const deadline = new Date(Date.now() - 10_000).toISOString();
    connection.send({ type: "deadline", ...REF, deadline });
    expect(await connection.next("fail")).toMatchObject({ ...REF, code: "timeout" });
  });

  test("has the deadline that the edge names when it is resumed (W26b)", async () => {
    const edge = await startEdge();
    startWorker(edge, {
      handler: async (job) => {
        throw await aborted(job.signal);
      },
    });
    const first = await edge.connection();
    await first.welcome();
    await first.dispatch();
    first.drop();
    const deadline = new Date(Date.now() - 10_000).toISOString();
    const second = await edge.connection();
    await second.welcome({}, { resumed: [{ ...REF, outputs: 0, deadline }] });
    expect(await second.next("fail")).toMatchObject({ ...REF, code: "timeout" });
  });
});

describe("files", () => {
  test("are fetched whole by the handler (W14)", async () => {
    const edge = await startEdge();
    const file = edge.serve("a.txt", Buffer.from("file content"));
    startWorker(edge, {
      handler: async (job) => (await job.files[0]?.download())?.toString() ?? null,
    });
    const connection = await edge.connection();
    await connection.welcome();
    await connection.dispatch({ files: [file] });
    expect(await connection.next("result")).toMatchObject({ output: "file content" });
  });

  test.each([
    { size: 3, words: "more came" },
    { size: 100, words: "12 came" },
  ])("with another size than announced ($size) fail the job (W14b)", async ({ size, words }) => {
    const edge = await startEdge();
    const file = edge.serve("a.txt", Buffer.from("file content"), { size });
    startWorker(edge, {
      handler: async (job) => (await job.files[0]?.download())?.toString() ?? null,
    });
    const connection = await edge.connection();
    await connection.welcome();
    await connection.dispatch({ files: [file] });
    const fail = await connection.next("fail");
    expect(fail).toMatchObject({ code: "worker_error", retryable: true });
    expect(fail.message).toContain(words);
  });
});

describe("a canceled job", () => {
  test("is aborted, and answered as canceled once its handler has ended (W23)", async () => {
    const edge = await startEdge();
    const ending = gate();
    let reason: unknown;
    const { worker } = startWorker(edge, {
      handler: async (job) => {
        reason = await aborted(job.signal);
        await ending.promise;
        return "too late";
      },
    });
    const connection = await edge.connection();
    await connection.welcome();
    await connection.dispatch();
    connection.send({ type: "cancel", ...REF, reason: "asked" });
    await expect.poll(() => reason).toBeInstanceOf(JobAborted);
    expect(reason).toMatchObject({ why: "canceled" });
    // Answered at once: if the running attempt had been answered already, that would come first.
    connection.send({ type: "cancel", job_id: OTHER_ID, attempt: 1, reason: "asked" });
    expect(await connection.next("fail")).toMatchObject({ job_id: OTHER_ID });
    ending.open();
    expect(await connection.next("fail")).toMatchObject({ ...REF, code: "canceled" });
    connection.ack(REF, "fail");
    await expect.poll(() => worker.statistics().jobs.canceled).toBe(1);
  });

  test("keeps its slot until it has ended: the next job is accepted, and starts after that", async () => {
    const edge = await startEdge();
    const ending = gate();
    const started: string[] = [];
    startWorker(edge, {
      handler: async (job) => {
        started.push(job.id);
        if (job.id === JOB_ID) await ending.promise;
        return null;
      },
    });
    const connection = await edge.connection();
    await connection.welcome();
    await connection.dispatch();
    connection.send({ type: "cancel", ...REF, reason: "asked" });
    await connection.dispatch({ job_id: OTHER_ID });
    expect(started).toEqual([JOB_ID]);
    ending.open();
    await connection.next("fail");
    expect(await connection.next("result")).toMatchObject({ job_id: OTHER_ID });
  });

  test("that this worker doesn't hold is answered too (W23)", async () => {
    const edge = await startEdge();
    startWorker(edge, { handler: async () => null });
    const connection = await edge.connection();
    await connection.welcome();
    connection.send({ type: "cancel", ...REF, reason: "asked" });
    expect(await connection.next("fail")).toMatchObject({ ...REF, code: "canceled" });
  });
});

describe("a stale attempt", () => {
  test("is aborted and nothing more is sent about it (W22)", async () => {
    const edge = await startEdge();
    const reasons: unknown[] = [];
    const { worker } = startWorker(edge, {
      handler: async (job) => {
        if (job.attempt === 2) return "second";
        reasons.push(await aborted(job.signal));
        job.output("unheard");
        return "first";
      },
    });
    const connection = await edge.connection();
    await connection.welcome();
    await connection.dispatch();
    connection.send({ type: "stale", ...REF });
    await connection.dispatch({ attempt: 2 });
    expect(await connection.next("result")).toMatchObject({ attempt: 2, output: "second" });
    expect(reasons).toMatchObject([{ why: "stale" }]);
    expect(worker.statistics().jobs.stale).toBe(1);
  });

  test("is aborted when a newer attempt of the same job arrives", async () => {
    const edge = await startEdge();
    startWorker(edge, {
      handler: async (job) => {
        if (job.attempt === 1) await aborted(job.signal);
        return job.attempt;
      },
    });
    const connection = await edge.connection();
    await connection.welcome();
    await connection.dispatch();
    await connection.dispatch({ attempt: 2 });
    expect(await connection.next("result")).toMatchObject({ attempt: 2, output: 2 });
  });
});

describe("the edge's frame limit", () => {
  test("turns a result that is too large into a failure that names both sizes", async () => {
    const edge = await startEdge();
    startWorker(edge, { handler: async () => "x".repeat(5_000) });
    const connection = await edge.connection();
    await connection.welcome({ max_frame_bytes: 2_000 });
    await connection.dispatch();
    const fail = await connection.next("fail");
    expect(fail.code).toBe("worker_error");
    expect(fail.message).toMatch(/The result makes a frame of 5,\d{3} bytes.*2,000 at most/);
  });

  test("splits streamed text between characters", async () => {
    const edge = await startEdge();
    const text = "😀\u0000é".repeat(700);
    startWorker(edge, {
      handler: async (job) => {
        job.output(text);
        return null;
      },
    });
    const connection = await edge.connection();
    await connection.welcome({ max_frame_bytes: 1_500 });
    await connection.dispatch();
    const outputs = (await connection.until("result")).filter((frame) => frame.type === "output");
    expect(outputs.map(({ delta }) => delta).join("")).toBe(text);
    expect(outputs.length).toBeGreaterThan(5);
    for (const frame of outputs) {
      expect(Buffer.byteLength(JSON.stringify(frame))).toBeLessThanOrEqual(1_500);
      expect(String(frame.delta).isWellFormed()).toBe(true);
    }
  });

  test("fails a job that streams a larger piece of other JSON, even if its handler continues", async () => {
    const edge = await startEdge();
    startWorker(edge, {
      handler: async (job) => {
        try {
          job.output({ data: "x".repeat(5_000) });
        } catch {
          return "never mind";
        }
        return null;
      },
    });
    const connection = await edge.connection();
    await connection.welcome({ max_frame_bytes: 2_000 });
    await connection.dispatch();
    expect((await connection.next("fail")).message).toContain("2,000 at most");
    // What its handler returned is not sent: the next answer is about another job.
    await connection.dispatch({ job_id: OTHER_ID });
    expect(await connection.next("fail")).toMatchObject({ job_id: OTHER_ID });
  });

  test("is not the only check: nesting that is too deep and values that aren't JSON fail the job (C3)", async () => {
    const edge = await startEdge();
    const circle: Record<string, never> = {};
    Object.assign(circle, { circle });
    const deep = JSON.parse(`${"[".repeat(80)}${"]".repeat(80)}`);
    const results = [deep, circle];
    startWorker(edge, { handler: async () => results.shift() });
    const connection = await edge.connection();
    await connection.welcome();
    await connection.dispatch();
    expect((await connection.next("fail")).message).toContain("nested");
    await connection.dispatch({ attempt: 2 });
    expect((await connection.next("fail")).message).toContain("circular");
  });
});
