import { EventEmitter } from "node:events";
import { describe, expect, onTestFinished, test } from "vitest";
import type { DeclaredSchema } from "../../src/protocol/declared-schema.ts";
import { type Adapter, ModelUnusable } from "../../worker-client/adapters/adapter.ts";
import { serve } from "../../worker-client/serve.ts";
import { jobFrame, SPACE, TOKEN } from "../support/fake-edge.ts";
import { aborted, gate, startEdge } from "./start.ts";

/** A model that is ready and lost when the test says so. */
class FakeModel {
  ready = gate<DeclaredSchema | undefined>();
  lost = gate<string>();
  readonly adapter: Adapter = {
    handle: async (job) => {
      await aborted(job.signal);
      return null;
    },
    close: async () => {},
    model: {
      untilReady: () => this.ready.promise,
      untilLost: () => this.lost.promise,
    },
  };
}

async function serving(model: FakeModel) {
  const edge = await startEdge();
  const logged: string[] = [];
  const note = (line: string) => void logged.push(line);
  const log = { debug: note, info: note, warn: note, error: note };
  const backoff = { firstMs: 1, capMs: 20 };
  const options = { url: edge.url, space: SPACE, token: TOKEN, workerId: "gpu", log, backoff };
  const signals = new EventEmitter();
  const ended = serve(model.adapter, options, signals);
  onTestFinished(async () => {
    // Twice: leaving at once.
    for (const signal of ["SIGTERM", "SIGTERM"]) signals.emit(signal, signal);
    await ended;
  });
  return { edge, ended, logged, signals };
}

describe("a worker whose model has to load", () => {
  test("dials only when the model is ready", async () => {
    const model = new FakeModel();
    const { edge } = await serving(model);
    await new Promise((resolve) => setImmediate(resolve));
    expect(edge.dials).toBe(0);
    model.ready.open(undefined);
    await (await edge.connection()).welcome();
  });

  test("leaves its place while the model is away, and comes back as the same worker (W28, W28a)", async () => {
    const model = new FakeModel();
    model.ready.open(undefined);
    const { edge, logged } = await serving(model);
    const first = await edge.connection();
    await first.welcome();
    await expect.poll(() => logged.join()).toContain("connected");
    model.ready = gate();
    model.lost.open("the model is away");
    expect(await first.next("drain")).toMatchObject({ reason: "the model is away" });
    expect(await first.closed).toBe(1000);
    expect(edge.dials).toBe(1);
    model.lost = gate();
    model.ready.open(undefined);
    expect((await (await edge.connection()).welcome()).worker_id).toBe("gpu");
  });

  test("finishes the jobs that it has before it leaves, and rejects others (W19b)", async () => {
    const model = new FakeModel();
    model.ready.open(undefined);
    const { edge } = await serving(model);
    const connection = await edge.connection();
    await connection.welcome();
    const { job_id, attempt } = await connection.dispatch();
    model.ready = gate();
    model.lost.open("something has changed");
    await connection.next("drain");
    const late = { job_id: job_id.replace("ZZZZ", "AAAA"), attempt: 1 };
    connection.send(jobFrame(late));
    expect(await connection.next("reject")).toMatchObject(late);
    connection.ack(late, "reject");
    connection.send({ type: "cancel", job_id, attempt, reason: "enough" });
    connection.ack(await connection.next("fail"), "fail");
    expect(await connection.closed).toBe(1000);
  });

  test("ends with 1 and the reason if the model can't be used", async () => {
    const model = new FakeModel();
    model.ready.promise = Promise.reject(new ModelUnusable("it has no such node"));
    const { ended, logged } = await serving(model);
    expect(await ended).toBe(1);
    expect(logged).toContain("stopping: it has no such node");
  });

  test("ends with 0 if it is stopped while the model loads", async () => {
    const { ended, edge, signals } = await serving(new FakeModel());
    signals.emit("SIGTERM", "SIGTERM");
    expect(await ended).toBe(0);
    expect(edge.dials).toBe(0);
  });
});
