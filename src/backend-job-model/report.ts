import type { BackendReport, CreateBackendJobBody } from "../protocol/backend-jobs.ts";
import { orderedJson } from "../protocol/exact-json.ts";
import {
  type BackendJob,
  type BackendJobEvent,
  type EndedBackendJob,
  isOver,
  type OpenBackendJob,
  type RecentOutput,
} from "./backend-job.ts";

/** Makes a new job, and the first event of its log. */
export function created(
  body: Omit<CreateBackendJobBody, "id">,
  identity: { id: string; epoch: string; fingerprint: string },
  now: number,
): { job: OpenBackendJob; events: BackendJobEvent[] } {
  const { user, input, message, visibility, result_ttl_s: resultTtlS } = body;
  const job: OpenBackendJob = {
    ...identity,
    status: "queued",
    user,
    input,
    visibility,
    resultTtlS,
    createdAt: now,
    updatedAt: now,
    startedAt: null,
    attempts: 0,
    offset: 1,
    progress: 0,
    message,
    estimatedRemaining: null,
    outputPath: null,
  };
  return { job, events: [stateOf(job)] };
}

/**
 * `changed`: the job after the report, with the new events. `same`: the report repeats the end that the job has.
 * `repeated`: the output is stored already, at `offset`. `ended`: the job has already ended, and the report changes
 * nothing.
 */
export type ReportOutcome =
  | { kind: "changed"; job: BackendJob; events: BackendJobEvent[] }
  | { kind: "same"; job: EndedBackendJob }
  | { kind: "repeated"; job: BackendJob; offset: number }
  | { kind: "ended"; job: EndedBackendJob };

/** Computes what a report does to a job at `now`. Pure. */
export function reported(job: BackendJob, report: BackendReport, now: number): ReportOutcome {
  const known = report.type === "output" ? storedOutput(job, report.id) : undefined;
  if (known) return { kind: "repeated", job, offset: known.offset };
  if (isOver(job)) return { kind: isRepeatedEnd(job, report) ? "same" : "ended", job };
  // Clocks may be set back; a job's log never goes back in time.
  const at = Math.max(now, job.updatedAt);
  switch (report.type) {
    case "progress":
      return progressed(job, report, at);
    case "output":
      return streamed(job, report, at);
    default:
      return ended(job, report, at);
  }
}

/** The reason of a cancel that gives none. */
export const CANCELED = "Canceled on request.";

type ReportOfType<T extends BackendReport["type"]> = Extract<BackendReport, { type: T }>;

/** Applies a progress report. One without a status means that the job is being processed. */
function progressed(
  job: OpenBackendJob,
  report: ReportOfType<"progress">,
  now: number,
): ReportOutcome {
  const { message, output_path, estimated_remaining } = report;
  const current = inStatus(job, report.status ?? "processing", now);
  const next: OpenBackendJob = {
    ...current,
    updatedAt: now,
    offset: job.offset + 1,
    progress: report.progress ?? current.progress,
    message: message === undefined ? current.message : message,
    estimatedRemaining:
      estimated_remaining === undefined ? current.estimatedRemaining : estimated_remaining,
    outputPath: output_path === undefined ? current.outputPath : output_path,
  };
  return { kind: "changed", job: next, events: [stateOf(next)] };
}

/** Output of a queued job means that it is now being processed. */
function streamed(
  job: OpenBackendJob,
  { delta, id }: ReportOfType<"output">,
  now: number,
): ReportOutcome {
  const isFirst = job.status === "queued";
  const started: OpenBackendJob = isFirst
    ? { ...inStatus(job, "processing", now), updatedAt: now, offset: job.offset + 1 }
    : job;
  const offset = started.offset + 1;
  const recent = id === undefined ? {} : { recentOutputs: remembered(job, { id, offset }) };
  const next: OpenBackendJob = { ...started, ...recent, updatedAt: now, offset };
  const { attempts: attempt } = next;
  const output: BackendJobEvent = { kind: "output", offset, at: now, attempt, delta };
  return { kind: "changed", job: next, events: isFirst ? [stateOf(started), output] : [output] };
}

/**
 * How many ids of outputs are remembered. A client repeats an output before it sends the next one, so one for
 * each program that reports would be enough.
 */
const MOST_RECENT = 16;

function remembered(job: OpenBackendJob, output: RecentOutput): RecentOutput[] {
  return [...(job.recentOutputs ?? []), output].slice(-MOST_RECENT);
}

function storedOutput(job: BackendJob, id: string | undefined): RecentOutput | undefined {
  return id === undefined ? undefined : job.recentOutputs?.find((output) => output.id === id);
}

function ended(
  job: OpenBackendJob,
  report: ReportOfType<"complete" | "fail" | "cancel">,
  now: number,
): ReportOutcome {
  const { message: _, estimatedRemaining: __, status: ___, ...rest } = job;
  const base = { ...rest, updatedAt: now, completedAt: now, offset: job.offset + 1 };
  const events: BackendJobEvent[] = [{ kind: "end", offset: base.offset, at: now }];
  const change = (next: EndedBackendJob): ReportOutcome => ({ kind: "changed", job: next, events });
  switch (report.type) {
    case "complete": {
      const { result, metrics, output_path } = report;
      const outputPath = output_path === undefined ? job.outputPath : output_path;
      return change({ ...base, status: "completed", progress: 100, outputPath, result, metrics });
    }
    case "fail": {
      const { code, message } = report;
      return change({ ...base, status: "failed", error: { code, message } });
    }
    case "cancel":
      return change({ ...base, status: "canceled", reason: report.reason ?? CANCELED });
  }
}

/** Changes the status. Back in `queued` the progress starts again; each start of `processing` is a new attempt. */
function inStatus(
  job: OpenBackendJob,
  status: OpenBackendJob["status"],
  now: number,
): OpenBackendJob {
  if (status === job.status) return job;
  if (status === "queued") return { ...job, status, progress: 0, estimatedRemaining: null };
  const { attempts, startedAt } = job;
  return { ...job, status, attempts: attempts + 1, startedAt: startedAt ?? now };
}

function isRepeatedEnd(job: EndedBackendJob, report: BackendReport): boolean {
  switch (report.type) {
    case "complete": {
      if (job.status !== "completed") return false;
      const { result, metrics, output_path: path } = report;
      const isSamePath = path === undefined || path === job.outputPath;
      return (
        isSamePath && orderedJson([result, metrics]) === orderedJson([job.result, job.metrics])
      );
    }
    case "fail": {
      if (job.status !== "failed") return false;
      return report.code === job.error.code && report.message === job.error.message;
    }
    case "cancel":
      return job.status === "canceled";
    default:
      return false;
  }
}

function stateOf(job: OpenBackendJob): BackendJobEvent {
  const { offset, status, progress, message, estimatedRemaining, outputPath } = job;
  const { updatedAt: at, attempts: attempt } = job;
  const state = { status, progress, message, estimatedRemaining, outputPath };
  return { kind: "progress", offset, at, attempt, ...state };
}
