import { isEnd, type JobEvent, type JobOutput, type JobProgress } from "../client/job-channel.ts";
import type { AnyJob } from "../client/job-resource.ts";
import { withFile } from "../client/job-view.ts";
import type { Json } from "../protocol/codec.ts";
import { LIMITS } from "../protocol/limits.ts";
import type { OutputFile } from "../protocol/output-files.ts";

type JobError = { code: string; message: string };

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
  /** The files that are output, of the newest attempt. */
  outputs: readonly OutputFile[];
  /** The newest preview, while the job runs. */
  preview: OutputFile | null;
  cancel: CancelRequest;
  /** The token of the link that opens this job, which shows it and no more; `null`: it is this visitor's. */
  share: string | null;
  /** The edge's message if it refused to let the page follow this job. */
  note: string | null;
}

const NO_FILES = { outputs: [], preview: null };

export function newJob(
  id: string,
  label: string,
  phase: Phase,
  share: string | null = null,
): TabJob {
  const cancel: CancelRequest = { kind: "none" };
  const nothingYet = { cancel, note: null, attempt: 0, output: "", outputCut: false };
  return { id, label, phase, share, ...nothingYet, ...NO_FILES };
}

export function isTerminal(job: TabJob): boolean {
  const status = job.phase.status;
  return status === "completed" || status === "failed" || status === "canceled";
}

/** Applies what the page received of a job: every event comes once and in order. */
export function applyJobEvent(job: TabJob, event: JobEvent): TabJob {
  switch (event.type) {
    case "progress":
      return applyProgress(job, event);
    case "output":
      return applyOutput(job, event);
    case "file":
      return { ...job, attempt: event.attempt, note: null, ...withFile(job, event) };
    case "restart":
      return { ...job, attempt: event.attempt, output: "", outputCut: false, ...NO_FILES };
    case "gap":
      // A gap up to the offset 0 of a log comes before everything: what follows is whole.
      return { ...job, output: "", outputCut: !event.until.endsWith(":0"), ...NO_FILES };
  }
}

function applyProgress(job: TabJob, event: JobProgress): TabJob {
  if (event.attempt < job.attempt) return job;
  const phase = isTerminal(job) ? job.phase : phaseOf(event);
  const files = isEnd(event) ? { outputs: event.outputs ?? [], preview: null } : {};
  return { ...job, attempt: event.attempt, note: null, phase, ...files };
}

function applyOutput(job: TabJob, { attempt, delta }: JobOutput): TabJob {
  const text = appendDelta(job.output, delta);
  const cut = text.length > LIMITS.jobLogBytes;
  const output = cut ? text.slice(-LIMITS.jobLogBytes) : text;
  return { ...job, attempt, note: null, output, outputCut: job.outputCut || cut };
}

/** Appends text directly; any other value is added as JSON on its own lines. */
function appendDelta(output: string, delta: Json): string {
  if (typeof delta === "string") return output + delta;
  const start = output === "" || output.endsWith("\n") ? "" : "\n";
  return `${output}${start}${JSON.stringify(delta, null, 2)}\n`;
}

function phaseOf(event: JobProgress): Phase {
  const { status, message } = event;
  switch (status) {
    case "processing":
      return { status, progress: event.progress, message, remaining_s: event.estimated_remaining };
    case "completed":
      return { status, result: event.result ?? null, outputPath: event.output_path };
    case "failed":
    case "canceled":
      return { status, error: event.error ?? null };
    default:
      return { status: "queued", position: event.queue_position, message };
  }
}

/**
 * Applies an HTTP answer: only the label and a final state are used; events bring the rest. The addresses of output
 * files are new in each answer.
 */
export function applyResource(job: TabJob, resource: AnyJob): TabJob {
  const label = job.label === "" ? labelOf(resource) : job.label;
  const { status, error, outputs } = resource;
  if (isTerminal(job)) return { ...job, label, outputs };
  if (status === "completed") {
    const phase: Phase = { status, result: resource.result, outputPath: null };
    return { ...job, label, outputs, preview: null, phase };
  }
  if (status === "failed" || status === "canceled") {
    return { ...job, label, outputs, preview: null, phase: { status, error } };
  }
  return { ...job, label };
}

/** The job's label in the list: its prompt, or the names of its files. */
export function labelOf(job: AnyJob): string {
  const prompt = typeof job.input.prompt === "string" ? job.input.prompt.trim() : "";
  if (prompt !== "") return prompt.length > 300 ? `${prompt.slice(0, 299)}…` : prompt;
  return "files" in job ? job.files.map((file) => file.name).join(", ") : "";
}
