import { describe, expect, onTestFinished, test } from "vitest";
import { JOB_ID, jobFrame, SPACE } from "../support/fake-edge.ts";
import { Network } from "../support/network.ts";
import { aborted, gate, startEdge, startWorker } from "./start.ts";

const REF = { job_id: JOB_ID, attempt: 1 };
const OTHER = { job_id: `${SPACE}.01JZZZZZZZZZZZZZZZZZZZZZZY`, attempt: 4 };

describe("after a reconnect", () => {
  test("a result is sent again after every reconnect until it is acknowledged (W20a, W25)", async () => {
    const edge = await startEdge();
    const { worker } = startWorker(edge, { handler: async () => "precious" });
    let connection = await edge.connection();
    await connection.welcome();
    await connection.dispatch();
    for (let loss = 0; loss < 3; loss += 1) {
      expect(await connection.next("result")).toMatchObject({ ...REF, output: "precious" });
      connection.drop();
      connection = await edge.connection();
      const register = await connection.welcome({}, { resumed: [{ ...REF, outputs: 0 }] });
      expect(register.resume).toEqual([REF]);
    }
    await connection.next("result");
    connection.ack(REF, "result");
    await expect.poll(() => worker.statistics().jobs.held).toBe(0);
    connection.drop();
    expect((await (await edge.connection()).welcome()).resume).toEqual([]);
    await expect.poll(() => worker.statistics().reconnects).toBe(4);
    expect(worker.statistics().jobs.completed).toBe(1);
  });

  test("an unacknowledged failure is sent again (W20a)", async () => {
    const edge = await startEdge();
    startWorker(edge, {
      handler: async () => {
        throw new Error("broken");
      },
    });
    const first = await edge.connection();
    await first.welcome();
    await first.dispatch();
    await first.next("fail");
    first.drop();
    const second = await edge.connection();
    await second.welcome({}, { resumed: [{ ...REF, outputs: 0 }] });
    expect(await second.next("fail")).toMatchObject({ message: "broken" });
  });

  test("output continues with the first piece that the edge lacks, then progress is sent (W26)", async () => {
    const edge = await startEdge();
    const lost = gate();
    const streaming = gate();
    const finishing = gate();
    startWorker(edge, {
      handler: async (job) => {
        for (const piece of ["0", "1", "2"]) job.output(piece);
        job.progress(30);
        await lost.promise;
        job.output("3");
        job.progress(40, "while nobody listened");
        job.output("4");
        streaming.open();
        await finishing.promise;
        job.output("5");
        return "end";
      },
    });
    const first = await edge.connection();
    await first.welcome();
    await first.dispatch();
    await first.until("progress");
    first.drop();
    const second = await edge.connection();
    lost.open();
    await streaming.promise;
    const register = await second.welcome({}, { resumed: [{ ...REF, outputs: 1 }] });
    expect(register.resume).toEqual([REF]);
    const replayed = await second.until("progress");
    expect(replayed.map((frame) => ("delta" in frame ? frame.delta : frame.type))).toEqual([
      "1",
      "2",
      "3",
      "4",
      "progress",
    ]);
    expect(replayed.at(-1)).toMatchObject({ progress: 40, message: "while nobody listened" });
    finishing.open();
    expect(await second.next("output")).toMatchObject({ delta: "5" });
    expect(await second.next("result")).toMatchObject({ output: "end" });
  });

  test("a job that ended while disconnected sends its output and then its result (W26)", async () => {
    const edge = await startEdge();
    const lost = gate();
    const { worker } = startWorker(edge, {
      handler: async (job) => {
        await lost.promise;
        job.output("late ");
        job.output("news");
        return undefined;
      },
    });
    const first = await edge.connection();
    await first.welcome();
    await first.dispatch();
    first.drop();
    const second = await edge.connection();
    lost.open();
    await second.welcome({}, { resumed: [{ ...REF, outputs: 0 }] });
    const frames = await second.until("result");
    expect(frames.map((frame) => frame.type)).toEqual(["output", "output", "result"]);
    expect(frames.at(-1)).toMatchObject({ output: "late news" });
    expect(worker.statistics().jobs.received).toBe(1);
  });

  test("a dropped attempt is aborted and forgotten, and the other attempt continues (W25a)", async () => {
    const edge = await startEdge();
    const reasons: unknown[] = [];
    const finishing = gate();
    startWorker(edge, {
      concurrency: 2,
      handler: async (job) => {
        if (job.id === OTHER.job_id) {
          await finishing.promise;
          return "kept";
        }
        reasons.push(await aborted(job.signal));
        return "dropped";
      },
    });
    const first = await edge.connection();
    await first.welcome();
    await first.dispatch();
    await first.dispatch(OTHER);
    first.drop();
    const second = await edge.connection();
    const register = await second.welcome(
      {},
      { resumed: [{ ...OTHER, outputs: 0 }], dropped: [REF] },
    );
    expect(register.resume).toEqual([REF, OTHER]);
    await expect.poll(() => reasons).toMatchObject([{ why: "dropped" }]);
    finishing.open();
    expect(await second.next("result")).toMatchObject({ ...OTHER, output: "kept" });
  });

  test("of attempts that the edge doesn't mention, running ones are aborted and ended ones are sent again", async () => {
    const edge = await startEdge();
    const reasons: unknown[] = [];
    startWorker(edge, {
      concurrency: 2,
      handler: async (job) => {
        if (job.id === OTHER.job_id) return "told";
        reasons.push(await aborted(job.signal));
        return null;
      },
    });
    const first = await edge.connection();
    await first.welcome();
    await first.dispatch();
    await first.dispatch(OTHER);
    await first.next("result");
    first.drop();
    const second = await edge.connection();
    await second.welcome();
    expect(await second.next("result")).toMatchObject({ ...OTHER, output: "told" });
    await expect.poll(() => reasons).toMatchObject([{ why: "dropped" }]);
  });

  test("a result that is stored, so that only its ack was lost, counts as completed (W25b)", async () => {
    const edge = await startEdge();
    const { worker } = startWorker(edge, { handler: async () => "stored" });
    const first = await edge.connection();
    await first.welcome();
    await first.dispatch();
    await first.next("result");
    first.drop();
    await (await edge.connection()).welcome({}, { dropped: [{ ...REF, of: "result" }] });
    await expect.poll(() => worker.statistics().jobs.held).toBe(0);
    expect(worker.statistics().jobs).toMatchObject({ completed: 1, stale: 0 });
  });

  test("a drain waits for the ack of what is finished, over a new connection if the old one is dead (W28)", async () => {
    const edge = await startEdge();
    const network = await Network.start(edge.url);
    onTestFinished(() => network.close());
    const { worker, ended } = startWorker(network, { handler: async () => "finished" });
    const first = await edge.connection();
    await first.welcome({ heartbeat_s: 0.2, lease_s: 4 });
    await first.dispatch();
    await first.next("result");
    network.freeze();
    void worker.drain("shutting down", 3_000);
    const second = await edge.connection();
    await second.welcome({}, { resumed: [{ ...REF, outputs: 0 }] });
    await second.next("drain");
    const result = await second.until("result");
    expect(result.at(-1)).toMatchObject({ output: "finished" });
    second.ack(REF, "result");
    expect(await ended).toBe(null);
    expect(worker.statistics().jobs).toMatchObject({ completed: 1 });
  });

  test("a result that the edge answers with stale is not sent again (W20a, W22)", async () => {
    const edge = await startEdge();
    const { worker } = startWorker(edge, { handler: async () => "late" });
    const first = await edge.connection();
    await first.welcome();
    await first.dispatch();
    await first.next("result");
    first.send({ type: "stale", ...REF });
    await expect.poll(() => worker.statistics().jobs.held).toBe(0);
    first.drop();
    expect((await (await edge.connection()).welcome()).resume).toEqual([]);
  });

  test("a result that no longer fits a smaller frame limit becomes a failure", async () => {
    const edge = await startEdge();
    startWorker(edge, { handler: async () => "x".repeat(5_000) });
    const first = await edge.connection();
    await first.welcome();
    await first.dispatch();
    await first.next("result");
    first.drop();
    const second = await edge.connection();
    await second.welcome({ max_frame_bytes: 2_000 }, { resumed: [{ ...REF, outputs: 0 }] });
    expect((await second.next("fail")).message).toContain("no longer fits");
  });

  test("a handler that changes a value after streaming it doesn't change what is sent again", async () => {
    const edge = await startEdge();
    const value = { step: 1 };
    startWorker(edge, {
      handler: async (job) => {
        job.output(value);
        value.step = 2;
        await aborted(job.signal);
        return null;
      },
    });
    const first = await edge.connection();
    await first.welcome();
    await first.dispatch();
    await first.next("output");
    first.drop();
    const second = await edge.connection();
    await second.welcome({}, { resumed: [{ ...REF, outputs: 0 }] });
    expect(await second.next("output")).toMatchObject({ delta: { step: 1 } });
  });
});

describe("a drain", () => {
  test("rejects new jobs, finishes running ones, waits for their ack and closes with 1000 (W28)", async () => {
    const edge = await startEdge();
    const finishing = gate();
    const { worker, ended } = startWorker(edge, {
      concurrency: 2,
      handler: async () => {
        await finishing.promise;
        return "finished";
      },
    });
    const connection = await edge.connection();
    await connection.welcome();
    await connection.dispatch();
    const drained = worker.drain("update");
    expect(await connection.next("drain")).toMatchObject({ reason: "update" });
    connection.send(jobFrame(OTHER));
    const reject = await connection.next("reject");
    expect(reject).toMatchObject(OTHER);
    expect(reject.reason).toContain("draining");
    connection.ack(OTHER, "reject");
    finishing.open();
    await connection.next("result");
    connection.ack(REF, "result");
    expect(await connection.closed).toBe(1000);
    await drained;
    expect(await ended).toBeNull();
    expect(worker.statistics().jobs).toMatchObject({ completed: 1, rejected: 1, held: 0 });
  });

  test("with nothing to finish ends at once, even while the edge is unreachable", async () => {
    const edge = await startEdge();
    const { worker, ended } = startWorker(edge, { handler: async () => null });
    const connection = await edge.connection();
    await connection.welcome();
    await edge.close().catch(() => {});
    await worker.drain();
    expect(await ended).toBeNull();
  });

  test("continues after a reconnect: drain and an unacknowledged reject are sent again (W28, W20a)", async () => {
    const edge = await startEdge();
    const finishing = gate();
    const { worker, ended } = startWorker(edge, {
      handler: async () => {
        await finishing.promise;
        return "finished";
      },
    });
    const first = await edge.connection();
    await first.welcome();
    await first.dispatch();
    void worker.drain();
    await first.next("drain");
    first.send(jobFrame(OTHER));
    await first.next("reject");
    first.drop();
    const second = await edge.connection();
    const resumed = [REF, OTHER].map((ref) => ({ ...ref, outputs: 0 }));
    const register = await second.welcome({}, { resumed });
    expect(register.resume).toEqual([REF, OTHER]);
    await second.next("drain");
    expect(await second.next("reject")).toMatchObject(OTHER);
    second.ack(OTHER, "reject");
    finishing.open();
    await second.next("result");
    second.ack(REF, "result");
    expect(await ended).toBeNull();
  });

  test("that takes too long is given up, and the statistics count what was still held", async () => {
    const edge = await startEdge();
    const { worker } = startWorker(edge, {
      handler: async (job) => {
        await aborted(job.signal);
        return null;
      },
    });
    const connection = await edge.connection();
    await connection.welcome();
    await connection.dispatch();
    await worker.drain("update", 30);
    expect(worker.statistics().jobs.held).toBe(1);
    expect(await connection.closed).toBe(1000);
    expect(connection.unread.map((frame) => "type" in frame && frame.type)).toEqual(["drain"]);
  });
});
