import { describe, expect, it } from "vitest";
import type { WorkerState } from "../../worker-client/index.ts";
import { gate, startEdge, startWorker } from "./start.ts";

/** A state in one line. */
function inWords(state: WorkerState): string {
  if (state.phase === "ended") return `ended ${state.refusal?.code ?? "well"}`;
  if (state.phase === "connecting") return `connecting ${state.jobs}`;
  return `${state.phase} ${state.jobs}`;
}

describe("the state of a worker", () => {
  it("is reported with each change: connecting, serving, its jobs, draining, the end", async () => {
    const edge = await startEdge();
    const states: string[] = [];
    const { promise, open } = gate();
    const { worker, ended } = startWorker(edge, {
      handler: async () => {
        await promise;
        return null;
      },
      onState: (state) => void states.push(inWords(state)),
    });
    expect(inWords(worker.state)).toBe("connecting 0");
    const first = await edge.connection();
    await first.welcome();
    const job = await first.dispatch();
    first.drop();
    const second = await edge.connection();
    const ref = { job_id: job.job_id, attempt: job.attempt };
    await second.welcome({}, { resumed: [{ ...ref, outputs: 0 }] });
    await expect.poll(() => worker.state.phase).toBe("serving");
    void worker.drain("over");
    await second.next("drain");
    open();
    await second.next("result");
    second.ack(ref, "result");
    await ended;
    expect(states).toEqual([
      "serving 0",
      "serving 1",
      "connecting 1",
      "serving 1",
      "draining 1",
      "draining 0",
      "ended well",
    ]);
  });

  it("says why there is no connection, and why it ended", async () => {
    const edge = await startEdge();
    const states: WorkerState[] = [];
    edge.answerAsProxy(502);
    const { ended } = startWorker(edge, {
      handler: async () => null,
      onState: (state) => void states.push(state),
    });
    const connection = await edge.connection();
    await connection.welcome();
    connection.error("replaced", "Another connection took its place.");
    connection.close(4409);
    await ended;
    expect(states).toMatchObject([
      { phase: "connecting", why: "something before the edge answered with status 502" },
      { phase: "serving", jobs: 0 },
      { phase: "ended", refusal: { code: "replaced" } },
    ]);
  });
});

describe("a worker that is woken up", () => {
  it("dials at once if it waits to dial again", async () => {
    const edge = await startEdge();
    edge.answerAsProxy(502);
    const { worker } = startWorker(edge, {
      handler: async () => null,
      backoff: { firstMs: 3_600_000, capMs: 3_600_000 },
      random: () => 0.99,
    });
    await expect
      .poll(() => (worker.state.phase === "connecting" ? worker.state.why : null))
      .toBeTruthy();
    // Not sooner than a second after the last dial (W31).
    worker.wakeUp();
    expect(edge.dials).toBe(1);
    await expect
      .poll(() => {
        worker.wakeUp();
        return edge.dials;
      })
      .toBe(2);
    await (await edge.connection()).welcome();
  });

  it("finds out within seconds that its connection is dead", async () => {
    const edge = await startEdge();
    const { worker } = startWorker(edge, { handler: async () => null });
    const dead = await edge.connection();
    await dead.welcome();
    await expect.poll(() => worker.state.phase).toBe("serving");
    dead.answersPings = false;
    worker.wakeUp();
    await dead.ping();
    await (await edge.connection()).welcome();
    worker.wakeUp();
    await expect.poll(() => worker.state.phase).toBe("serving");
  });
});
