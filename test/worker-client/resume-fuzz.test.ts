import { setImmediate as turn } from "node:timers/promises";
import fc from "fast-check";
import { expect, test } from "vitest";
import { type FakeEdge, JOB_ID } from "../support/fake-edge.ts";
import { startEdge, startWorker } from "./start.ts";

const REF = { job_id: JOB_ID, attempt: 1 };

interface Plan {
  /** For each piece of output: whether the handler lets others have a turn after it. */
  pauses: boolean[];
  /** For each connection: the frames the edge stores before it is gone. */
  losses: number[];
}

const plans: fc.Arbitrary<Plan> = fc.record({
  pauses: fc.array(fc.boolean(), { maxLength: 30 }),
  losses: fc.array(fc.nat(9), { maxLength: 6 }),
});

/** An edge that is lost again and again, and has stored what it read until then. */
async function storeThroughLosses(edge: FakeEdge, losses: number[]): Promise<unknown[]> {
  const stored: unknown[] = [];
  const first = await edge.connection();
  await first.welcome();
  await first.dispatch();
  let connection = first;
  for (const reads of [...losses, Number.POSITIVE_INFINITY]) {
    for (let read = 0; read < reads; read += 1) {
      const frame = await connection.any();
      if (frame.type === "output") stored.push(frame.delta);
      if (frame.type === "result") {
        connection.ack(REF, "result");
        return [...stored, frame.output];
      }
    }
    connection.drop();
    connection = await edge.connection();
    await connection.welcome({}, { resumed: [{ ...REF, outputs: stored.length }] });
  }
  return stored;
}

test("however often the connection is lost, every piece arrives once and in order, then the result (W21, W26)", async () => {
  await fc.assert(
    fc.asyncProperty(plans, async ({ pauses, losses }) => {
      const edge = await startEdge();
      const { worker } = startWorker(edge, {
        handler: async (job) => {
          for (const [index, pause] of pauses.entries()) {
            job.output(index);
            job.progress(index);
            if (pause) await turn();
          }
          return "end";
        },
      });
      expect(await storeThroughLosses(edge, losses)).toEqual([...pauses.keys(), "end"]);
      await expect.poll(() => worker.statistics().jobs.completed, { interval: 2 }).toBe(1);
      worker.stop();
    }),
    { numRuns: 40 },
  );
}, 30_000);
