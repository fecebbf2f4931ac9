import type { ChildProgram } from "../child-program.ts";
import type { LoadCalls } from "../programs/load.ts";
import type { Sandbox } from "../sandbox.ts";
import { median } from "../statistics.ts";
import { DialoutEdge } from "./dialout-edge.ts";
import { type BenchSubject, IN_FLIGHT, type Measured, type Suite, type Timing } from "./suite.ts";

/** Jobs that are timed together; the shallow queue holds just as many. */
const LOT = 100;
const DEPTHS = [LOT, 100_000];
const US_A_JOB = 1_000 / LOT;
const FEWEST_LOTS = 5;
const FILLING_IN_FLIGHT = 512;
const FILLING_MS = 600_000;
/** No timeout may fire while the queue is filled and results are held back. */
const LONG_TIMEOUT_S = 86_400;

/** Compares the cost of a dispatch when few jobs wait and when many do. */
export const depth: Suite = {
  name: "depth",
  title: "Depth of the queue",
  base: `depth-${LOT}`,
  columns: [
    { metric: "us_many", heading: `${IN_FLIGHT} at a worker, µs/job`, ratio: true },
    { metric: "us_one", heading: "1 at a worker, µs/job", ratio: true },
    { metric: "us_submit", heading: "to submit, µs/job", ratio: true },
  ],
  subjects: DEPTHS.map((waiting) => subjectAt(waiting)),
};

function subjectAt(waiting: number): BenchSubject {
  return {
    name: `depth-${waiting}`,
    label: `Dialout, ${waiting.toLocaleString("en")} jobs wait`,
    measure: (sandbox, timing) => measureAt(sandbox, waiting, timing),
  };
}

async function measureAt(sandbox: Sandbox, waiting: number, { ms }: Timing): Promise<Measured> {
  const edge = await DialoutEdge.start(sandbox, {
    offline: "queue",
    queue_timeout_s: LONG_TIMEOUT_S,
    job_timeout_s: LONG_TIMEOUT_S,
  });
  const load = await edge.connectLoad();
  await load.call("fill", { jobs: waiting, inFlight: FILLING_IN_FLIGHT }, FILLING_MS);
  const run = { edge, load, waiting, ms };
  const many = await measureDrain(IN_FLIGHT, run);
  const one = await measureDrain(1, run);
  return { us_many: many.dispatchUs, us_one: one.dispatchUs, us_submit: many.submitUs };
}

interface DepthRun {
  edge: DialoutEdge;
  load: ChildProgram<LoadCalls>;
  waiting: number;
  ms: number;
}

/**
 * Lets a worker answer lot after lot while the queue is refilled to its depth; returns the median
 * µs a job, to dispatch and finish it and to submit it.
 */
async function measureDrain(concurrency: number, { edge, load, waiting, ms }: DepthRun) {
  const worker = await edge.connectWorker(concurrency, { holdResults: true });
  await refill({ edge, load, waiting });
  const submits: number[] = [];
  const lots: number[] = [];
  for (const endsAt = Date.now() + ms; Date.now() < endsAt || lots.length < FEWEST_LOTS; ) {
    lots.push(await worker.call("release", LOT));
    submits.push(await refill({ edge, load, waiting }));
  }
  await worker.call("disconnect", undefined);
  return { dispatchUs: median(lots) * US_A_JOB, submitUs: median(submits) * US_A_JOB };
}

/** Fills the queue up to its depth again; returns the milliseconds that took. */
async function refill({ edge, load, waiting }: Omit<DepthRun, "ms">): Promise<number> {
  const missing = waiting - (await edge.queueSize());
  if (missing <= 0) return 0;
  return load.call("fill", { jobs: missing, inFlight: FILLING_IN_FLIGHT }, FILLING_MS);
}
