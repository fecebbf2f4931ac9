import type { DeclaredSchema } from "../../src/protocol/declared-schema.ts";
import type { JobHandler } from "../job.ts";

/** Runs jobs with `handle`; `close` frees its resources when the worker ends. */
export interface Adapter {
  handle: JobHandler;
  close(): Promise<void>;
  /** Only of an adapter that needs a program or a server, which takes time to start and may go away. */
  model?: Model;
}

/** What an adapter needs in order to run jobs: a program that has loaded its model, or a server on this machine. */
export interface Model {
  /**
   * Resolves once jobs can be run, with what they take and give. The worker dials only then: a space with a worker
   * that can't begin would let submitters wait without knowing why.
   *
   * @param signal aborted when the worker is stopped; then the promise may reject with its reason
   * @throws {ModelUnusable} if waiting would not help
   */
  untilReady(signal: AbortSignal): Promise<DeclaredSchema | undefined>;
  /**
   * Resolves with the reason, in words, once the worker must leave its place in the space: jobs can't be run any
   * more, or they take or give something else than `untilReady` said.
   */
  untilLost(): Promise<string>;
}

/** The model can't be used as it is configured; the message is for the person who runs the worker. */
export class ModelUnusable extends Error {
  override readonly name = "ModelUnusable";
}
