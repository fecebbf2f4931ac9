import { formatPosition } from "../channel/position.ts";
import type { Json } from "../protocol/codec.ts";
import { LIMITS } from "../protocol/limits.ts";
import type { JobError, JobResource } from "../protocol/resources.ts";
import type { ServerFrame } from "../protocol/subscriber-frames.ts";

type ServerFrameOf<Type extends ServerFrame["type"]> = Extract<ServerFrame, { type: Type }>;
export type FollowedJobFrame = ServerFrameOf<"connection" | "progress" | "output" | "gap">;

/** The job's latest state that this page has received. */
export type Phase =
  | { status: "attaching" }
  | { status: "queued"; position: number | null; message: string | null }
  | {
      status: "processing";
      progress: number;
      message: string | null;
      remaining_s: number | null;
    }
  | { status: "completed"; result: Json; outputPath: string | null }
  | { status: "failed" | "canceled"; error: JobError | null };

/** The state of a cancel requested on this page. */
export type CancelRequest =
  | { kind: "none" }
  | { kind: "asked" }
  | { kind: "refused"; message: string };

/**
 * How much of a job's channel was received. Progress and output have separate offsets, because a
 * snapshot starts with the newest progress and then sends the older output.
 */
interface ChannelCursor {
  epoch: string | null;
  progress: number;
  output: number;
  /** The offset at which the snapshot ends, while it may still be arriving. */
  snapshotUntil: number | null;
}

export interface TabJob {
  id: string;
  /** One line that describes the job: its prompt or its files. */
  label: string;
  phase: Phase;
  attempt: number;
  /** Output of the newest attempt, as text. */
  output: string;
  /** Whether the page or the edge dropped the beginning of `output`. */
  outputCut: boolean;
  cancel: CancelRequest;
  /** The edge's message if it refused to let the page follow this job. */
  note: string | null;
  cursor: ChannelCursor;
}

const UNSEEN: ChannelCursor = { epoch: null, progress: -1, output: -1, snapshotUntil: null };

export function newJob(id: string, label: string, phase: Phase): TabJob {
  const cancel: CancelRequest = { kind: "none" };
  const base = { id, label, phase, cancel, note: null, cursor: UNSEEN };
  return { ...base, attempt: 0, output: "", outputCut: false };
}

export function isTerminal(job: TabJob): boolean {
  const status = job.phase.status;
  return status === "completed" || status === "failed" || status === "canceled";
}

/** The `since` to follow the job with after a reconnect; `undefined` requests a snapshot. */
export function resumePosition(job: TabJob): string | undefined {
  const { epoch, progress, output, snapshotUntil } = job.cursor;
  const offset = Math.max(progress, output);
  if (epoch === null || offset < 0) return undefined;
  // If a snapshot was interrupted, output below its newest offset is missing: request it again.
  if (snapshotUntil !== null && offset <= snapshotUntil && output !== snapshotUntil) {
    return undefined;
  }
  return formatPosition({ epoch, offset });
}

/** Applies one frame to a job; returns the same object if nothing changed. */
export function applyJobFrame(job: TabJob, frame: FollowedJobFrame): TabJob {
  switch (frame.type) {
    case "connection":
      return applyConnection(job, frame);
    case "progress":
      return applyProgress(job, frame);
    case "output":
      return applyOutput(job, frame);
    case "gap":
      return { ...job, outputCut: true };
  }
}

function applyConnection(job: TabJob, frame: ServerFrameOf<"connection">): TabJob {
  if (frame.recovered) {
    return { ...job, note: null, cursor: { ...job.cursor, epoch: frame.epoch } };
  }
  const cursor = { ...UNSEEN, epoch: frame.epoch, snapshotUntil: frame.offset };
  return { ...job, note: null, cursor, output: "", outputCut: false };
}

function applyProgress(job: TabJob, frame: ServerFrameOf<"progress">): TabJob {
  if (frame.offset <= job.cursor.progress || frame.attempt < job.attempt) return job;
  const cursor = { ...job.cursor, progress: frame.offset };
  const phase = isTerminal(job) ? job.phase : phaseOf(frame);
  return { ...onAttempt(job, frame.attempt), cursor, phase };
}

function applyOutput(job: TabJob, frame: ServerFrameOf<"output">): TabJob {
  if (frame.offset <= job.cursor.output) return job;
  const cursor = { ...job.cursor, output: frame.offset };
  if (frame.attempt < job.attempt) return { ...job, cursor };
  const current = onAttempt(job, frame.attempt);
  const text = appendDelta(current.output, frame.delta);
  const cut = text.length > LIMITS.jobLogBytes;
  const output = cut ? text.slice(-LIMITS.jobLogBytes) : text;
  return { ...current, cursor, output, outputCut: current.outputCut || cut };
}

/** Output is void once a later attempt starts. A snapshot's gap comes before its attempt is known, so it stays. */
function onAttempt(job: TabJob, attempt: number): TabJob {
  if (attempt <= job.attempt) return job;
  const isFirstFrame = job.cursor.progress < 0 && job.cursor.output < 0;
  return { ...job, attempt, output: "", outputCut: isFirstFrame && job.outputCut };
}

/** Appends text directly; any other value is added as JSON on its own lines. */
function appendDelta(output: string, delta: Json): string {
  if (typeof delta === "string") return output + delta;
  const start = output === "" || output.endsWith("\n") ? "" : "\n";
  return `${output}${start}${JSON.stringify(delta, null, 2)}\n`;
}

function phaseOf(frame: ServerFrameOf<"progress">): Phase {
  const { status, message } = frame;
  if (status === "queued") return { status, position: frame.queue_position, message };
  if (status === "processing") {
    return { status, progress: frame.progress, message, remaining_s: frame.estimated_remaining };
  }
  if (status === "completed") {
    return { status, result: frame.result ?? null, outputPath: frame.output_path };
  }
  return { status, error: frame.error ?? null };
}

/** Applies an HTTP answer: only the label and a final state are used; frames bring the rest. */
export function applyResource(job: TabJob, resource: JobResource): TabJob {
  const label = job.label === "" ? labelOf(resource) : job.label;
  if (isTerminal(job)) return { ...job, label };
  const { status, error } = resource;
  if (status === "completed") {
    return { ...job, label, phase: { status, result: resource.result, outputPath: null } };
  }
  if (status === "failed" || status === "canceled") {
    return { ...job, label, phase: { status, error } };
  }
  return { ...job, label };
}

/** The job's label in the list: its prompt, or the names of its files. */
export function labelOf(job: Pick<JobResource, "input" | "files">): string {
  const prompt = typeof job.input.prompt === "string" ? job.input.prompt.trim() : "";
  if (prompt !== "") return prompt.length > 300 ? `${prompt.slice(0, 299)}…` : prompt;
  return job.files.map((file) => file.name).join(", ");
}
