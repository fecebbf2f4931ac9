import { connect } from "node:net";
import { afterAll, beforeAll, describe, expect, it, onTestFinished } from "vitest";
import { freePort } from "../support/port.ts";
import { isRunning, Program } from "../support/program.ts";
import { makeState, removeState } from "./edge.ts";

/** Runs a script of package.json as a user does, in a folder and on a port of its own. */
async function startNpm(script: string, port: number): Promise<Program> {
  const env = { PORT: String(port), DIALOUT_STATE: state };
  const npm = new Program("run", [script], env, "npm");
  onTestFinished(() => npm.killAll());
  return npm;
}

/** One folder for all: none of them may leave anything behind that keeps the next one from starting. */
let state: string;
beforeAll(async () => {
  state = await makeState();
});
afterAll(() => removeState(state));

async function startEdge(script = "edge") {
  const port = await freePort();
  const npm = await startNpm(script, port);
  await npm.prints("Dialout is up.");
  return { npm, port };
}

function isOpen(port: number): Promise<boolean> {
  const socket = connect(port, "127.0.0.1");
  return new Promise((resolve) => {
    socket.once("connect", () => resolve(true)).once("error", () => resolve(false));
  }).finally(() => socket.destroy()) as Promise<boolean>;
}

/** Ends one process of a program, and expects the end of all that it had started. */
async function expectEnd(npm: Program, pid: number, signal: NodeJS.Signals): Promise<void> {
  const pids = npm.pids();
  expect(pids.length).toBeGreaterThan(2);
  process.kill(pid, signal);
  await expect.poll(() => pids.filter(isRunning), { timeout: 45_000 }).toEqual([]);
}

/** The process of npm itself, or of the script that it runs. */
function pidOf(npm: Program, which: "npm" | "script"): number {
  const [first, second] = npm.pids();
  const pid = which === "npm" ? first : second;
  if (pid === undefined) throw new Error("it does not run");
  return pid;
}

describe("npm run edge", () => {
  it.each([
    ["SIGTERM", "npm"],
    ["SIGHUP", "npm"],
    ["SIGKILL", "npm"],
    ["SIGINT", "script"],
    ["SIGKILL", "script"],
  ] as const)(
    "leaves nothing behind after %s to %s, and its port is free",
    async (signal, which) => {
      const { npm, port } = await startEdge();
      expect(await isOpen(port)).toBe(true);
      await expectEnd(npm, pidOf(npm, which), signal);
      expect(await isOpen(port)).toBe(false);
    },
  );
});

describe("npm start", () => {
  it("leaves nothing behind after SIGKILL to npm, its worker neither", async () => {
    const { npm, port } = await startEdge("start");
    await npm.prints("serving the space demo");
    await expectEnd(npm, pidOf(npm, "npm"), "SIGKILL");
    expect(await isOpen(port)).toBe(false);
  });
});

describe("npm run worker", () => {
  it("leaves nothing behind after SIGTERM, SIGHUP and SIGKILL to npm", async () => {
    const { port } = await startEdge();
    for (const signal of ["SIGTERM", "SIGHUP", "SIGKILL"] as const) {
      const worker = await startNpm("worker", port);
      await worker.prints("serving the space demo");
      await expectEnd(worker, pidOf(worker, "npm"), signal);
    }
  });
});
