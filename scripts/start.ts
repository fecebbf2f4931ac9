/**
 * Runs all of Dialout on this machine: the edge with its local D1, R2 and objects, a demo space, and
 * a worker that serves it. With `--no-worker` the worker can be started in another terminal.
 */
import type { ChildProcess } from "node:child_process";
import { join } from "node:path";
import process from "node:process";
import { createInterface } from "node:readline";
import type { Readable, Writable } from "node:stream";
import { setTimeout as sleep } from "node:timers/promises";
import { stripVTControlCharacters } from "node:util";
import { areMigrationsApplied, noteAppliedMigrations } from "./applied-migrations.ts";
import { configArguments } from "./edge-config.ts";
import { readSettings } from "./edge-settings.ts";
import { type EdgeCheck, HangDetector, workerdSeconds } from "./hang-detector.ts";
import {
  DEMO_SPACE,
  EDGE_URL,
  ensureDemoSpace,
  HOST,
  PORT,
  ROOT,
  STATE_FOLDER,
  setupPath,
  TOKEN_FILE,
} from "./local.ts";
import { requireFreePort, requireStateFolder } from "./preconditions.ts";
import { end, killGroup, launch, whenToEnd } from "./processes.ts";

const WRANGLER = join(ROOT, "node_modules/wrangler/bin/wrangler.js");
const WORKER = join(ROOT, "dist/worker-client/cli.js");
const READY_WITHIN_MS = 60_000;
const STARTS = 2;
const POLL_MS = 200;
/** How often the edge is checked, and how long a check may take. */
const CHECK_EVERY_MS = 1_000;
const HEALTHY_WITHIN_MS = 3_000;

const USAGE = `npm start           the edge, a demo space and its worker
npm run edge        the edge and the demo space, without the worker

It is set up by environment variables; docs/own-server.md has all of them:
PORT=8787  HOST=127.0.0.1  DIALOUT_STATE=.wrangler/state  PUBLIC_URL=https://dialout.example
`;

const QUIET = {
  ...process.env,
  WRANGLER_SEND_METRICS: "false",
  CLOUDFLARE_CF_FETCH_ENABLED: "false",
  WRANGLER_HIDE_BANNER: "true",
  // It would show and change all data, on the edge's own port and without a key.
  X_LOCAL_EXPLORER: "false",
  // It would write a trace of each request and of each frame to the disk, and all of them would wait for that.
  X_LOCAL_OBSERVABILITY: "false",
};

let migration: ChildProcess | null = null;
let edge: ChildProcess | null = null;
let worker: ChildProcess | null = null;
let stopping = false;

const withWorker = readArguments();
const settings = readSettings();
whenToEnd(() => void stop(0));
await main();

/** Returns whether to start the worker, too. */
function readArguments(): boolean {
  const args = process.argv.slice(2);
  const unknown = args.find((arg) => arg !== "--no-worker");
  if (unknown === undefined) return args.length === 0;
  const isHelp = unknown === "--help" || unknown === "-h";
  if (isHelp) console.log(USAGE);
  else console.error(`There is no option ${unknown}.\n\n${USAGE}`);
  process.exit(isHelp ? 0 : 2);
}

async function main(): Promise<void> {
  await requireFreePort();
  await requireStateFolder();
  await migrate();
  if (!(await bringUp())) return;
  await ensureDemoSpace().catch(async (error: unknown) => {
    if (stopping) return;
    const why = error instanceof Error ? error.message : String(error);
    console.error(`The demo space could not be made: ${why}`);
    await stop(1);
  });
  if (stopping) return;
  if (withWorker) worker = startWorker();
  const setup = await setupPath();
  const shown = settings.PUBLIC_URL?.replace(/\/$/, "") ?? EDGE_URL;
  console.log(`
  Dialout is up.

    the demo space   ${shown}/spaces/${DEMO_SPACE}
    every space      ${shown}/${setup === null ? "" : `\n    make an admin    ${shown}${setup}`}
    operator's key   OPERATOR_KEY in .dev.vars
    data             ${STATE_FOLDER}

  Ctrl-C ends it; jobs and results are kept.
`);
  await keepRunning();
}

async function migrate(): Promise<void> {
  if (areMigrationsApplied()) return;
  const args = ["d1", "migrations", "apply", "DB", "--local", "--persist-to", STATE_FOLDER];
  const run = launch(WRANGLER, args, { env: QUIET, isQuiet: true });
  migration = run;
  let printed = "";
  for (const stream of [run.stdout, run.stderr]) {
    stream?.setEncoding("utf8").on("data", (piece: string) => {
      printed += piece;
    });
  }
  const code = await new Promise((resolve) => run.once("close", resolve));
  migration = null;
  if (code === 0) noteAppliedMigrations();
  if (code === 0 || stopping) return;
  console.error(printed);
  process.exit(1);
}

/**
 * Starts the edge, and tries again if it fails: another program may have taken a port it chose. Returns `false`
 * if this program is ending meanwhile.
 */
async function bringUp(): Promise<boolean> {
  for (let start = 1; start <= STARTS && !stopping; start++) {
    if (start > 1) console.error("Trying once more.");
    await requireFreePort();
    if (stopping) return false;
    edge = startEdge();
    if (await isUp(edge)) return !stopping;
    if (!stopping) console.error("The edge did not come up; what it printed is above.");
    killGroup(edge);
  }
  if (!stopping) await stop(1);
  return false;
}

function startEdge(): ChildProcess {
  const args = [
    "dev",
    ...configArguments(),
    "--ip",
    HOST,
    "--port",
    String(PORT),
    "--persist-to",
    STATE_FOLDER,
  ];
  // Any free port: two edges that start at once would choose the same one, and one of them fail.
  args.push("--inspector-port", "0");
  for (const [name, value] of Object.entries(settings)) args.push("--var", `${name}:${value}`);
  args.push("--show-interactive-dev-session=false");
  const child = launch(WRANGLER, args, { env: QUIET, isQuiet: true });
  // This program's own checks, one a second, would fill the log.
  const isCheck = /GET \/healthz .*200 OK/;
  showLines(child.stdout, process.stdout, isCheck);
  showLines(child.stderr, process.stderr, isCheck);
  // Its workerd must end with it, or it would keep the port.
  child.once("exit", () => killGroup(child));
  return child;
}

/** Passes on the lines that a program prints, without those that match `hidden`. */
function showLines(from: Readable | null, to: Writable, hidden: RegExp): void {
  if (from === null) return;
  createInterface({ input: from }).on("line", (line) => {
    if (!hidden.test(stripVTControlCharacters(line))) to.write(`${line}\n`);
  });
}

/**
 * Restarts the edge when it was killed, hangs or answers with errors alone: wrangler itself does not always recover.
 * An edge that is only busy is left alone: a restart would cut off everybody whom it works for.
 */
async function keepRunning(): Promise<void> {
  let detector = new HangDetector();
  for (let wasBusy = false; !stopping; await sleep(CHECK_EVERY_MS)) {
    const answer = await checkHealth();
    const cpuS = edge?.pid === undefined ? null : workerdSeconds(edge.pid, PORT);
    const state = detector.onCheck({ answer, cpuS, at: performance.now() });
    if (stopping) return;
    if (state === "busy" && !wasBusy) console.error("The edge is busy: its answers take long.");
    wasBusy = state === "busy";
    if (state !== "hangs" && state !== "broken") continue;
    const what = state === "hangs" ? "does not answer" : "answers every check with an error";
    console.error(`The edge ${what}: starting it again.`);
    killGroup(edge);
    if (!(await bringUp())) return;
    detector = new HangDetector();
  }
}

async function checkHealth(): Promise<EdgeCheck["answer"]> {
  const signal = AbortSignal.timeout(HEALTHY_WITHIN_MS);
  const response = await fetch(`${EDGE_URL}/healthz`, { signal }).catch(() => null);
  if (response === null) return "none";
  return response.ok ? "ok" : "error";
}

/** Its `worker-id` is fixed, so that it replaces an earlier demo worker that still runs (W7). */
function startWorker(): ChildProcess {
  const dial = ["--url", EDGE_URL, "--space", DEMO_SPACE, "--token-file", TOKEN_FILE];
  const identity = ["--worker-id", "demo-worker", "--name", "demo worker"];
  const child = launch(WORKER, ["demo", ...dial, ...identity]);
  child.once("exit", () => {
    worker = null;
    if (!stopping) console.error("The demo worker ended. Start it again with: npm run worker");
  });
  return child;
}

/** Waits until the edge answers; `false` if it ends first or takes too long. */
async function isUp(child: ChildProcess): Promise<boolean> {
  const giveUpAt = performance.now() + READY_WITHIN_MS;
  while (child.exitCode === null && child.signalCode === null && performance.now() < giveUpAt) {
    if ((await checkHealth()) === "ok") return true;
    await sleep(POLL_MS);
  }
  return false;
}

/** Ends the worker before the edge, so that the results it finished are still acknowledged. */
async function stop(code: number): Promise<void> {
  if (stopping) {
    for (const child of [migration, worker, edge]) killGroup(child);
    process.exit(1);
  }
  stopping = true;
  await end(migration);
  await end(worker);
  await end(edge);
  process.exit(code);
}
