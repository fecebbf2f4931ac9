import { iso } from "../../protocol/iso.ts";
import { attemptDeadline } from "../../queue/deadline.ts";
import type { Job, ProcessingJob } from "../../queue/job.ts";
import type { Command, Effect } from "../../queue/transition.ts";
import type { ReadyWorker } from "../connections.ts";
import { jobIdOf } from "../render.ts";
import type { SpaceCore } from "../space-core.ts";
import { servingWorkers } from "../space-status.ts";

/** A file's address stays valid this long after the attempt's deadline, because clocks differ; milliseconds. */
const FILE_URL_SLACK_MS = 60_000;

/** Hands jobs to workers, and sends workers the cancels that changes of jobs cause. */
export class WorkerDispatch {
  private readonly core: SpaceCore;

  constructor(core: SpaceCore) {
    this.core = core;
  }

  /** Hands waiting jobs to workers with free slots; returns how many. */
  dispatch(now: number): number {
    const jobs = this.core.jobs.dispatch(servingWorkers(this.core), now);
    for (const job of jobs) {
      const worker = this.byGeneration(job.generation);
      // If a crash loses the deferred job, the worker runs a job that was promised to nobody, and its frames are
      // answered `stale` (decision 0030).
      if (worker) this.core.sendBuffer.sendAhead(worker, this.jobFrame(worker, job));
    }
    return jobs.length;
  }

  /** Applies a command to a job, then performs its effects. */
  apply(ulid: string, command: Command, now: number): void {
    const reaction = this.core.jobs.apply(ulid, command, now);
    if (reaction.kind === "applied") this.perform(reaction.job, reaction.effects);
  }

  /** Sends the cancels among a transition's effects. */
  perform(job: Job, effects: Effect[]): void {
    for (const effect of effects) {
      if (effect.type !== "send_cancel" || job.status === "queued") continue;
      const worker = job.generation === null ? null : this.byGeneration(job.generation);
      if (worker) this.sendCancel(worker, job, effect.reason);
    }
  }

  /** Asks a worker to stop a job's attempt. */
  sendCancel(worker: ReadyWorker, { ulid, attempts }: Job, reason: string): void {
    const job_id = jobIdOf(this.core.record.name, ulid);
    this.core.sendBuffer.send(worker, { type: "cancel", job_id, attempt: attempts, reason });
  }

  private jobFrame(worker: ReadyWorker, job: ProcessingJob) {
    const deadline = attemptDeadline(job);
    const { origin } = worker.attachment;
    return {
      type: "job",
      job_id: jobIdOf(this.core.record.name, job.ulid),
      attempt: job.attempts,
      input: job.input,
      files: job.files.map(({ key, sha256: _, ...file }) => ({
        ...file,
        url: this.core.fileUrl(origin, key, deadline + FILE_URL_SLACK_MS),
      })),
      priority: job.priority,
      deadline: iso(deadline),
      created_at: iso(job.createdAt),
      user: job.user,
    };
  }

  private byGeneration(generation: number): ReadyWorker | undefined {
    const workers = this.core.connections.readyWorkers();
    return workers.find(({ attachment }) => attachment.state.generation === generation);
  }
}
