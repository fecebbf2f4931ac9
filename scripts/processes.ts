/** Starting programs that end with the one that started them, and ending them. */
import { type ChildProcess, spawn } from "node:child_process";
import { join } from "node:path";
import process from "node:process";
import { setTimeout as sleep } from "node:timers/promises";
import { ROOT } from "./local.ts";

const DIE_WITH_PARENT = join(ROOT, "scripts/die-with-parent.ts");
/** A worker drains for 30 seconds at most. */
const END_WITHIN_MS = 35_000;
const CHECK_NPM_EVERY_MS = 250;
/** Signals that come within this time are one. */
const ONE_SIGNAL_MS = 1_000;

interface LaunchOptions {
  env?: NodeJS.ProcessEnv;
  /** What it prints is collected by the caller instead of shown. */
  isQuiet?: boolean;
}

/**
 * Starts a script in a process group of its own. Ctrl-C reaches only the program that calls this, which ends the
 * group when it likes; if that program is killed, the group is killed too.
 */
export function launch(script: string, args: string[], options: LaunchOptions = {}): ChildProcess {
  const output = options.isQuiet ? "pipe" : "inherit";
  return spawn(process.execPath, [DIE_WITH_PARENT, script, ...args], {
    cwd: ROOT,
    env: options.env ?? process.env,
    stdio: ["pipe", output, output],
    detached: true,
  });
}

export function killGroup(child: ChildProcess | null): void {
  signalGroup(child, "SIGKILL");
}

/** Asks a started program to end, and waits until it has; kills it if that takes too long. */
export async function end(child: ChildProcess | null, signal: NodeJS.Signals = "SIGTERM") {
  if (child?.pid === undefined || child.exitCode !== null || child.signalCode !== null) return;
  const exited = new Promise((resolve) => child.once("exit", resolve));
  signalGroup(child, signal);
  const isLate = sleep(END_WITHIN_MS, true, { ref: false });
  if (await Promise.race([exited.then(() => false), isLate])) killGroup(child);
}

function signalGroup(child: ChildProcess | null, signal: NodeJS.Signals): void {
  if (child?.pid === undefined) return;
  try {
    process.kill(-child.pid, signal);
  } catch {
    // The whole group has ended.
  }
}

/**
 * Calls `onEnd` when this program is to end: on a signal, and when npm has ended that runs it. npm passes on
 * SIGINT and SIGTERM, but no other signal, and none if it is killed.
 */
export function whenToEnd(onEnd: () => void): void {
  let endedAt = Number.NEGATIVE_INFINITY;
  const endOnce = () => {
    // A Ctrl-C comes twice: from the terminal, and passed on by npm.
    const isRepeat = performance.now() - endedAt < ONE_SIGNAL_MS;
    endedAt = performance.now();
    if (!isRepeat) onEnd();
  };
  for (const signal of ["SIGINT", "SIGTERM", "SIGHUP"] as const) process.on(signal, endOnce);
  if (!isRunByNpm()) return;
  // The scripts in package.json begin with `exec`, so that npm and not a shell is this program's parent.
  const npm = process.ppid;
  const timer = setInterval(() => {
    if (process.ppid === npm) return;
    clearInterval(timer);
    endOnce();
  }, CHECK_NPM_EVERY_MS);
  timer.unref();
}

/** `npm test` runs programs as well, which run this one: then npm is not its parent. */
function isRunByNpm(): boolean {
  const [, program = ""] = process.argv;
  const script = process.env.npm_lifecycle_script?.split(/\s+/) ?? [];
  return script.some((word) => word.endsWith(".ts") && program.endsWith(`/${word}`));
}
