import { type ChildProcessWithoutNullStreams, spawn } from "node:child_process";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as pause } from "node:timers/promises";
import type { Json } from "../../src/protocol/codec.ts";
import { shortenName } from "../../src/protocol/file-name.ts";
import { JobFailure } from "../failure.ts";
import type { Job } from "../job.ts";
import type { Log } from "../log.ts";
import type { Adapter } from "./adapter.ts";
import { LineSplitter } from "./lines.ts";
import { OUTPUT_DIRECTORY, OutputDirectory } from "./output-directory.ts";
import { type ProgramFrame, ProgramLineReader } from "./program-frames.ts";
import { whyNotRunnable } from "./runnable.ts";

export interface ExecOptions {
  program: string;
  args: string[];
  log: Log;
  /** Sends the end of what the program writes to standard error to the submitter, if the program fails. */
  showStderr?: boolean;
  /** What the program must not find in its environment: the worker's token. */
  secret?: string;
  /** Exit codes after which the job is tried again. */
  retryableExitCodes?: readonly number[];
  /** Milliseconds between SIGTERM and SIGKILL. */
  killAfterMs?: number;
}

const STDERR_CHARS = 2_000;
/** How long to wait for output that a background process keeps open after the program has exited. */
const LINGER_MS = 2_000;

/** Runs a program for every job. docs/workers.md describes what it reads and writes. */
export function execAdapter(options: ExecOptions): Adapter {
  const running = new Set<ChildProcessWithoutNullStreams>();
  const runs = new Set<Promise<unknown>>();
  const handle = async (job: Job) => {
    const directory = await mkdtemp(join(tmpdir(), "dialout-"));
    try {
      const files = await saveFiles(job, directory);
      const outputs = await OutputDirectory.make(join(directory, "outputs"), job);
      job.signal.throwIfAborted();
      return await runProgram(job, { files, outputs }, options, running);
    } finally {
      await rm(directory, { recursive: true, force: true });
    }
  };
  return {
    handle(job) {
      const run = handle(job);
      runs.add(run);
      return run.finally(() => runs.delete(run));
    },
    /** Leaves neither programs nor files behind. */
    async close() {
      for (const child of running) killGroup(child, "SIGKILL");
      await Promise.race([
        Promise.allSettled(runs),
        pause(2 * LINGER_MS, undefined, { ref: false }),
      ]);
    },
  };
}

interface SavedFile {
  field: string;
  name: string;
  content_type: string;
  size: number;
  path: string;
}

async function saveFiles(job: Job, directory: string): Promise<SavedFile[]> {
  const saved: SavedFile[] = [];
  for (const [index, file] of job.files.entries()) {
    const path = join(directory, `${index}-${safeFileName(file.name)}`);
    await file.save(path);
    const { field, name, contentType, size } = file;
    saved.push({ field, name, content_type: contentType, size, path });
  }
  return saved;
}

/** Turns a name from the submitter into a plain file name that keeps its extension and has no path. */
export function safeFileName(name: string): string {
  const last = name.toWellFormed().split(/[\\/]/).at(-1) ?? "";
  const plain = last
    .normalize("NFC")
    .replace(/(?!\u200c|\u200d)[^\p{L}\p{M}\p{N}._-]/gu, "_")
    .replace(/^\.+/, "");
  return shortenName(plain, SAVED_NAME_LENGTH) || "file";
}

/** Takes up to three bytes each, of the 255 that a file system allows, which leaves room for the index. */
const SAVED_NAME_LENGTH = 60;

type ProgramExit =
  | { type: "exited"; code: number }
  | { type: "killed"; signal: string }
  | { type: "not_started"; error: NodeJS.ErrnoException };

async function runProgram(
  job: Job,
  { files, outputs }: { files: SavedFile[]; outputs: OutputDirectory },
  options: ExecOptions,
  running: Set<ChildProcessWithoutNullStreams>,
): Promise<Json | undefined> {
  const { program, args, log, killAfterMs = 5_000 } = options;
  // A process group of its own, so that the processes it starts are stopped with it.
  const child = spawn(program, args, {
    env: { ...programEnv(options.secret), [OUTPUT_DIRECTORY]: outputs.path },
    stdio: "pipe",
    detached: process.platform !== "win32",
  });
  running.add(child);
  let killTimer: NodeJS.Timeout | undefined;
  const stop = () => {
    killGroup(child, "SIGTERM");
    killTimer ??= setTimeout(() => killGroup(child, "SIGKILL"), killAfterMs);
  };
  const written = readOutput(child, { job, outputs, log, stop });
  job.signal.addEventListener("abort", stop, { once: true });
  const task = { job_id: job.id, attempt: job.attempt, user: job.user, files };
  child.stdin.on("error", () => {}); // The program may exit or close its input without reading it.
  child.stdin.end(`${JSON.stringify(task).slice(0, -1)},"input":${job.inputText}}\n`);
  try {
    const exit = await exitOf(child);
    job.signal.throwIfAborted();
    if (written.failure !== null) throw written.failure;
    checkExit(exit, job, options, written.stderr.trim());
    await outputs.sendRest();
    if (written.failure !== null) throw written.failure;
    if (written.result?.metrics) job.metrics(written.result.metrics);
    return written.result?.output;
  } finally {
    clearTimeout(killTimer);
    job.signal.removeEventListener("abort", stop);
    running.delete(child);
  }
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

interface ProgramOutput {
  result: Extract<ProgramFrame, { type: "result" }> | null;
  stderr: string;
  failure: Error | null;
}

/** Forwards the program's output to the job; a malformed line stops the program. */
function readOutput(
  child: ChildProcessWithoutNullStreams,
  { job, outputs, log, stop }: { job: Job; outputs: OutputDirectory; log: Log; stop: () => void },
): ProgramOutput {
  const written: ProgramOutput = { result: null, stderr: "", failure: null };
  const fail = (error: unknown) => {
    if (written.failure === null) stop();
    written.failure ??= error instanceof Error ? error : new Error(String(error));
  };
  const reader = new ProgramLineReader();
  const lines = new LineSplitter((line) => {
    const sendFile = (name: string, preview: boolean | undefined) =>
      void outputs.send(name, preview).catch(fail);
    const result = forwardLine(line, reader, job, sendFile);
    if (result !== null) written.result = result;
  });
  const guard = (action: () => void) => {
    if (written.failure !== null || job.signal.aborted) return;
    try {
      action();
    } catch (error) {
      const isLine = error instanceof RangeError;
      fail(isLine ? new JobFailure("worker_error", `The program wrote ${error.message}.`) : error);
    }
  };
  child.stdout.setEncoding("utf8").on("data", (piece: string) => guard(() => lines.push(piece)));
  child.stdout.on("end", () => guard(() => lines.end()));
  child.stderr.setEncoding("utf8").on("data", (piece: string) => {
    written.stderr = (written.stderr + piece).slice(-STDERR_CHARS);
    for (const line of piece.trimEnd().split("\n")) log.debug(`job ${job.id}: stderr: ${line}`);
  });
  return written;
}

function forwardLine(
  line: string,
  reader: ProgramLineReader,
  job: Job,
  sendFile: (name: string, preview: boolean | undefined) => void,
): ProgramOutput["result"] {
  const read = reader.read(line);
  switch (read.type) {
    case "text":
      if (isUtf16(line)) throw new JobFailure("worker_error", NOT_UTF8);
      job.output(line);
      return null;
    case "malformed":
      throw new JobFailure("worker_error", `The program wrote a malformed ${read.message}`);
    case "frame": {
      const { frame } = read;
      if (frame.type === "result") return frame;
      if (frame.type === "output") {
        if (frame.file === undefined) job.output(frame.delta ?? null);
        else sendFile(frame.file, frame.preview);
      } else {
        const { progress, message, estimated_remaining: remainingS } = frame;
        job.progress(progress, message ?? undefined, remainingS ?? undefined);
      }
      return null;
    }
  }
}

const NOT_UTF8 =
  "The program's standard output is UTF-16, not UTF-8: have it write UTF-8. For Python set PYTHONUTF8=1, for PowerShell [Console]::OutputEncoding.";

/** UTF-16 that was read as UTF-8 has a NUL beside each letter of a language with Latin letters. */
function isUtf16(line: string): boolean {
  if (!line.includes("\0")) return false;
  return line.replaceAll("\0", "").length <= (line.length * 2) / 3;
}

function exitOf(child: ChildProcessWithoutNullStreams): Promise<ProgramExit> {
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
 * Throws if the program did not end well. The submitter is a stranger, and a traceback names paths, settings and
 * keys of this machine: so standard error and the program's name go to the log, unless the operator wants it shown.
 */
function checkExit(exit: ProgramExit, job: Job, options: ExecOptions, stderr: string): void {
  const { program, retryableExitCodes = [], showStderr = false, log } = options;
  if (exit.type === "not_started") {
    const { code, message } = exit.error;
    const other = whyNotRunnable(program, process.env.PATH ?? "") ?? message;
    const why = code === "ENOENT" ? "was not found" : `could not be started: ${other}`;
    log.error(`job ${job.id}: the program "${program}" ${why}`);
    throw new JobFailure("worker_error", "The worker's program could not be started.");
  }
  if (exit.type === "exited" && exit.code === 0) return;
  const how =
    exit.type === "killed" ? `was ended by ${exit.signal}` : `exited with code ${exit.code}`;
  const end = stderr === "" ? "" : `; its standard error ends:\n${stderr}`;
  log.error(`job ${job.id}: the program ${how}${end}`);
  const shown = showStderr && stderr !== "" ? `: ${stderr}` : ".";
  const isRetryable = exit.type === "exited" && retryableExitCodes.includes(exit.code);
  throw new JobFailure("worker_error", `The program ${how}${shown}`, isRetryable);
}

function killGroup(child: ChildProcessWithoutNullStreams, signal: NodeJS.Signals): void {
  if (child.pid === undefined) return;
  try {
    if (process.platform === "win32") child.kill(signal);
    else process.kill(-child.pid, signal);
  } catch {
    // The process group has already ended.
  }
}
