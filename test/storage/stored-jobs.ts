import type { CompletedJob, JobLimits, ProcessingJob, QueuedJob } from "../../src/queue/job.ts";
import { applied, dispatchOver, FENCE, queuedJob } from "../queue/example.ts";

/** The ULID of the job submitted as the n-th. */
export function ulidAt(n: number): string {
  return `01KA7Z3QK0${String(n).padStart(16, "0")}`;
}

interface JobFields {
  priority?: number;
  round?: number;
  party?: string | null;
  submitter?: string | null;
  cancelOnDisconnect?: boolean;
  requires?: string[];
  limits?: Partial<JobLimits>;
}

export function queuedAs(ulid: string, { limits, ...more }: JobFields = {}): QueuedJob {
  return queuedJob(limits, { ulid, ...more });
}

export function processingAs(ulid: string, fields: JobFields = {}): ProcessingJob {
  const { job } = applied(queuedAs(ulid, fields), dispatchOver(1));
  if (job.status !== "processing") throw new Error(`dispatched, the job is ${job.status}`);
  return job;
}

/** A completed job that ran for `runS` seconds from `START` on. */
export function completedJob(ulid: string, runS: number): CompletedJob {
  const result = { type: "result", fence: FENCE, output: null, metrics: null } as const;
  const { job } = applied(processingAs(ulid), result, runS);
  if (job.status !== "completed") throw new Error(`with a result, the job is ${job.status}`);
  return job;
}
