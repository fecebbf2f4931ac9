/**
 * Runs all of Dialout on this machine: the edge with its local D1, R2 and objects, a demo space, and
 * a worker that serves it. With `--no-worker` the worker can be started in another terminal.
 */
import { type ChildProcess, spawn, spawnSync } from "node:child_process";
import { createServer } from "node:net";
import { join } from "node:path";
import process from "node:process";
import { setTimeout as sleep } from "node:timers/promises";
import {
  DEMO_SPACE,
  EDGE_URL,
  ensureDemoSpace,
  ensureSecrets,
  PORT,
  ROOT,
  STATE_FOLDER,
  TOKEN_FILE,
} from "./local.ts";

const WRANGLER = join(ROOT, "node_modules/wrangler/bin/wrangler.js");
const WORKER = join(ROOT, "dist/worker-client/cli.js");
const DIE_WITH_PARENT = join(ROOT, "scripts/die-with-parent.ts");
const READY_WITHIN_MS = 60_000;
const STARTS = 2;
const PORT_FREE_WITHIN_MS = 2_000;
const POLL_MS = 200;
/** How often the edge is checked, how long a check may take, and how many may fail in a row. */
const CHECK_EVERY_MS = 1_000;
const HEALTHY_WITHIN_MS = 3_000;
const FAILED_CHECKS = 3;

const QUIET = {
  ...process.env,
  WRANGLER_SEND_METRICS: "false",
  CLOUDFLARE_CF_FETCH_ENABLED: "false",
  WRANGLER_HIDE_BANNER: "true",
};

let edge: ChildProcess | null = null;
let worker: ChildProcess | null = null;
let stopping = false;

for (const signal of ["SIGINT", "SIGTERM", "SIGHUP"] as const) {
  process.on(signal, () => void stop(0));
}
await main();

async function main(): Promise<void> {
  await requireFreePort();
  ensureSecrets();
  migrate();
  await bringUp();
  await ensureDemoSpace();
  if (!process.argv.includes("--no-worker")) worker = startWorker();
  console.log(`
  Dialout is up.

    the demo space   ${EDGE_URL}/spaces/${DEMO_SPACE}
    every space      ${EDGE_URL}/
    operator's key   OPERATOR_KEY in .dev.vars
    data             ${STATE_FOLDER}

  Ctrl-C ends it; jobs and results are kept.
`);
  await keepRunning();
}

/** Exits if the port is in use. Waits a little first: a port that was just closed may need a moment. */
async function requireFreePort(): Promise<void> {
  const giveUpAt = Date.now() + PORT_FREE_WITHIN_MS;
  while (!(await isPortFree())) {
    if (Date.now() < giveUpAt) await sleep(POLL_MS);
    else {
      console.error(
        `Port ${PORT} is in use. End what uses it, or choose another: PORT=8788 npm start`,
      );
      process.exit(1);
    }
  }
}

function isPortFree(): Promise<boolean> {
  const probe = createServer();
  return new Promise((resolve) => {
    probe.once("error", () => resolve(false));
    probe.listen(PORT, "127.0.0.1", () => probe.close(() => resolve(true)));
  });
}

function migrate(): void {
  const args = ["d1", "migrations", "apply", "DB", "--local", "--persist-to", STATE_FOLDER];
  const run = spawnSync(process.execPath, [WRANGLER, ...args], {
    cwd: ROOT,
    env: QUIET,
    encoding: "utf8",
  });
  if (run.status === 0) return;
  console.error(run.stdout + run.stderr);
  process.exit(1);
}

/** Starts the edge, and tries again if it fails: another program may have taken a port it chose. */
async function bringUp(): Promise<void> {
  for (let start = 1; start <= STARTS && !stopping; start++) {
    if (start > 1) console.error("Trying once more.");
    await requireFreePort();
    edge = startEdge();
    if (await isUp(edge)) return;
    if (!stopping) console.error("The edge did not come up; what it printed is above.");
    killGroup(edge);
  }
  await stop(1);
}

function startEdge(): ChildProcess {
  const args = ["dev", "--ip", "127.0.0.1", "--port", String(PORT), "--persist-to", STATE_FOLDER];
  // Any free port: two edges that start at once would choose the same one, and one of them fail.
  args.push("--inspector-port", "0");
  // On this machine submits need no rate limit, and webhooks may go to local addresses.
  args.push("--var", "LOCAL:true");
  const child = launch(WRANGLER, [...args, "--show-interactive-dev-session=false"]);
  // Its workerd must end with it, or it would keep the port.
  child.once("exit", () => killGroup(child));
  return child;
}

/** Restarts the edge when it was killed or hangs: wrangler itself does not always recover. */
async function keepRunning(): Promise<void> {
  for (let failed = 0; !stopping; await sleep(CHECK_EVERY_MS)) {
    failed = (await isHealthy()) ? 0 : failed + 1;
    if (failed < FAILED_CHECKS || stopping) continue;
    console.error("The edge does not answer: starting it again.");
    killGroup(edge);
    await bringUp();
    failed = 0;
  }
}

async function isHealthy(): Promise<boolean> {
  const signal = AbortSignal.timeout(HEALTHY_WITHIN_MS);
  const response = await fetch(`${EDGE_URL}/healthz`, { signal }).catch(() => null);
  return response?.ok === true;
}

function killGroup(child: ChildProcess | null): void {
  if (child?.pid === undefined) return;
  try {
    process.kill(-child.pid, "SIGKILL");
  } catch {
    // The whole group has ended.
  }
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

/** Starts a program in a process group of its own: Ctrl-C reaches this program alone, see `stop`. */
function launch(script: string, args: string[]): ChildProcess {
  return spawn(process.execPath, [DIE_WITH_PARENT, script, ...args], {
    cwd: ROOT,
    env: QUIET,
    stdio: ["pipe", "inherit", "inherit"],
    detached: true,
  });
}

/** Waits until the edge answers; `false` if it ends first or takes too long. */
async function isUp(child: ChildProcess): Promise<boolean> {
  const giveUpAt = Date.now() + READY_WITHIN_MS;
  while (child.exitCode === null && child.signalCode === null && Date.now() < giveUpAt) {
    if (await isHealthy()) return true;
    await sleep(POLL_MS);
  }
  return false;
}

/** Ends the worker before the edge, so that the results it finished are still acknowledged. */
async function stop(code: number): Promise<void> {
  if (stopping) return;
  stopping = true;
  await end(worker);
  await end(edge);
  process.exit(code);
}

async function end(child: ChildProcess | null): Promise<void> {
  if (child?.pid === undefined || child.exitCode !== null || child.signalCode !== null) return;
  const exited = new Promise((resolve) => child.once("exit", resolve));
  process.kill(-child.pid, "SIGTERM");
  const late = await Promise.race([exited.then(() => false), sleep(35_000, true, { ref: false })]);
  if (late) killGroup(child);
}
