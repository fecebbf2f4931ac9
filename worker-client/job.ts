import type { Json, JsonObject } from "../src/protocol/codec.ts";
import { JobFailure } from "./failure.ts";
import { type FileContent, type FileOptions, type OutputFile, uploadFile } from "./file-upload.ts";
import { type JobFile, jobFile } from "./job-files.ts";
import type { Log } from "./log.ts";
import type { ReceivedJob } from "./received-frames.ts";

/** One attempt of a job, as it is passed to the handler. */
export interface Job {
  readonly id: string;
  readonly attempt: number;
  readonly input: JsonObject;
  /** The input as JSON text, with every digit of its numbers; `input` rounds those that JavaScript can't keep. */
  readonly inputText: string;
  readonly files: readonly JobFile[];
  readonly priority: number;
  readonly createdAt: Date;
  /** When the edge takes the attempt back. */
  readonly deadline: Date;
  readonly user: string | null;
  /** Aborted once the attempt is no longer wanted; its reason is a `JobAborted`. */
  readonly signal: AbortSignal;
  /**
   * @param percent from 0 to 100; a number outside is cut to that range
   * @throws {JobFailure} if it is no number, or NaN or infinite
   */
  progress(percent: number, message?: string, estimatedRemainingS?: number): void;
  /** Streams a piece of output, text or any JSON, to everyone who follows the job. */
  output(delta: Json): void;
  /**
   * Sends a file to the edge, and tells everyone who follows the job: it is one of the job's outputs then. Goes on
   * after breaks as long as the attempt is wanted.
   *
   * @param name unique among the files of the attempt, 1 to 200 characters without slashes
   * @throws {JobFailure} if the edge refuses the file
   */
  file(name: string, content: FileContent, options?: FileOptions): Promise<OutputFile>;
  /** Numbers about the run, sent with the result. */
  metrics(metrics: JsonObject): void;
}

/** Runs a job and returns its result; `undefined` means that the streamed output is the result. */
export type JobHandler = (job: Job) => Promise<Json | undefined>;

export interface JobHooks {
  signal: AbortSignal;
  edgeUrl: string;
  /** The address of the job's file with this number, as it is now. */
  fileUrl: (index: number) => string;
  /** When the attempt is taken back, on this machine's clock; `null` while the edge can't be reached. */
  deadlineAt: () => number | null;
  log: Log;
  progress: Job["progress"];
  output: Job["output"];
  /** Where output files go; `null`: this edge takes none. */
  uploadUrl: () => string | null;
  /** Called when the edge has stored an output file. */
  onFile: (name: string, told: { preview: boolean; tell: boolean }) => void;
  metrics: Job["metrics"];
}

export function createJob(frame: ReceivedJob, hooks: JobHooks): Job {
  const { signal, edgeUrl, fileUrl, deadlineAt, log, progress, output, metrics } = hooks;
  return {
    id: frame.job_id,
    attempt: frame.attempt,
    input: frame.input,
    get inputText() {
      return frame.inputText ?? JSON.stringify(frame.input);
    },
    files: frame.files.map((submitted, index) =>
      jobFile(submitted, { edgeUrl, url: () => fileUrl(index), deadlineAt, signal, log }),
    ),
    priority: frame.priority,
    createdAt: new Date(frame.created_at),
    deadline: new Date(frame.deadline),
    user: frame.user,
    signal,
    progress,
    output,
    async file(name, content, { contentType, preview = false, tell = true } = {}) {
      if (hooks.uploadUrl() === null) {
        throw new JobFailure("worker_error", "This edge takes no output files: it is too old.");
      }
      const url = () => hooks.uploadUrl() ?? "";
      const transfer = { edgeUrl, url, deadlineAt, signal, log };
      const file = await uploadFile(name, content, contentType, transfer);
      hooks.onFile(name, { preview, tell });
      return file;
    },
    metrics,
  };
}
