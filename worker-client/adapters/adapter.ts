import type { JobHandler } from "../job.ts";

/** Something that does jobs, and what it leaves behind when the worker ends. */
export interface Adapter {
  handle: JobHandler;
  close(): Promise<void>;
}
