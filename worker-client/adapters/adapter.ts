import type { JobHandler } from "../job.ts";

/** Runs jobs with `handle`; `close` frees its resources when the worker ends. */
export interface Adapter {
  handle: JobHandler;
  close(): Promise<void>;
}
