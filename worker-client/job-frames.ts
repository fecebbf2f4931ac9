import type { Jobs } from "./jobs.ts";
import type { ReceivedFrame } from "./received-frames.ts";

/** Hands a frame about an attempt to the attempts that this worker holds. */
export function handleJobFrame(
  jobs: Jobs,
  frame: Extract<ReceivedFrame, { type: "job" | "ack" | "stale" | "cancel" | "deadline" }>,
): void {
  switch (frame.type) {
    case "job":
      jobs.onJob(frame);
      return;
    case "ack":
      jobs.onAck(frame);
      return;
    case "stale":
      jobs.onStale(frame);
      return;
    case "cancel":
      jobs.onCancel(frame);
      return;
    case "deadline":
      jobs.onDeadline(frame);
      return;
  }
}
