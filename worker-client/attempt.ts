import { cutPercent } from "../src/protocol/percent.ts";
import { type Completion, type EncodedCompletion, encodeCompletion } from "./completion.ts";
import { encodeFrame } from "./encode.ts";
import { JobFailure } from "./failure.ts";
import { OutputLog } from "./output-log.ts";

export interface AttemptRef {
  job_id: string;
  attempt: number;
}

export function keyOf(ref: AttemptRef): string {
  return `${ref.job_id}#${ref.attempt}`;
}

/**
 * Everything that this worker keeps about one attempt until the edge has acknowledged its end. After a
 * reconnect the frames to send are derived from it, so there is no separate queue of unsent frames.
 */
export type Attempt = {
  ref: AttemptRef;
  outputs: OutputLog;
  /** The addresses of the job's files, which expire: the edge renews them when it resumes the attempt. */
  fileUrls: readonly string[];
  /** Where output files go (W36); `null`: this edge takes none. */
  uploadUrl: string | null;
  /** The output files that are told with the result. */
  untold: readonly string[];
  /** The latest `progress` frame. */
  progress: string | null;
} & ({ phase: "running" } | { phase: "ended"; completion: EncodedCompletion });

export function newAttempt(
  { job_id, attempt }: AttemptRef,
  fileUrls: readonly string[] = [],
  uploadUrl: string | null = null,
): Attempt & { phase: "running" } {
  const ref = { job_id, attempt };
  const outputs = new OutputLog();
  return { ref, outputs, fileUrls, uploadUrl, untold: [], progress: null, phase: "running" };
}

export function withCompletion(
  attempt: Attempt,
  completion: Completion,
  limit: number,
): Attempt & { phase: "ended" } {
  return {
    ...attempt,
    phase: "ended",
    completion: encodeCompletion(attempt.ref, completion, limit),
  };
}

export type Replay =
  /** `lost`: number of `output` frames that neither the edge nor this worker still has. */
  | { type: "frames"; texts: string[]; lost: number }
  /** The edge accepts smaller frames than before, and a frame that must be sent no longer fits. */
  | { type: "unsendable"; message: string };

/** The frames that an edge still lacks, in order, if it has stored the first `stored` `output` frames. */
export function replay(attempt: Attempt, stored: number, limit: number): Replay {
  const { frames, lost } = attempt.outputs.resumeAt(stored);
  const last = attempt.phase === "ended" ? [attempt.completion] : [];
  if ([...frames, ...last].some((frame) => frame.bytes > limit)) {
    const message = `A frame that must be sent no longer fits: the edge accepts ${limit} bytes at most.`;
    return { type: "unsendable", message };
  }
  const texts = frames.map((frame) => frame.text);
  if (attempt.progress !== null) texts.push(attempt.progress);
  return { type: "frames", texts: [...texts, ...last.map((frame) => frame.text)], lost };
}

/**
 * Also for callers without types: `null` and `"50"` would otherwise be taken for 0 and 50.
 *
 * @throws {JobFailure} if it is no number, or NaN or infinite
 */
export function checkPercent(percent: number): void {
  if (Number.isFinite(percent)) return;
  const given = typeof percent === "string" ? JSON.stringify(percent) : String(percent);
  throw new JobFailure("worker_error", `Progress must be a number from 0 to 100, not ${given}.`);
}

/** Returns `null` if the edge would refuse the frame: a refusal would cost the connection. */
export function encodeProgress(
  ref: AttemptRef,
  percent: number,
  message: string | undefined,
  remainingS: number | undefined,
  limit: number,
): string | null {
  const encoding = encodeFrame(
    {
      type: "progress",
      ...ref,
      progress: cutPercent(percent),
      message: message?.slice(0, 2_000),
      estimated_remaining: Number.isFinite(remainingS) ? Math.max(0, remainingS ?? 0) : undefined,
    },
    limit,
  );
  return encoding.ok ? encoding.frame.text : null;
}
