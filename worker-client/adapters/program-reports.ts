import { JobFailure } from "../failure.ts";
import type { Job } from "../job.ts";
import type { OutputDirectory } from "./output-directory.ts";
import type { JobFrameOfProgram } from "./program-frames.ts";

/** The failure that a program reports in its own words. */
export function reportedFailure(frame: Extract<JobFrameOfProgram, { type: "fail" }>): JobFailure {
  return new JobFailure(frame.code || "worker_error", frame.message, frame.retryable ?? false);
}

/**
 * Passes on what a program reports while its job runs.
 *
 * @param onFileError called if a file can't be sent
 */
export function forwardReport(
  frame: Extract<JobFrameOfProgram, { type: "progress" | "output" }>,
  job: Job,
  files: OutputDirectory,
  onFileError: (error: unknown) => void,
): void {
  if (frame.type === "progress") {
    const { progress, message, estimated_remaining: remainingS } = frame;
    job.progress(progress, message ?? undefined, remainingS ?? undefined);
    return;
  }
  if (frame.delta !== undefined) job.output(frame.delta);
  if (frame.file === undefined) return;
  void files.send(frame.file, frame.preview ?? false).catch(onFileError);
}
