/**
 * Takes a CPU profile of Dialout under load: prints the functions with the most time of their own, and
 * writes the profile to a file for a browser's developer tools.
 * `node scripts/run.mjs bench/profile.ts [--in-flight 64] [--http | --connect]`
 */
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { parseArgs } from "node:util";
import { ROOT } from "../scripts/local.ts";
import { bundleAll } from "./bundles.ts";
import { INPUT } from "./clients/submitter.ts";
import { Inspector } from "./inspector.ts";
import { cleanUpOnExit, Sandbox } from "./sandbox.ts";
import { quantile } from "./statistics.ts";
import { Audience } from "./suites/audience.ts";
import { DialoutEdge } from "./suites/dialout-edge.ts";
import { IN_FLIGHT } from "./suites/suite.ts";
import { connectLoad } from "./suites/work.ts";

const INSPECTOR_PORT = 9_339;
const WARM_MS = 3_000;
const PROFILE_MS = 5_000;
const SHOWN = 40;
const WARM_SOCKETS = 200;
const SOCKETS = 2_000;

interface ProfileNode {
  id: number;
  callFrame: { functionName: string; url: string; lineNumber: number };
}
interface Profile {
  nodes: ProfileNode[];
  samples: number[];
  timeDeltas: number[];
}

const { values } = parseArgs({
  options: {
    "in-flight": { type: "string", default: String(IN_FLIGHT) },
    http: { type: "boolean", default: false },
    connect: { type: "boolean", default: false },
  },
});
cleanUpOnExit();
const sandbox = new Sandbox();
await bundleAll(sandbox);
const profile = await (values.connect
  ? profileOfConnecting()
  : profileOfWork(Number(values["in-flight"]), values.http));
const file = join(ROOT, ".wrangler/bench.cpuprofile");
writeFileSync(file, JSON.stringify(profile));
console.table(hottest(profile).slice(0, SHOWN));
console.log(`The whole profile: ${file}`);
await sandbox.close();

async function profileOfWork(inFlight: number, http: boolean): Promise<Profile> {
  const edge = await DialoutEdge.start(sandbox, {}, "dialout", INSPECTOR_PORT);
  await edge.connectWorker(IN_FLIGHT);
  const body = JSON.stringify({ input: INPUT });
  const load = http
    ? await connectLoad(sandbox, { kind: "http", url: edge.jobsUrl, body, connections: inFlight })
    : await edge.connectLoad();
  const ms = WARM_MS + PROFILE_MS + 1_000;
  const measured = load.call("measure", { inFlight, ms }, ms);
  await sleep(WARM_MS);
  const profile = await profileWhile(() => sleep(PROFILE_MS));
  console.log(`${Math.round((await measured).perSecond)} a second, while profiled`);
  return profile;
}

/** Profiles users who connect to `/ws`, each with one socket. */
async function profileOfConnecting(): Promise<Profile> {
  const edge = await DialoutEdge.start(sandbox, {}, "dialout", INSPECTOR_PORT);
  const endpoint = { kind: "gateway", batch: true, ...edge.room } as const;
  const audience = new Audience(sandbox, { endpoint, memory: () => edge.memory() });
  await audience.addSubscribers(WARM_SOCKETS);
  return profileWhile(async () => {
    const startedAt = performance.now();
    const times = await audience.addSubscribers(SOCKETS);
    const perSecond = (SOCKETS / (performance.now() - startedAt)) * 1_000;
    const p50 = quantile(times, 0.5).toFixed(1);
    console.log(`${Math.round(perSecond)} sockets a second, p50 ${p50} ms, while profiled`);
  });
}

async function profileWhile(work: () => Promise<unknown>): Promise<Profile> {
  const inspector = await Inspector.open(INSPECTOR_PORT);
  await inspector.send("Profiler.enable");
  await inspector.send("Profiler.setSamplingInterval", { interval: 200 });
  await inspector.send("Profiler.start");
  await work();
  const { profile } = (await inspector.send("Profiler.stop")) as { profile: Profile };
  inspector.close();
  return profile;
}

/** Lists functions by the share of time that was spent in them. */
function hottest({ nodes, samples, timeDeltas }: Profile) {
  const own = new Map<number, number>();
  for (const [index, id] of samples.entries()) {
    own.set(id, (own.get(id) ?? 0) + (timeDeltas[index] ?? 0));
  }
  const byFunction = new Map<string, number>();
  for (const { id, callFrame } of nodes) {
    const name = `${callFrame.functionName || "(anonymous)"} :${callFrame.lineNumber + 1}`;
    byFunction.set(name, (byFunction.get(name) ?? 0) + (own.get(id) ?? 0));
  }
  const total = timeDeltas.reduce((sum, delta) => sum + delta, 0);
  return [...byFunction]
    .sort((a, b) => b[1] - a[1])
    .map(([name, us]) => ({ name, percent: Math.round((us / total) * 1_000) / 10 }));
}
