import { type ChildProcessWithoutNullStreams, spawn } from "node:child_process";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { inject, onTestFinished } from "vitest";
import { ROOT } from "../../scripts/local.ts";
import { EdgeClient } from "./client.ts";

export const CLI = join(ROOT, "dist/terminal/cli.js");
const WORKER = join(ROOT, "dist/worker-client/cli.js");

export const edge = new EdgeClient(inject("edgeUrl"));

/** Prints a line and then waits for a file, so that a test decides when the job goes on. */
const ECHO = `
import json, os, sys, time
task = json.load(sys.stdin)
given = task["input"]
print(json.dumps({"type": "progress", "progress": 50, "message": "half way"}), flush=True)
print("begin " + str(given.get("prompt")), flush=True)
while given.get("until") and not os.path.exists(given["until"]): time.sleep(0.02)
if given.get("exit"): sys.exit(int(given["exit"]))
if given.get("show"): print(json.dumps({"type": "output", "delta": [given, [f["name"] for f in task["files"]]]}))
print("end", flush=True)
`;

/** Makes a space and starts a worker for it; call `stop` at the end. */
export async function makeEchoSpace() {
  const space = await edge.makeSpace({ enable_file_upload: true, max_workers: 2 });
  const command = ["exec", "--concurrency", "8", "--", "python3", "-c", ECHO];
  const worker = spawn(process.execPath, [WORKER, ...command], {
    env: { ...process.env, ...workerEnv(space.name, space.token) },
  });
  await new Promise<void>((resolve) => {
    worker.stderr.on("data", (text) => String(text).includes("serving") && resolve());
  });
  return { ...space, stop: () => void worker.kill("SIGKILL") };
}

function workerEnv(space: string, token: string) {
  return { DIALOUT_URL: edge.url, DIALOUT_SPACE: space, DIALOUT_TOKEN: token };
}

interface Ended {
  code: number | null;
  out: string;
  err: string;
}

interface RunOptions {
  url?: string;
  stdin?: string;
  env?: Record<string, string>;
}

/** Starts `dialout` with nothing on standard input but what is given. */
export function start(args: string[], { url = edge.url, stdin = "", env = {} }: RunOptions = {}) {
  const child = spawn(process.execPath, [CLI, ...args], {
    env: { PATH: process.env.PATH, DIALOUT_URL: url, ...env },
  });
  onTestFinished(() => void child.kill("SIGKILL"));
  const shown = { out: "", err: "" };
  let wake = () => {};
  child.stdout.setEncoding("utf8").on("data", (text: string) => {
    shown.out += text;
    wake();
  });
  child.stderr.setEncoding("utf8").on("data", (text: string) => {
    shown.err += text;
    wake();
  });
  child.stdin.on("error", () => {}).end(stdin);
  const ended = new Promise<Ended>((resolve) => {
    child.on("close", (code) => {
      wake();
      resolve({ code, ...shown });
    });
  });
  const prints = async (words: string | RegExp) => {
    while ((shown.out + shown.err).search(words) < 0) {
      if (child.exitCode !== null) throw new Error(`ended without ${words}: ${shown.err}`);
      await new Promise<void>((resolve) => {
        wake = resolve;
      });
    }
  };
  return { child, shown, ended, prints };
}

export const run = (args: string[], options: RunOptions = {}) => start(args, options).ended;

/** A job that waits until `goOn` is called. */
export async function startWaitingJob(space: string, options: RunOptions = {}) {
  const gate = join(await temporaryFolder(), "go-on");
  const run = start(["submit", space, "x", "--field", `until=${gate}`], options);
  return { ...run, goOn: () => writeFile(gate, "") };
}

/** What a program printed, and its exit code. */
export function outcomeOf(child: ChildProcessWithoutNullStreams) {
  onTestFinished(() => void child.kill("SIGKILL"));
  let printed = "";
  for (const stream of [child.stdout, child.stderr]) {
    stream.setEncoding("utf8").on("data", (text: string) => {
      printed += text;
    });
  }
  return new Promise<{ code: number | null; printed: string }>((resolve) => {
    child.on("close", (code) => resolve({ code, printed }));
  });
}

/** Runs `dialout-worker doctor`. */
export function examineWorker(space: string, token: string) {
  const env = { PATH: process.env.PATH, ...workerEnv(space, token) };
  return outcomeOf(spawn(process.execPath, [WORKER, "doctor"], { env }));
}

export async function temporaryFolder(): Promise<string> {
  const folder = await mkdtemp(join(tmpdir(), "dialout-terminal-"));
  onTestFinished(() => rm(folder, { recursive: true, force: true }));
  return folder;
}
