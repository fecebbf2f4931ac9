import { INPUT } from "../clients/submitter.ts";
import type { Sandbox } from "../sandbox.ts";
import { DialoutEdge } from "./dialout-edge.ts";
import { IN_FLIGHT, type Measured, NotSupported, type Suite, type Timing } from "./suite.ts";
import { connectLoad, startPeers } from "./work.ts";

const BATCH_JOBS = 100;
const BATCHES_IN_FLIGHT = 8;
const ONE = JSON.stringify({ input: INPUT });
const BATCH = JSON.stringify({
  jobs: Array.from({ length: BATCH_JOBS }, () => ({ input: INPUT })),
});

/** Submits over connections that stay open; each answer means that the job is stored. */
export const http: Suite = {
  name: "http",
  title: `Submits over HTTP, ${IN_FLIGHT} at once`,
  base: "http-queue",
  columns: [
    { metric: "jobs_per_s", heading: "jobs/s", ratio: true },
    { metric: "p50_ms", heading: "p50 ms" },
    { metric: "p99_ms", heading: "p99 ms" },
  ],
  subjects: [
    { name: "http-queue", label: "Dialout, no worker: they queue", measure: measureQueued },
    { name: "http-worker", label: "Dialout, a worker takes them", measure: measureWithWorker },
    {
      name: "http-batch",
      label: `Dialout, ${BATCH_JOBS} jobs a request, ${BATCHES_IN_FLIGHT} at once`,
      measure: measureBatches,
    },
    { name: "http-row", label: "Hono, one object call, one row", measure: measureRow },
  ],
};

async function measureQueued(sandbox: Sandbox, timing: Timing): Promise<Measured> {
  const edge = await DialoutEdge.start(sandbox, { offline: "queue" });
  return measureHttp(sandbox, { url: edge.jobsUrl, body: ONE }, timing);
}

async function measureWithWorker(sandbox: Sandbox, timing: Timing): Promise<Measured> {
  const edge = await DialoutEdge.start(sandbox);
  await edge.connectWorker(IN_FLIGHT);
  return measureHttp(sandbox, { url: edge.jobsUrl, body: ONE }, timing);
}

async function measureBatches(sandbox: Sandbox, timing: Timing): Promise<Measured> {
  const edge = await DialoutEdge.start(sandbox, { offline: "queue" });
  const url = `${edge.jobsUrl}/batch`;
  const headers = { "content-type": "application/json" };
  const probe = await fetch(url, { method: "POST", headers, body: BATCH });
  if (probe.status === 404 || probe.status === 405)
    throw new NotSupported("the edge has no such route");
  const batches = await measureHttp(sandbox, { url, body: BATCH }, timing, BATCHES_IN_FLIGHT);
  return { ...batches, jobs_per_s: (batches.jobs_per_s ?? Number.NaN) * BATCH_JOBS };
}

async function measureRow(sandbox: Sandbox, timing: Timing): Promise<Measured> {
  return measureHttp(sandbox, { url: `${await startPeers(sandbox)}/rows`, body: ONE }, timing);
}

async function measureHttp(
  sandbox: Sandbox,
  request: { url: string; body: string },
  { ms, warmMs }: Timing,
  inFlight = IN_FLIGHT,
): Promise<Measured> {
  const load = await connectLoad(sandbox, { kind: "http", ...request, connections: inFlight });
  await load.call("measure", { inFlight, ms: warmMs }, warmMs);
  const sample = await load.call("measure", { inFlight, ms }, ms);
  return { jobs_per_s: sample.perSecond, p50_ms: sample.p50Ms, p99_ms: sample.p99Ms };
}
