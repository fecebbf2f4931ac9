import { existsSync } from "node:fs";
import { join } from "node:path";
import { bundles } from "../bundles.ts";
import { GEVENT_WEBSOCKET, PYTHON, REDIS } from "../prepare.ts";
import type { Program } from "../program.ts";
import type { EdgeCalls } from "../programs/edge.ts";
import type { LoadCalls, Target } from "../programs/load.ts";
import type { ServerCalls } from "../programs/server.ts";
import type { Work, WorkCalls } from "../programs/work.ts";
import type { Stage } from "../stage.ts";
import { DialoutEdge } from "./dialout-edge.ts";
import { IN_FLIGHT, type Measured, type Pace, type Subject, type Suite } from "./suite.ts";

/** A job in, to a worker in a process of its own, and its result back. */
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
    { name: "dialout", label: "Dialout", measure: (stage, pace) => dialout(stage, pace, true) },
    {
      name: "dialout-plain",
      label: "Dialout, a message a frame",
      measure: (stage, pace) => dialout(stage, pace, false),
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

async function dialout(stage: Stage, pace: Pace, inBatches: boolean): Promise<Measured> {
  const edge = await DialoutEdge.start(stage);
  await edge.connectWorker(IN_FLIGHT, { inBatches });
  return measureWork(await edge.connectLoad(inBatches), pace);
}

function objectPeer(name: "relay" | "naive", label: string): Subject {
  return {
    name,
    label,
    measure: async (stage, pace) => {
      const url = await startPeers(stage);
      await startWorker(stage, { kind: "relay", url: `${url}/${name}/worker` });
      const target = { kind: "relay", url: `${url}/${name}/submitter` } as const;
      return measureWork(await connectLoad(stage, target), pace);
    },
  };
}

async function bullmq(stage: Stage, pace: Pace): Promise<Measured> {
  const durable = ["--appendonly", "yes", "--appendfsync", "always", "--save", ""];
  const port = await stage.launch<ServerCalls>("server.ts").call("start", {
    command: REDIS,
    args: ["--bind", "127.0.0.1", "--port", "{port}", "--dir", stage.folder, ...durable],
    folder: stage.folder,
  });
  await startWorker(stage, { kind: "bullmq", port, concurrency: IN_FLIGHT });
  return measureWork(await connectLoad(stage, { kind: "bullmq", port }), pace);
}

async function flask(stage: Stage, pace: Pace): Promise<Measured> {
  const port = await stage.launch<ServerCalls>("server.ts").call("start", {
    command: PYTHON,
    args: [join(import.meta.dirname, "../former/relay.py"), "{port}"],
    folder: stage.folder,
  });
  const url = `http://127.0.0.1:${port}`;
  await startWorker(stage, { kind: "socketio", url });
  return measureWork(await connectLoad(stage, { kind: "socketio", url }), pace);
}

async function measureWork(load: Program<LoadCalls>, { ms, warmMs }: Pace): Promise<Measured> {
  await load.call("measure", { inFlight: IN_FLIGHT, ms: warmMs }, warmMs);
  const alone = await load.call("measure", { inFlight: 1, ms }, ms);
  const many = await load.call("measure", { inFlight: IN_FLIGHT, ms }, ms);
  return { p50_ms: alone.p50Ms, p99_ms: alone.p99Ms, jobs_per_s: many.perSecond };
}

/** The object peers in workerd; resolves with their address. */
export function startPeers(stage: Stage): Promise<string> {
  return stage.launch<EdgeCalls>("edge.ts").call("start", {
    script: bundles().peers,
    objects: { RELAY: "RelayObject", NAIVE: "NaiveObject", ROWS: "RowObject" },
    folder: stage.path("state"),
  });
}

export async function connectLoad(stage: Stage, target: Target): Promise<Program<LoadCalls>> {
  const load = stage.launch<LoadCalls>("load.ts");
  await load.call("connect", target);
  return load;
}

function startWorker(stage: Stage, work: Work): Promise<void> {
  return stage.launch<WorkCalls>("work.ts").call("start", work);
}
