import { describe, expect, onTestFinished, test } from "vitest";
import { Network } from "../support/network.ts";
import { startEdge, startWorker } from "./start.ts";

/** A lease that is over long before what a test sends has arrived. */
const HELLO = { heartbeat_s: 0.05, lease_s: 0.4, unannounced_bytes: 65_536 };

async function slowEdge(bytesPerS: number) {
  const edge = await startEdge();
  const network = await Network.start(edge.url);
  onTestFinished(() => network.close());
  return { edge, network, slow: () => network.set({ bytesPerS }) };
}

describe("over a slow connection", () => {
  test("a result arrives that takes longer than a lease (W34)", async () => {
    const { edge, network, slow } = await slowEdge(60_000);
    startWorker(network, { handler: async () => "x".repeat(120_000) });
    const connection = await edge.connection();
    await connection.welcome(HELLO);
    slow();
    await connection.dispatch();
    expect(await connection.next("sending")).toEqual({
      type: "sending",
      bytes: expect.any(Number),
    });
    expect((await connection.next("result")).output).toHaveLength(120_000);
    expect(edge.dials).toBe(1);
  });

  test("output arrives that piled up for longer than a lease (W34b)", async () => {
    const { edge, network, slow } = await slowEdge(60_000);
    startWorker(network, {
      async handler(job) {
        for (let piece = 0; piece < 250; piece += 1) job.output("x".repeat(1_000));
        return "done";
      },
    });
    const connection = await edge.connection();
    await connection.welcome({ ...HELLO, lease_s: 2.5 });
    slow();
    await connection.dispatch();
    expect(await connection.until("result")).toHaveLength(251);
    expect(edge.dials).toBe(1);
  });

  test("an input arrives that takes longer than a lease: its bytes are a sign of life (W10)", async () => {
    const { edge, network, slow } = await slowEdge(60_000);
    startWorker(network, { handler: async (job) => String(job.input.prompt).length });
    const connection = await edge.connection();
    await connection.welcome(HELLO);
    slow();
    await connection.dispatch({ input: { prompt: "x".repeat(120_000) } });
    expect(await connection.next("result")).toMatchObject({ output: 120_000 });
    expect(edge.dials).toBe(1);
  });

  test("a connection that falls silent while nothing large is under way is dropped after a lease (W10)", async () => {
    const { edge, network } = await slowEdge(60_000);
    startWorker(network, { handler: async () => "x".repeat(1_000) });
    const connection = await edge.connection();
    await connection.welcome(HELLO);
    // It is registered by now.
    await connection.ping();
    network.freeze();
    await (await edge.connection()).welcome();
  });
});
