import { type BackendJob, type BackendJobEvent, isOver } from "../backend-job-model/backend-job.ts";
import type {
  BackendJobResource,
  BackendProgressFrame,
  ReportReceipt,
} from "../protocol/backend-jobs.ts";
import type { Json } from "../protocol/codec.ts";
import { iso } from "../protocol/iso.ts";
import type { Report } from "../protocol/monitor.ts";
import type { GapFrame, JobOutputFrame } from "../protocol/subscriber-frames.ts";

/** The job as `GET /api/jobs/:id` shows it. `log` has the events that are still stored. */
export function resourceOf(
  job: BackendJob,
  log: readonly BackendJobEvent[],
  lacksOutput: boolean,
): BackendJobResource {
  const self = `/api/jobs/${job.id}`;
  return {
    id: job.id,
    space: null,
    status: job.status,
    ...progressOf(job),
    queue_position: null,
    attempt: job.attempts,
    input: job.input,
    files: [],
    output: outputOf(job, log),
    output_truncated: lacksOutput,
    outputs: [],
    result: job.status === "completed" ? job.result : null,
    error: errorOf(job),
    user: job.user,
    visibility: job.visibility,
    priority: 0,
    created_at: iso(job.createdAt),
    updated_at: iso(job.updatedAt),
    started_at: job.startedAt === null ? null : iso(job.startedAt),
    completed_at: isOver(job) ? iso(job.completedAt) : null,
    worker: null,
    metrics: job.status === "completed" ? job.metrics : null,
    cached: false,
    urls: { self, events: `${self}/events`, ws: `${self}/ws`, cancel: `${self}/cancel` },
  };
}

/** The answer to a report over HTTP: how the job stands after it, and the offset of the report's event. */
export function receiptOf(outcome: { job: BackendJob; offset?: number }): ReportReceipt {
  const { job, offset = job.offset } = outcome;
  const { id, status, attempts: attempt } = job;
  return { id, status, ...progressOf(job), attempt, updated_at: iso(job.updatedAt), offset };
}

/** The job's state now; `offset` is the last one its log gave out. */
export function snapshotFrame(job: BackendJob): BackendProgressFrame {
  const error = errorOf(job);
  return {
    type: "progress",
    job_id: job.id,
    status: job.status,
    ...progressOf(job),
    queue_position: null,
    attempt: job.attempts,
    ...(job.status === "completed" ? { result: job.result } : {}),
    ...(error ? { error } : {}),
    offset: job.offset,
    timestamp: iso(job.updatedAt),
  };
}

/** The snapshot of a job that does not exist yet. */
export function pendingFrame(jobId: string, now: number): BackendProgressFrame {
  return {
    type: "progress",
    job_id: jobId,
    status: "pending",
    progress: 0,
    estimated_remaining: null,
    message: null,
    output_path: null,
    queue_position: null,
    attempt: 0,
    offset: 0,
    timestamp: iso(now),
  };
}

type BackendJobEventFrame = BackendProgressFrame | JobOutputFrame;

/** An event of the job's log as a frame. */
export function eventFrame(job: BackendJob, event: BackendJobEvent): BackendJobEventFrame {
  const place = { offset: event.offset, timestamp: iso(event.at) };
  const { id: job_id } = job;
  switch (event.kind) {
    case "end":
      return { ...snapshotFrame(job), ...place };
    case "output":
      return { type: "output", job_id, attempt: event.attempt, delta: event.delta, ...place };
    case "progress":
      return {
        type: "progress",
        job_id,
        status: event.status,
        progress: event.progress,
        estimated_remaining: event.estimatedRemaining,
        message: event.message,
        output_path: event.outputPath,
        queue_position: null,
        attempt: event.attempt,
        ...place,
      } satisfies BackendProgressFrame;
  }
}

/** The report for the monitor (decision 0024). */
export function reportOf(job: BackendJob, connections: number): Report {
  const isOpen = !isOver(job);
  const count = (status: BackendJob["status"]) => (job.status === status ? 1 : 0);
  return {
    kind: "job",
    connections,
    jobs_with_connections: isOpen && connections > 0 ? 1 : 0,
    jobs: {
      active: isOpen ? 1 : 0,
      completed: count("completed"),
      failed: count("failed"),
      canceled: count("canceled"),
    },
    recent: [recentOf(job)],
  };
}

function recentOf({ id, status, progress, updatedAt }: BackendJob): Report["recent"][number] {
  return { id, space: null, status, progress, updated_at: iso(updatedAt) };
}

/** The frame that says up to which offset the job's log was dropped. */
export function gapFrame(job: BackendJob, offset: number): GapFrame {
  return { type: "gap", job_id: job.id, offset, timestamp: iso(job.updatedAt) };
}

/** The outputs of the last attempt. */
export function currentOutput(job: BackendJob, log: readonly BackendJobEvent[]) {
  return log
    .filter((event) => event.kind === "output")
    .filter((event) => event.attempt === job.attempts);
}

function outputOf(job: BackendJob, log: readonly BackendJobEvent[]): Json {
  const deltas = currentOutput(job, log).map(({ delta }) => delta);
  if (deltas.length === 0) return null;
  return deltas.every((delta) => typeof delta === "string") ? deltas.join("") : deltas;
}

function progressOf(job: BackendJob) {
  return {
    progress: job.progress,
    estimated_remaining: isOver(job) ? null : job.estimatedRemaining,
    message: isOver(job) ? (errorOf(job)?.message ?? null) : job.message,
    output_path: job.outputPath,
  };
}

function errorOf(job: BackendJob): { code: string; message: string } | null {
  if (job.status === "failed") return job.error;
  if (job.status === "canceled") return { code: "canceled", message: job.reason };
  return null;
}
