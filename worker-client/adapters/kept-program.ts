import type { ChildProcessWithoutNullStreams } from "node:child_process";
import { readFields, readString } from "../../src/protocol/broken-json.ts";
import type { DeclaredSchema } from "../../src/protocol/declared-schema.ts";
import { JobFailure } from "../failure.ts";
import type { Job } from "../job.ts";
import type { JobFolder } from "./job-folder.ts";
import { KeptJob, type KeptJobEnd } from "./kept-job.ts";
import { LineSplitter, TOO_LONG } from "./lines.ts";
import {
  isUtf16,
  type JobFrameOfProgram,
  MANY_JOBS,
  NOT_UTF8,
  type ProgramFrame,
  type ProgramLine,
  ProgramLineReader,
} from "./program-frames.ts";
import {
  describeExit,
  exitOf,
  failureOf,
  killGroup,
  type ProgramExit,
  type ProgramOptions,
  StderrTail,
  startProgram,
} from "./program-process.ts";

export interface KeptProgramOptions extends ProgramOptions {
  /** How long a program may go on with a job that was canceled before it is killed, milliseconds. */
  cancelGraceMs: number;
}

/** How a program ended. */
export interface ProgramEnd {
  /** In words, for the log. */
  description: string;
  wasReady: boolean;
}

/** How long a program may take to end once its input is closed, and then once more after SIGTERM, milliseconds. */
const END_MS = 5_000;

/** One process that runs all jobs, several at once: a job is a line in, and frames with its id come out. */
export class KeptProgram {
  /** Resolves with the schema that the program declared, once it is ready; never if it ends before. */
  readonly ready: Promise<DeclaredSchema | undefined>;
  readonly ended: Promise<ProgramEnd>;
  readonly #options: KeptProgramOptions;
  readonly #child: ChildProcessWithoutNullStreams;
  readonly #stderr: StderrTail;
  readonly #reader = new ProgramLineReader(MANY_JOBS);
  readonly #jobs = new Map<string, KeptJob>();
  #onReady: (schema: DeclaredSchema | undefined) => void = () => {};
  #isReady = false;
  #explained = false;
  /** Why the worker killed it: then its jobs are not to blame. */
  #killedFor: string | null = null;

  constructor(options: KeptProgramOptions) {
    this.#options = options;
    this.ready = new Promise((resolve) => {
      this.#onReady = resolve;
    });
    this.#child = startProgram(options);
    this.#stderr = new StderrTail(this.#child, options.log, "");
    const lines = new LineSplitter(
      (line) => this.#onLine(line, this.#reader.read(line)),
      (beginning) => this.#onLine(beginning, this.#reader.readTooLong(beginning, TOO_LONG)),
    );
    this.#child.stdout.on("data", (piece: string) => lines.push(piece));
    this.#child.stdout.on("end", () => lines.end());
    this.ended = exitOf(this.#child).then((exit) => this.#onExit(exit));
  }

  /** Runs a job; resolves and rejects as a handler does, but only when the program has ended the job, or itself. */
  run(job: Job, folder: JobFolder): KeptJobEnd {
    const kept = new KeptJob(job, folder, {
      write: (line) => void this.#child.stdin.write(line),
      cancelGraceMs: this.#options.cancelGraceMs,
      onCancelIgnored: () => this.kill("another job could not be stopped"),
    });
    this.#jobs.set(kept.id, kept);
    kept.start();
    return kept.ended.finally(() => this.#jobs.delete(kept.id));
  }

  /** Ends the program together with everything it started. Its jobs go back to the queue. */
  kill(why: string): void {
    this.#options.log.warn(`killing the program: ${why}`);
    this.#killedFor ??= why;
    killGroup(this.#child, "SIGKILL");
  }

  /** Lets an idle program end by itself: its input ends. Kills one that doesn't, or that still has jobs. */
  async close(): Promise<void> {
    if (this.#jobs.size > 0) this.kill("the worker stops");
    this.#child.stdin.end();
    if (!this.#isReady) killGroup(this.#child, "SIGTERM");
    if (await endsWithin(this.ended, END_MS)) return;
    killGroup(this.#child, "SIGTERM");
    if (await endsWithin(this.ended, END_MS)) return;
    this.kill("it did not end by itself");
    await endsWithin(this.ended, END_MS);
  }

  #onLine(line: string, read: ProgramLine<ProgramFrame>): void {
    switch (read.type) {
      case "text":
        this.#onText(line);
        return;
      case "malformed":
        this.#onMalformed(line, read);
        return;
      case "frame":
        if (read.frame.type === "ready") this.#markReady(read.frame.schema ?? undefined);
        else this.#onFrame(read.frame);
        return;
    }
  }

  #markReady(schema: DeclaredSchema | undefined): void {
    this.#isReady = true;
    this.#onReady(schema);
  }

  #onFrame(frame: JobFrameOfProgram): void {
    const job = this.#jobFor(frame.id);
    if (job !== undefined) job.onFrame(frame);
    else this.#options.log.warn(`ignored a line of the program: ${this.#whyNoJob(frame.id)}`);
  }

  /** A line without an id is about the only job there is. */
  #jobFor(id: string | undefined): KeptJob | undefined {
    if (id !== undefined) return this.#jobs.get(id);
    return this.#jobs.size === 1 ? [...this.#jobs.values()][0] : undefined;
  }

  #whyNoJob(id: string | undefined): string {
    if (id !== undefined)
      return `it is about no job that runs, ${JSON.stringify(id.slice(0, 200))}`;
    return `it has no id, and ${this.#jobs.size === 0 ? "no job" : "more than one job"} runs`;
  }

  #onMalformed(line: string, read: Extract<ProgramLine, { type: "malformed" }>): void {
    const id = readString(readFields(line).get("id")?.[0]) ?? undefined;
    const message = `The program wrote a malformed ${read.message}`;
    const job = this.#jobFor(id);
    // The line may have been the last one about its job.
    if (job !== undefined) job.onMalformed(message, read.of === "result" || read.of === "fail");
    else this.#options.log.error(message);
  }

  /** Libraries print all kinds of things, so a line that is no frame is reported, and changes nothing. */
  #onText(line: string): void {
    const text = line.trim();
    if (text === "") return;
    const { log } = this.#options;
    if (isUtf16(line)) log.error(NOT_UTF8);
    const shown = text.length > 200 ? `${text.slice(0, 200)}…` : text;
    if (this.#explained) log.debug(`stdout: ${shown}`);
    else log.warn(`${EXPLANATION}: ${shown}`);
    this.#explained = true;
  }

  #onExit(exit: ProgramExit): ProgramEnd {
    const stderr = this.#stderr.text;
    const failure =
      this.#killedFor === null
        ? failureOf(exit, this.#options, stderr)
        : new JobFailure("worker_error", `The program was ended: ${this.#killedFor}.`, true);
    for (const job of [...this.#jobs.values()]) job.onProgramEnd(failure);
    return {
      description: describeExit(exit, this.#options, stderr),
      wasReady: this.#isReady,
    };
  }
}

const EXPLANATION =
  "the program wrote a line to its standard output that is no frame, so it reaches nobody (write messages for people to standard error; further lines are logged with --verbose)";

async function endsWithin(ended: Promise<unknown>, ms: number): Promise<boolean> {
  let timer: NodeJS.Timeout | undefined;
  const late = new Promise<false>((resolve) => {
    timer = setTimeout(() => resolve(false), ms);
  });
  try {
    return await Promise.race([ended.then(() => true), late]);
  } finally {
    clearTimeout(timer);
  }
}
