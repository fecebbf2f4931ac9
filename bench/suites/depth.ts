import type { Program } from "../program.ts";
import type { LoadCalls } from "../programs/load.ts";
import type { Stage } from "../stage.ts";
import { median } from "../statistics.ts";
import { DialoutEdge } from "./dialout-edge.ts";
import { IN_FLIGHT, type Measured, type Pace, type Subject, type Suite } from "./suite.ts";

/** Jobs dispatched and ended between two looks at the clock; the shallow queue holds no more. */
const LOT = 100;
const DEPTHS = [LOT, 100_000];
const US_A_JOB = 1_000 / LOT;
const FEWEST_LOTS = 5;
const FILLING_IN_FLIGHT = 512;
const FILLING_MS = 600_000;
/** Nothing may run out while the queue is filled and its jobs are held. */
const NO_HURRY_S = 86_400;

/** What a dispatch costs with few jobs waiting, and with many. */
export const depth: Suite = {
  name: "depth",
  title: "Depth of the queue",
  base: `depth-${LOT}`,
  columns: [
    { metric: "us_many", heading: `${IN_FLIGHT} at a worker, µs/job`, ratio: true },
    { metric: "us_one", heading: "1 at a worker, µs/job", ratio: true },
    { metric: "us_submit", heading: "to submit, µs/job", ratio: true },
  ],
  subjects: DEPTHS.map((waiting) => atDepth(waiting)),
};

function atDepth(waiting: number): Subject {
  return {
    name: `depth-${waiting}`,
    label: `Dialout, ${waiting.toLocaleString("en")} jobs wait`,
    measure: (stage, pace) => measureAt(stage, waiting, pace),
  };
}

async function measureAt(stage: Stage, waiting: number, { ms }: Pace): Promise<Measured> {
  const edge = await DialoutEdge.start(stage, {
    offline: "queue",
    queue_timeout_s: NO_HURRY_S,
    job_timeout_s: NO_HURRY_S,
  });
  const load = await edge.connectLoad();
  await load.call("fill", { jobs: waiting, inFlight: FILLING_IN_FLIGHT }, FILLING_MS);
  const at = { edge, load, waiting, ms };
  const many = await drainedWith(IN_FLIGHT, at);
  const one = await drainedWith(1, at);
  return { us_many: many.dispatchUs, us_one: one.dispatchUs, us_submit: many.submitUs };
}

interface At {
  edge: DialoutEdge;
  load: Program<LoadCalls>;
  waiting: number;
  ms: number;
}

/** Median times a job: of lots put in while the queue is this deep, and of lots a worker lets go. */
async function drainedWith(concurrency: number, { edge, load, waiting, ms }: At) {
  const worker = await edge.connectWorker(concurrency, { held: true });
  await refill({ edge, load, waiting });
  const submits: number[] = [];
  const lots: number[] = [];
  for (const endsAt = Date.now() + ms; Date.now() < endsAt || lots.length < FEWEST_LOTS; ) {
    lots.push(await worker.call("release", LOT));
    submits.push(await refill({ edge, load, waiting }));
  }
  await worker.call("leave", undefined);
  return { dispatchUs: median(lots) * US_A_JOB, submitUs: median(submits) * US_A_JOB };
}

/** Brings the queue back to its depth; the time that took, milliseconds. */
async function refill({ edge, load, waiting }: Omit<At, "ms">): Promise<number> {
  const missing = waiting - (await edge.queueSize());
  if (missing <= 0) return 0;
  return load.call("fill", { jobs: missing, inFlight: FILLING_IN_FLIGHT }, FILLING_MS);
}
