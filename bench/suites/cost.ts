import { setTimeout as sleep } from "node:timers/promises";
import type { ChildProgram } from "../child-program.ts";
import { INPUT } from "../clients/submitter.ts";
import type { WorkerCalls } from "../programs/worker.ts";
import type { Sandbox } from "../sandbox.ts";
import type { Usage } from "../usage.ts";
import { DialoutEdge } from "./dialout-edge.ts";
import { IN_FLIGHT, type Measured, type Suite, type Timing } from "./suite.ts";
import { connectLoad } from "./work.ts";

/** Dollars on the paid plan, beyond what is included (docs/benchmarks.md says where from). */
const PRICE = {
  rowWritten: 1 / 1e6,
  rowRead: 0.001 / 1e6,
  request: 0.15 / 1e6,
  awakeMs: ((12.5 / 1e6) * 0.128) / 1_000,
};
const MESSAGES_A_REQUEST = 20;

const LONE_JOBS = 2;
/** Longer than an attempt's lease, so that the lease's alarm counts as a cost of a lone job. */
const LONE_PAUSE_MS = 35_000;
/** How long a lone job takes at the worker, as a job of a model would. */
const RUN_MS = 1_000;
/** Longer than the alarm for a worker's `register` (W6), which the start of the edge leaves behind. */
const SETTLE_MS = 12_000;
/** Longer than any timer that a job leaves pending. */
const TIMERS_MS = 2_500;

const LONE = `socket, one every ${LONE_PAUSE_MS / 1_000} s`;

/** What Cloudflare would bill for a job. Rows are counted by the runtime's own cursors. */
export const cost: Suite = {
  name: "cost",
  title: "What a job costs its space's object",
  base: "cost-busy",
  columns: [
    { metric: "rows_written", heading: "rows written" },
    { metric: "rows_read", heading: "rows read" },
    { metric: "requests", heading: "requests" },
    { metric: "awake_ms", heading: "awake ms" },
    { metric: "usd_per_million", heading: "$ a million jobs" },
  ],
  subjects: [
    {
      name: "cost-busy",
      label: `socket, ${IN_FLIGHT} in flight`,
      measure: (sandbox, { ms }) =>
        costOf(sandbox, async (edge) => {
          const load = await edge.connectLoad();
          return async () => {
            await load.call("measure", { inFlight: IN_FLIGHT, ms }, ms);
          };
        }),
    },
    {
      name: "cost-lone",
      label: `${LONE}, a second each`,
      measure: (sandbox) => measureLone(sandbox, RUN_MS),
    },
    {
      name: "cost-quick",
      label: `${LONE}, over at once`,
      measure: (sandbox) => measureLone(sandbox, 0),
    },
    {
      name: "cost-http",
      label: `HTTP, ${IN_FLIGHT} at once`,
      measure: (sandbox, timing) => costOf(sandbox, (edge) => overHttp(sandbox, edge, timing)),
    },
  ],
  maxRounds: 1,
};

function measureLone(sandbox: Sandbox, runMs: number): Promise<Measured> {
  const prepare = async (edge: DialoutEdge) => {
    const load = await edge.connectLoad();
    const trickle = (submits: number) =>
      load.call("trickle", { submits, pauseMs: LONE_PAUSE_MS }, submits * LONE_PAUSE_MS);
    // With this job the space learns how long its jobs take (decision 0030).
    await trickle(1);
    return () => trickle(LONE_JOBS);
  };
  return costOf(sandbox, prepare, runMs);
}

async function overHttp(sandbox: Sandbox, edge: DialoutEdge, { ms }: Timing) {
  const body = JSON.stringify({ input: INPUT });
  const target = { kind: "http", url: edge.jobsUrl, body, connections: IN_FLIGHT } as const;
  const load = await connectLoad(sandbox, target);
  return async () => {
    await load.call("measure", { inFlight: IN_FLIGHT, ms }, ms);
  };
}

/** Measures the usage per job of one load, after the worker has answered its last job. */
async function costOf(
  sandbox: Sandbox,
  prepare: (edge: DialoutEdge) => Promise<() => Promise<void>>,
  runMs = 0,
): Promise<Measured> {
  const edge = await DialoutEdge.start(sandbox, {}, "metered");
  const worker = await edge.connectWorker(IN_FLIGHT, { runMs });
  const load = await prepare(edge);
  await sleep(SETTLE_MS);
  const warmed = await worker.call("acknowledged", undefined);
  const before = await edge.usage();
  await load();
  const jobs = (await untilQuiet(worker)) - warmed;
  return perJob(before, await edge.usage(), jobs);
}

/** Waits until no more results are acknowledged. It asks the worker: the edge would count the requests. */
async function untilQuiet(worker: ChildProgram<WorkerCalls>): Promise<number> {
  for (let before = -1; ; ) {
    const now = await worker.call("acknowledged", undefined);
    if (now === before) return now;
    before = now;
    await sleep(TIMERS_MS);
  }
}

function perJob(before: Usage, after: Usage, jobs: number): Measured {
  const per = (name: keyof Usage) => (after[name] - before[name]) / jobs;
  const rows_written = per("rowsWritten");
  const rows_read = per("rowsRead");
  const requests = per("requests") + per("messages") / MESSAGES_A_REQUEST;
  const awake_ms = per("awakeMs");
  const usd =
    rows_written * PRICE.rowWritten +
    rows_read * PRICE.rowRead +
    requests * PRICE.request +
    awake_ms * PRICE.awakeMs;
  return { rows_written, rows_read, requests, awake_ms, usd_per_million: usd * 1e6 };
}
