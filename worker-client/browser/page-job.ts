import type { Json, JsonObject } from "../../src/protocol/codec.ts";
import type { FileOptions, OutputFile } from "../file-upload.ts";
import type { PageFile } from "./page-file.ts";

/**
 * One attempt of a job, as it is passed to the handler in a page. It is `Job` of Node.js, without what needs its
 * types: pages don't have them.
 */
export interface PageJob {
  readonly id: string;
  readonly attempt: number;
  readonly input: JsonObject;
  /** The input as JSON text, with every digit of its numbers; `input` rounds those that JavaScript can't keep. */
  readonly inputText: string;
  readonly files: readonly PageFile[];
  readonly priority: number;
  readonly createdAt: Date;
  /** When the edge takes the attempt back, by the edge's clock. */
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
  file(name: string, content: Uint8Array | Blob, options?: FileOptions): Promise<OutputFile>;
  /** Numbers about the run, sent with the result. */
  metrics(metrics: JsonObject): void;
}

/** Runs a job and returns its result; `undefined` means that the streamed output is the result. */
export type PageJobHandler = (job: PageJob) => Promise<Json | undefined>;
