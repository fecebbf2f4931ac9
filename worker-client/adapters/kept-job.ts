import type { Json } from "../../src/protocol/codec.ts";
import { JobFailure } from "../failure.ts";
import type { Job } from "../job.ts";
import type { JobFolder } from "./job-folder.ts";
import type { JobFrameOfProgram } from "./program-frames.ts";
import { forwardReport, reportedFailure } from "./program-reports.ts";

export type KeptJobEnd = Promise<Json | undefined>;

interface KeptJobDeps {
  /** Writes a line to the program's standard input. */
  write(line: string): void;
  cancelGraceMs: number;
  /** The program goes on with the job although it was canceled. */
  onCancelIgnored(): void;
}

/** A job that a kept program runs, from its line until the program has ended it. */
export class KeptJob {
  /** Names the attempt, so that late lines about an earlier one are not taken for this one. */
  readonly id: string;
  readonly ended: KeptJobEnd;
  readonly #job: Job;
  readonly #folder: JobFolder;
  readonly #deps: KeptJobDeps;
  #settle: { resolve(value: Promise<Json | undefined>): void; reject(error: unknown): void } = {
    resolve() {},
    reject() {},
  };
  /** The job has failed already, although the program may go on with it. */
  #failure: JobFailure | null = null;
  /** The program has said its last word about the job, whose files may still be on their way. */
  #isDone = false;
  #graceTimer: NodeJS.Timeout | undefined;

  constructor(job: Job, folder: JobFolder, deps: KeptJobDeps) {
    this.id = `${job.id}.${job.attempt}`;
    this.#job = job;
    this.#folder = folder;
    this.#deps = deps;
    const onAbort = () => this.#cancel("canceled");
    job.signal.addEventListener("abort", onAbort, { once: true });
    this.ended = new Promise<Json | undefined>((resolve, reject) => {
      this.#settle = { resolve, reject };
    }).finally(() => {
      clearTimeout(this.#graceTimer);
      job.signal.removeEventListener("abort", onAbort);
    });
  }

  start(): void {
    const { id: job_id, attempt, user } = this.#job;
    const { files, outputs } = this.#folder;
    const output_dir = outputs.path;
    const fields = { type: "job", id: this.id, job_id, attempt, user, files, output_dir };
    this.#deps.write(`${JSON.stringify(fields).slice(0, -1)},"input":${this.#job.inputText}}\n`);
  }

  onFrame(frame: JobFrameOfProgram): void {
    switch (frame.type) {
      case "result":
        this.#markDone();
        this.#settle.resolve(this.#finish(frame));
        return;
      case "fail":
        this.#markDone();
        this.#settle.reject(this.#failure ?? reportedFailure(frame));
        return;
      default:
        this.#report(frame);
        return;
    }
  }

  /** @param isEnd the line was meant to end the job, so the program has nothing more to say about it */
  onMalformed(message: string, isEnd: boolean): void {
    if (isEnd) this.#markDone();
    this.#fail(new JobFailure("worker_error", message));
    if (isEnd) this.#settle.reject(this.#failure);
  }

  onProgramEnd(failure: JobFailure): void {
    this.#settle.reject(this.#failure ?? failure);
  }

  async #finish(frame: Extract<JobFrameOfProgram, { type: "result" }>): KeptJobEnd {
    if (this.#failure !== null) throw this.#failure;
    this.#job.signal.throwIfAborted();
    await this.#folder.outputs.sendRest();
    if (this.#failure !== null) throw this.#failure;
    if (frame.metrics) this.#job.metrics(frame.metrics);
    return frame.output;
  }

  #report(frame: Extract<JobFrameOfProgram, { type: "progress" | "output" }>): void {
    if (this.#failure !== null || this.#job.signal.aborted) return;
    try {
      forwardReport(frame, this.#job, this.#folder.outputs, (error) => this.#onError(error));
    } catch (error) {
      this.#onError(error);
    }
  }

  #onError(error: unknown): void {
    if (!this.#job.signal.aborted) {
      this.#fail(
        error instanceof JobFailure ? error : new JobFailure("worker_error", String(error)),
      );
    }
  }

  #markDone(): void {
    this.#isDone = true;
    clearTimeout(this.#graceTimer);
  }

  #fail(failure: JobFailure): void {
    this.#failure ??= failure;
    this.#cancel("failed");
  }

  #cancel(reason: string): void {
    if (this.#isDone || this.#graceTimer !== undefined) return;
    this.#deps.write(`${JSON.stringify({ type: "cancel", id: this.id, reason })}\n`);
    this.#graceTimer = setTimeout(() => this.#deps.onCancelIgnored(), this.#deps.cancelGraceMs);
  }
}
