import { existsSync } from "node:fs";
import { join } from "node:path";
import { bundles } from "../bundles.ts";
import type { ChildProgram } from "../child-program.ts";
import { GEVENT_WEBSOCKET, PYTHON, REDIS } from "../prepare.ts";
import type { EdgeCalls } from "../programs/edge.ts";
import type { LoadCalls, LoadTarget } from "../programs/load.ts";
import type { ServerCalls } from "../programs/server.ts";
import type { WorkerCalls, WorkerTarget } from "../programs/worker.ts";
import type { Sandbox } from "../sandbox.ts";
import { DialoutEdge } from "./dialout-edge.ts";
import { type BenchSubject, IN_FLIGHT, type Measured, type Suite, type Timing } from "./suite.ts";

/** Submits jobs to a worker in another process and waits for their results. */
export const work: Suite = {
  name: "work",
  title: "Work over sockets",
  base: "dialout",
  columns: [
    { metric: "p50_ms", heading: "one at a time, p50 ms", ratio: true },
    { metric: "p99_ms", heading: "p99 ms" },
    { metric: "jobs_per_s", heading: `${IN_FLIGHT} in flight, jobs/s`, ratio: true },
  ],
  subjects: [
    {
      name: "dialout",
      label: "Dialout",
      measure: (sandbox, timing) => dialout(sandbox, timing, true),
    },
    {
      name: "dialout-plain",
      label: "Dialout, a message a frame",
      measure: (sandbox, timing) => dialout(sandbox, timing, false),
    },
    objectPeer("relay", "object, bare relay, nothing stored"),
    objectPeer("naive", "object, a write a message"),
    {
      name: "bullmq",
      label: "BullMQ, Redis appendfsync always",
      missing: () => (existsSync(REDIS) ? null : `${REDIS} is not installed`),
      measure: bullmq,
    },
    {
      name: "flask",
      label: "Flask-SocketIO on gevent, in memory",
      missing: () => (existsSync(GEVENT_WEBSOCKET) ? null : "Flask-SocketIO is not installed"),
      measure: flask,
    },
  ],
};

async function dialout(sandbox: Sandbox, timing: Timing, inBatches: boolean): Promise<Measured> {
  const edge = await DialoutEdge.start(sandbox);
  await edge.connectWorker(IN_FLIGHT, { inBatches });
  return measureWork(await edge.connectLoad(inBatches), timing);
}

function objectPeer(name: "relay" | "naive", label: string): BenchSubject {
  return {
    name,
    label,
    measure: async (sandbox, timing) => {
      const url = await startPeers(sandbox);
      await startWorker(sandbox, { kind: "relay", url: `${url}/${name}/worker` });
      const target = { kind: "relay", url: `${url}/${name}/submitter` } as const;
      return measureWork(await connectLoad(sandbox, target), timing);
    },
  };
}

async function bullmq(sandbox: Sandbox, timing: Timing): Promise<Measured> {
  const durable = ["--appendonly", "yes", "--appendfsync", "always", "--save", ""];
  const port = await sandbox.launch<ServerCalls>("server.ts").call("start", {
    command: REDIS,
    args: ["--bind", "127.0.0.1", "--port", "{port}", "--dir", sandbox.folder, ...durable],
    folder: sandbox.folder,
  });
  await startWorker(sandbox, { kind: "bullmq", port, concurrency: IN_FLIGHT });
  return measureWork(await connectLoad(sandbox, { kind: "bullmq", port }), timing);
}

async function flask(sandbox: Sandbox, timing: Timing): Promise<Measured> {
  const port = await sandbox.launch<ServerCalls>("server.ts").call("start", {
    command: PYTHON,
    args: [join(import.meta.dirname, "../baseline/relay.py"), "{port}"],
    folder: sandbox.folder,
  });
  const url = `http://127.0.0.1:${port}`;
  await startWorker(sandbox, { kind: "socketio", url });
  return measureWork(await connectLoad(sandbox, { kind: "socketio", url }), timing);
}

async function measureWork(
  load: ChildProgram<LoadCalls>,
  { ms, warmMs }: Timing,
): Promise<Measured> {
  await load.call("measure", { inFlight: IN_FLIGHT, ms: warmMs }, warmMs);
  const alone = await load.call("measure", { inFlight: 1, ms }, ms);
  const many = await load.call("measure", { inFlight: IN_FLIGHT, ms }, ms);
  return { p50_ms: alone.p50Ms, p99_ms: alone.p99Ms, jobs_per_s: many.perSecond };
}

/** Starts the peers that are objects, in workerd; resolves with their origin. */
export function startPeers(sandbox: Sandbox): Promise<string> {
  return sandbox.launch<EdgeCalls>("edge.ts").call("start", {
    script: bundles().peers,
    objects: { RELAY: "RelayObject", NAIVE: "NaiveObject", ROWS: "RowObject" },
    folder: sandbox.path("state"),
  });
}

export async function connectLoad(
  sandbox: Sandbox,
  target: LoadTarget,
): Promise<ChildProgram<LoadCalls>> {
  const load = sandbox.launch<LoadCalls>("load.ts");
  await load.call("connect", target);
  return load;
}

function startWorker(sandbox: Sandbox, target: WorkerTarget): Promise<void> {
  return sandbox.launch<WorkerCalls>("worker.ts").call("start", target);
}
