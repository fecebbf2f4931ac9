import { isInParts } from "../../files/part-buffer.ts";
import { iso } from "../../protocol/iso.ts";
import { attemptDeadline } from "../../queue/deadline.ts";
import type { Job, ProcessingJob } from "../../queue/job.ts";
import type { Command, Effect } from "../../queue/transition.ts";
import type { ReadyWorker } from "../connections.ts";
import { jobIdOf } from "../render.ts";
import type { SpaceCore } from "../space-core.ts";
import { servingWorkers } from "../space-status.ts";
import { whileInputArrives } from "./transfers.ts";

/** A file's address stays valid this long after the attempt's deadline, because clocks differ; milliseconds. */
const FILE_URL_SLACK_MS = 60_000;

/** Hands jobs to workers, and sends workers the cancels that changes of jobs cause. */
export class WorkerDispatch {
  private readonly core: SpaceCore;
  private readonly runIfOpen: (step: (now: number) => void) => void;
  private timer: ReturnType<typeof setTimeout> | null = null;
  /** What lets each worker send files, as a part of their addresses. */
  private readonly grants = new WeakMap<ReadyWorker, string>();

  /** @param runIfOpen runs its argument in a batch of its own, unless the space was deleted meanwhile */
  constructor(core: SpaceCore, runIfOpen: (step: (now: number) => void) => void) {
    this.core = core;
    this.runIfOpen = runIfOpen;
  }

  /** Hands waiting jobs to workers with free slots; returns how many. */
  dispatch(now: number): number {
    const { max_running_per_user: bound } = this.core.record.settings;
    const { dispatched, isCut } = this.core.jobs.dispatch(servingWorkers(this.core), now, bound);
    if (isCut) this.goOnSoon();
    for (const job of dispatched) {
      const worker = this.byGeneration(job.generation);
      // If a crash loses the deferred job, the worker runs a job that was promised to nobody, and its frames are
      // answered `stale` (decision 0030).
      if (!worker) continue;
      this.core.sendBuffer.sendAhead(worker, this.jobFrame(worker, job));
      const heldUp = whileInputArrives(job);
      if (heldUp !== null) this.core.jobs.apply(job.ulid, { type: "hold_up", heldUp }, now);
    }
    return dispatched.length;
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

  /** Tells a worker the deadlines of its attempts, which have moved, and the new addresses of their files. */
  sendDeadlines(worker: ReadyWorker): void {
    for (const job of this.core.jobs.runningJobs()) {
      if (job.generation !== worker.attachment.state.generation) continue;
      const { job_id, attempt, ...moved } = this.movedDeadline(worker, job);
      this.core.sendBuffer.send(worker, { type: "deadline", job_id, attempt, ...moved });
    }
  }

  /** The deadline of an attempt as it is now, with new addresses of its files if the former ones expire earlier. */
  movedDeadline(worker: ReadyWorker, job: ProcessingJob) {
    const isMoved = job.awayMs > 0 && job.files.length > 0;
    return {
      job_id: jobIdOf(this.core.record.name, job.ulid),
      attempt: job.attempts,
      deadline: iso(attemptDeadline(job)),
      ...(isMoved ? { file_urls: this.fileUrls(worker, job) } : {}),
    };
  }

  /** Cancels the timer. */
  stop(): void {
    if (this.timer !== null) clearTimeout(this.timer);
  }

  /** Hands out the next jobs in a turn of their own, so that what others sent meanwhile comes between. */
  private goOnSoon(): void {
    this.timer ??= setTimeout(() => {
      this.timer = null;
      // Every batch ends by handing out jobs.
      this.runIfOpen(() => undefined);
    }, 0);
  }

  private jobFrame(worker: ReadyWorker, job: ProcessingJob) {
    const urls = this.fileUrls(worker, job);
    return {
      type: "job",
      job_id: jobIdOf(this.core.record.name, job.ulid),
      attempt: job.attempts,
      input: job.input,
      files: job.files.map(({ key: _, ...file }, index) => ({ ...file, url: urls[index] ?? "" })),
      ...(worker.attachment.state.sendsFiles ? { outputs: this.outputsOf(worker, job) } : {}),
      priority: job.priority,
      deadline: iso(attemptDeadline(job)),
      created_at: iso(job.createdAt),
      user: job.user,
    };
  }

  /** Signed addresses of a job's files, in their order, for as long as its attempt may run. */
  fileUrls({ attachment: { origin } }: ReadyWorker, job: ProcessingJob): string[] {
    const expiresAt = attemptDeadline(job) + FILE_URL_SLACK_MS;
    return job.files.map(({ key, size, sha256 }) =>
      this.core.fileUrl(origin, key, expiresAt, isInParts(size) ? sha256 : undefined),
    );
  }

  /**
   * Where the attempt may send files. What is signed is the worker, once for its connection: a signature for each job
   * would cost more than the rest of its frame (decision 0063).
   */
  private outputsOf(worker: ReadyWorker, { ulid, attempts }: ProcessingJob) {
    const { origin, state } = worker.attachment;
    let grant = this.grants.get(worker);
    if (grant === undefined) {
      grant = this.core.uploadGrant(state.workerId);
      this.grants.set(worker, grant);
    }
    const job = jobIdOf(this.core.record.name, ulid);
    const url = `${origin}/api/jobs/${job}/attempts/${attempts}/outputs/{name}?${grant}`;
    return { url, max_bytes: this.core.maxOutputBytes };
  }

  private byGeneration(generation: number): ReadyWorker | undefined {
    const workers = this.core.connections.readyWorkers();
    return workers.find(({ attachment }) => attachment.state.generation === generation);
  }
}
