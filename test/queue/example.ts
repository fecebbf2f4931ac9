import type { Job, JobLimits, ProcessingJob, QueuedJob } from "../../src/queue/job.ts";
import {
  type Command,
  type Effect,
  type NewJob,
  submitted,
  transition,
} from "../../src/queue/transition.ts";
import { START, ULID } from "./steps.ts";

export const WORKER = { id: "worker-1", name: "One" };
/** The fence of the first attempt of `WORKER`. */
export const FENCE = { attempt: 1, workerId: WORKER.id, generation: 1 };

export const LIMITS: JobLimits = {
  queueTimeoutS: null,
  firstOutputTimeoutS: null,
  stallTimeoutS: null,
  jobTimeoutS: 120,
  maxAttempts: 3,
  reconnectGraceS: 15,
};

export function queuedJob(limits: Partial<JobLimits> = {}, more: Partial<NewJob> = {}): QueuedJob {
  const job: NewJob = {
    ulid: ULID,
    priority: 0,
    input: { prompt: "hi" },
    files: [],
    user: null,
    party: null,
    round: 1,
    limits: { ...LIMITS, ...limits },
    requires: [],
    cancelOnDisconnect: false,
    idempotency: null,
    cacheKey: null,
    webhook: null,
    submitter: null,
    ...more,
  };
  return submitted(job, START);
}

/** A job dispatched to `WORKER` at `START`. */
export function runningJob(limits: Partial<JobLimits> = {}): ProcessingJob {
  const { job } = applied(queuedJob(limits), dispatchOver(1));
  if (job.status !== "processing") throw new Error(`dispatched, the job is ${job.status}`);
  return job;
}

/** Dispatches a job to `WORKER` over its connection of this generation. */
export function dispatchOver(generation: number): Command {
  return { type: "dispatch", worker: WORKER, generation };
}

export const TICK: Command = { type: "tick" };
export const PROGRESS: Command = {
  type: "progress",
  fence: FENCE,
  progress: 50,
  message: null,
  estimatedRemaining: null,
};

/** The job after a command that must change it; the command comes `atS` seconds after `START`. */
export function applied(job: Job, command: Command, atS = 0): { job: Job; effects: Effect[] } {
  const outcome = transition(job, command, START + atS * 1_000);
  if (outcome.kind !== "applied") throw new Error(`${command.type}: ${outcome.kind}`);
  return outcome;
}
