import { type ChildProcessWithoutNullStreams, spawn } from "node:child_process";
import { JobFailure } from "../failure.ts";
import type { Log } from "../log.ts";
import { whyNotRunnable } from "./runnable.ts";

/** The program that `exec` runs, and what its end means for jobs. */
export interface ProgramOptions {
  program: string;
  args: string[];
  log: Log;
  /** Sends the end of what the program writes to standard error to the submitter, if the program fails. */
  showStderr?: boolean;
  /** What the program must not find in its environment: the worker's token. */
  secret?: string;
  /** Exit codes after which the job is tried again. */
  retryableExitCodes?: readonly number[];
}

export type ProgramExit =
  | { type: "exited"; code: number }
  | { type: "killed"; signal: string }
  | { type: "not_started"; error: NodeJS.ErrnoException };

/** How long to wait for output that a background process keeps open after the program has exited, milliseconds. */
export const LINGER_MS = 2_000;

/** Starts the program in a process group of its own, so that the processes it starts are stopped with it. */
export function startProgram(
  { program, args, secret }: ProgramOptions,
  variables: Record<string, string> = {},
): ChildProcessWithoutNullStreams {
  const child = spawn(program, args, {
    env: { ...programEnv(secret), ...variables },
    stdio: "pipe",
    detached: process.platform !== "win32",
  });
  child.stdin.on("error", () => {}); // The program may exit or close its input without reading it.
  child.stdout.setEncoding("utf8");
  child.stderr.setEncoding("utf8");
  return child;
}

/**
 * The environment without the worker's token, under whatever name: the program handles untrusted input and doesn't
 * need it. npm, for example, passes the command line on, where the token may stand.
 */
function programEnv(secret = ""): NodeJS.ProcessEnv {
  const { DIALOUT_TOKEN = "", ...env } = process.env;
  const secrets = [DIALOUT_TOKEN, secret].filter((text) => text !== "");
  const isClean = ([, value = ""]: [string, string | undefined]) =>
    !secrets.some((text) => value.includes(text));
  return Object.fromEntries(Object.entries(env).filter(isClean));
}

export function exitOf(child: ChildProcessWithoutNullStreams): Promise<ProgramExit> {
  return new Promise((resolve) => {
    child.on("error", (error) => resolve({ type: "not_started", error }));
    child.on("exit", () => {
      setTimeout(() => {
        child.stdout.destroy();
        child.stderr.destroy();
      }, LINGER_MS).unref();
    });
    child.on("close", (code, signal) => {
      resolve(code === null ? { type: "killed", signal: signal ?? "?" } : { type: "exited", code });
    });
  });
}

/**
 * The failure of a job whose program did not end well. The submitter is a stranger, and a traceback names paths,
 * settings and keys of this machine: so standard error and the program's name are for the log (`describeExit`),
 * unless the operator wants them shown.
 *
 * @param stderr the end of what the program wrote to standard error
 */
export function failureOf(exit: ProgramExit, options: ProgramOptions, stderr: string): JobFailure {
  const { retryableExitCodes = [], showStderr = false } = options;
  if (exit.type === "not_started") {
    return new JobFailure("worker_error", "The worker's program could not be started.");
  }
  const shown = showStderr && stderr !== "" ? `: ${stderr}` : ".";
  const isRetryable = exit.type === "exited" && retryableExitCodes.includes(exit.code);
  return new JobFailure("worker_error", `The program ${howItEnded(exit)}${shown}`, isRetryable);
}

/** How the program ended, in words for the log. */
export function describeExit(exit: ProgramExit, { program }: ProgramOptions, stderr = ""): string {
  if (exit.type !== "not_started") {
    const end = stderr === "" ? "" : `; its standard error ends:\n${stderr}`;
    return `the program ${howItEnded(exit)}${end}`;
  }
  const { code, message } = exit.error;
  const other = whyNotRunnable(program, process.env.PATH ?? "") ?? message;
  const why = code === "ENOENT" ? "was not found" : `could not be started: ${other}`;
  return `the program "${program}" ${why}`;
}

function howItEnded(exit: Exclude<ProgramExit, { type: "not_started" }>): string {
  return exit.type === "killed" ? `was ended by ${exit.signal}` : `exited with code ${exit.code}`;
}

export function killGroup(child: ChildProcessWithoutNullStreams, signal: NodeJS.Signals): void {
  if (child.pid === undefined) return;
  try {
    if (process.platform === "win32") child.kill(signal);
    else process.kill(-child.pid, signal);
  } catch {
    // The process group has already ended.
  }
}

const STDERR_CHARS = 2_000;

/** Logs what a program writes to standard error, and keeps its end. */
export class StderrTail {
  #text = "";

  /** @param prefix begins each logged line */
  constructor(child: ChildProcessWithoutNullStreams, log: Log, prefix: string) {
    child.stderr.on("data", (piece: string) => {
      this.#text = (this.#text + piece).slice(-STDERR_CHARS);
      for (const line of piece.trimEnd().split("\n")) log.debug(`${prefix}stderr: ${line}`);
    });
  }

  get text(): string {
    return this.#text.trim();
  }
}
