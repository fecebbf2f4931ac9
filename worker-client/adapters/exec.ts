import type { ChildProcessWithoutNullStreams } from "node:child_process";
import { setTimeout as pause } from "node:timers/promises";
import type { Json } from "../../src/protocol/codec.ts";
import { JobFailure } from "../failure.ts";
import type { Job } from "../job.ts";
import type { Adapter } from "./adapter.ts";
import { type JobFolder, withJobFolder } from "./job-folder.ts";
import { LineSplitter } from "./lines.ts";
import { OUTPUT_DIRECTORY, type OutputDirectory } from "./output-directory.ts";
import {
  isUtf16,
  type JobFrameOfProgram,
  NOT_UTF8,
  ONE_JOB,
  ProgramLineReader,
} from "./program-frames.ts";
import {
  describeExit,
  exitOf,
  failureOf,
  killGroup,
  LINGER_MS,
  type ProgramOptions,
  StderrTail,
  startProgram,
} from "./program-process.ts";
import { forwardReport, reportedFailure } from "./program-reports.ts";

export interface ExecOptions extends ProgramOptions {
  /** Milliseconds between SIGTERM and SIGKILL. */
  killAfterMs?: number;
}

/** Runs a program for every job. docs/workers.md describes what it reads and writes. */
export function execAdapter(options: ExecOptions): Adapter {
  const running = new Set<ChildProcessWithoutNullStreams>();
  const runs = new Set<Promise<unknown>>();
  return {
    handle(job) {
      const run = withJobFolder(job, (folder) => runProgram(job, folder, options, running));
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

async function runProgram(
  job: Job,
  folder: JobFolder,
  options: ExecOptions,
  running: Set<ChildProcessWithoutNullStreams>,
): Promise<Json | undefined> {
  const { log, killAfterMs = 5_000 } = options;
  const child = startProgram(options, { [OUTPUT_DIRECTORY]: folder.outputs.path });
  running.add(child);
  let killTimer: NodeJS.Timeout | undefined;
  const stop = () => {
    killGroup(child, "SIGTERM");
    killTimer ??= setTimeout(() => killGroup(child, "SIGKILL"), killAfterMs);
  };
  const output = new ProgramOutput(job, folder.outputs, stop);
  output.read(child);
  const stderr = new StderrTail(child, log, `job ${job.id}: `);
  job.signal.addEventListener("abort", stop, { once: true });
  child.stdin.end(taskLine(job, folder));
  try {
    const exit = await exitOf(child);
    job.signal.throwIfAborted();
    if (output.failure !== null) throw output.failure;
    if (exit.type !== "exited" || exit.code !== 0) {
      log.error(`job ${job.id}: ${describeExit(exit, options, stderr.text)}`);
      throw failureOf(exit, options, stderr.text);
    }
    return await output.finish();
  } finally {
    clearTimeout(killTimer);
    job.signal.removeEventListener("abort", stop);
    running.delete(child);
  }
}

function taskLine(job: Job, { files, outputs }: JobFolder): string {
  const { id: job_id, attempt, user } = job;
  const task = { job_id, attempt, user, files, output_dir: outputs.path };
  return `${JSON.stringify(task).slice(0, -1)},"input":${job.inputText}}\n`;
}

/** Forwards the program's output to the job; a malformed line stops the program. */
class ProgramOutput {
  failure: Error | null = null;
  readonly #job: Job;
  readonly #files: OutputDirectory;
  readonly #stop: () => void;
  #result: Extract<JobFrameOfProgram, { type: "result" }> | null = null;

  constructor(job: Job, files: OutputDirectory, stop: () => void) {
    this.#job = job;
    this.#files = files;
    this.#stop = stop;
  }

  read({ stdout }: ChildProcessWithoutNullStreams): void {
    const reader = new ProgramLineReader(ONE_JOB);
    const lines = new LineSplitter((line) => this.#forward(line, reader));
    stdout.on("data", (piece: string) => this.#guard(() => lines.push(piece)));
    stdout.on("end", () => this.#guard(() => lines.end()));
  }

  /** The job's result, once its files are sent. */
  async finish(): Promise<Json | undefined> {
    await this.#files.sendRest();
    if (this.failure !== null) throw this.failure;
    if (this.#result?.metrics) this.#job.metrics(this.#result.metrics);
    return this.#result?.output;
  }

  #guard(action: () => void): void {
    if (this.failure !== null || this.#job.signal.aborted) return;
    try {
      action();
    } catch (error) {
      const isLine = error instanceof RangeError;
      this.#fail(
        isLine ? new JobFailure("worker_error", `The program wrote ${error.message}.`) : error,
      );
    }
  }

  #fail(error: unknown): void {
    this.#stop();
    this.failure ??= error instanceof Error ? error : new Error(String(error));
  }

  #forward(line: string, reader: ProgramLineReader<JobFrameOfProgram>): void {
    const read = reader.read(line);
    switch (read.type) {
      case "text":
        if (isUtf16(line)) throw new JobFailure("worker_error", NOT_UTF8);
        this.#job.output(line);
        return;
      case "malformed":
        throw new JobFailure("worker_error", `The program wrote a malformed ${read.message}`);
      case "frame":
        this.#onFrame(read.frame);
        return;
    }
  }

  #onFrame(frame: JobFrameOfProgram): void {
    switch (frame.type) {
      case "result":
        this.#result = frame;
        return;
      case "fail":
        throw reportedFailure(frame);
      default:
        forwardReport(frame, this.#job, this.#files, (error) => this.#fail(error));
        return;
    }
  }
}
