import type { WorkerFrame } from "../../protocol/worker-frames.ts";
import type { Command, Fence } from "../../queue/transition.ts";

/** A worker's frame about one attempt. */
export type AttemptFrame = Exclude<
  WorkerFrame,
  { type: "register" | "drain" | "load" | "sending" }
>;

/** The frame as a command to the queue. */
export function commandOf(frame: AttemptFrame, fence: Fence): Command {
  switch (frame.type) {
    case "accept":
      return { type: "accept", fence };
    case "progress": {
      const { progress, message = null, estimated_remaining = null } = frame;
      return {
        type: "progress",
        fence,
        progress,
        message,
        estimatedRemaining: estimated_remaining,
      };
    }
    case "output": {
      const { delta = null, file, preview = false } = frame;
      if (file !== undefined) return { type: "file", fence, name: file, preview };
      return { type: "output", fence, delta };
    }
    case "result": {
      const { output, metrics = null, files } = frame;
      return { type: "result", fence, output, metrics, files };
    }
    case "fail": {
      const { code, message, retryable } = frame;
      return { type: "fail", fence, code, message, retryable };
    }
    case "reject":
      return { type: "reject", fence, reason: frame.reason };
  }
}
