import type { Decoded } from "../protocol/codec.ts";
import type { FrameErrorCode } from "../protocol/codes.ts";
import { iso } from "../protocol/iso.ts";
import { LIMITS } from "../protocol/limits.ts";
import { WORKER_PROTOCOL, type WorkerFrame, workerFrame } from "../protocol/worker-frames.ts";
import { attemptDeadline } from "../queue/deadline.ts";
import type { Job, ProcessingJob } from "../queue/job.ts";
import type { Command, Effect } from "../queue/transition.ts";
import { type AttemptFrame, commandOf } from "./attempt-frames.ts";
import { framesOf, isReady, type ReadyWorker, type WorkerConnection } from "./connections.ts";
import { HEARTBEAT_S, LEASE_S, Leases } from "./leases.ts";
import { Registration } from "./registration.ts";
import { jobIdOf, ulidOf } from "./render.ts";
import type { SpaceCore } from "./space-core.ts";
import { servingWorkers, workerConfigOf } from "./space-status.ts";

/** A file address outlives the attempt's deadline by this, for clocks that differ. */
const FILE_URL_SLACK_MS = 60_000;

/** Everything the edge says to and hears from remote workers. */
export class WorkerHandler {
  private readonly core: SpaceCore;
  readonly leases: Leases;
  private readonly registration: Registration;

  constructor(core: SpaceCore) {
    this.core = core;
    this.leases = new Leases(core.connections);
    this.registration = new Registration({
      core,
      turnAway: (worker, code, message, now) =>
        this.dismissFor(worker, code, "occupied", message, now),
      apply: (ulid, command, now) => this.apply(ulid, command, now),
      sendCancel: (worker, job, reason) => this.tellCancel(worker, job, reason),
    });
  }

  sendHello(worker: WorkerConnection): void {
    this.core.sendBuffer.send(worker, {
      type: "hello",
      protocol: WORKER_PROTOCOL,
      space: this.core.record.name,
      heartbeat_s: HEARTBEAT_S,
      lease_s: LEASE_S,
      max_frame_bytes: LIMITS.frameBytes,
      batch: worker.attachment.batch,
    });
  }

  /** What a message says, frame by frame; it changes nothing yet. */
  decode(worker: WorkerConnection, raw: string | ArrayBuffer): Decoded<WorkerFrame>[] {
    return framesOf<WorkerFrame>(worker, raw, workerFrame);
  }

  onFrame(worker: WorkerConnection, decoded: Decoded<WorkerFrame>, now: number): void {
    if (worker.attachment.state.phase === "gone") return;
    if (!decoded.ok) {
      const close = decoded.code === "frame_too_large" ? "frameTooLarge" : "malformed";
      this.dismissFor(worker, decoded.code, close, decoded.message, now);
      return;
    }
    const { frame } = decoded;
    if (isReady(worker)) this.onReadyFrame(worker, frame, now);
    else if (frame.type === "register") this.registration.register(worker, frame, now);
    else {
      const message = "The first frame must be `register`.";
      this.dismissFor(worker, "not_registered", "malformed", message, now);
    }
  }

  /** Its socket is gone. A worker that said goodbye gives its attempts up; another may come back. */
  onClose(worker: WorkerConnection, saidGoodbye: boolean, now: number): void {
    this.leases.forget(worker);
    const generation = isReady(worker) ? worker.attachment.state.generation : null;
    worker.attachment.state = { phase: "gone" };
    if (generation === null) return;
    const command: Command = saidGoodbye
      ? { type: "lose", reason: "The worker left before it ended the job." }
      : { type: "detach" };
    for (const job of this.core.jobs.runningJobs()) {
      if (job.generation === generation) this.apply(job.ulid, command, now);
    }
  }

  /** Closes a worker's socket for a reason of the edge's own. */
  dismiss(worker: WorkerConnection, close: CloseName, reason: string, now: number): void {
    this.onClose(worker, false, now);
    this.core.sendBuffer.close(worker, close, reason);
  }

  /** The same, with the error that says why. */
  private dismissFor(
    worker: WorkerConnection,
    code: FrameErrorCode,
    close: CloseName,
    message: string,
    now: number,
  ): void {
    this.core.sendBuffer.error(worker, code, message);
    this.dismiss(worker, close, message, now);
  }

  /** A revoked token ends the connections that came with it. */
  dropToken(tokenId: string, now: number): void {
    for (const worker of this.core.connections.workers()) {
      if (worker.attachment.tokenId !== tokenId) continue;
      const message = "The token of this worker was revoked.";
      this.dismissFor(worker, "token_revoked", "notAuthenticated", message, now);
    }
  }

  anySilent(now: number): boolean {
    return this.core.connections
      .readyWorkers()
      .some((worker) => this.leases.hasExpired(worker, now));
  }

  /** A worker that fell silent while it was idle is found out before anything is built on it. */
  dropSilent(now: number): void {
    for (const worker of this.core.connections.readyWorkers()) {
      if (!this.leases.hasExpired(worker, now)) continue;
      this.dismiss(worker, "goingAway", `Nothing was heard for ${LEASE_S} s.`, now);
    }
  }

  /** Closes sockets that never registered. */
  tick(now: number): void {
    for (const worker of this.core.connections.workers()) {
      if (
        worker.attachment.state.phase === "new" &&
        worker.attachment.openedAt + LIMITS.registerMs <= now
      ) {
        const message = `\`register\` must come within ${LIMITS.registerMs / 1_000} s.`;
        this.dismissFor(worker, "register_timeout", "registerTimeout", message, now);
      }
    }
  }

  /** When a lease or a registration may next run out. */
  dueAt(): number[] {
    return this.core.connections.workers().flatMap((worker) => {
      if (worker.attachment.state.phase === "new")
        return [worker.attachment.openedAt + LIMITS.registerMs];
      if (!isReady(worker) || !this.holdsAttempts(worker)) return [];
      return [this.leases.endsAt(worker)];
    });
  }

  /** Asks the workers to take no new jobs on these connections, and gives them none. */
  drain(reason: string): void {
    for (const worker of this.core.connections.readyWorkers()) {
      this.note(worker, { phase: "draining" });
      this.core.sendBuffer.send(worker, { type: "drain", reason });
    }
  }

  announceSettings(): void {
    for (const worker of this.core.connections.readyWorkers()) {
      const config = workerConfigOf(this.core.record.settings, worker);
      this.core.sendBuffer.send(worker, { type: "config", config });
    }
  }

  dispatch(now: number): void {
    for (const job of this.core.jobs.dispatch(servingWorkers(this.core), now)) {
      const worker = this.byGeneration(job.generation);
      // Where the batch is lost after all, the worker runs what nobody was promised, and is told `stale`.
      if (worker) this.core.sendBuffer.sendAhead(worker, this.jobFrame(worker, job));
    }
  }

  /** Tells the workers what a transition asks to be told. */
  perform(job: Job, effects: Effect[]): void {
    for (const effect of effects) {
      if (effect.type !== "send_cancel" || job.status === "queued") continue;
      const worker = job.generation === null ? null : this.byGeneration(job.generation);
      if (worker) this.tellCancel(worker, job, effect.reason);
    }
  }

  private tellCancel(worker: ReadyWorker, { ulid, attempts }: Job, reason: string): void {
    const job_id = jobIdOf(this.core.record.name, ulid);
    this.core.sendBuffer.send(worker, { type: "cancel", job_id, attempt: attempts, reason });
  }

  private note(worker: ReadyWorker, change: Partial<ReadyWorker["attachment"]["state"]>): void {
    worker.attachment.state = { ...worker.attachment.state, ...change };
    this.core.connections.remember(worker);
  }

  private onReadyFrame(worker: ReadyWorker, frame: WorkerFrame, now: number): void {
    switch (frame.type) {
      case "register":
        this.core.sendBuffer.error(worker, "already_registered", "This connection is registered.");
        return;
      case "load":
        this.note(worker, { load: frame.load });
        return;
      case "drain":
        this.note(worker, { phase: "draining" });
        return;
      default:
        this.onAttemptFrame(worker, frame, now);
    }
  }

  private onAttemptFrame(worker: ReadyWorker, frame: AttemptFrame, now: number): void {
    const { job_id, attempt } = frame;
    const { workerId, generation } = worker.attachment.state;
    const ulid = ulidOf(this.core.record.name, job_id);
    const command = commandOf(frame, { attempt, workerId, generation });
    const reaction = ulid === null ? null : this.core.jobs.apply(ulid, command, now);
    if (reaction === null || reaction.kind === "stale" || reaction.kind === "unknown") {
      this.core.sendBuffer.send(worker, { type: "stale", job_id, attempt });
      return;
    }
    for (const effect of reaction.effects) {
      if (effect.type === "ack") {
        this.core.sendBuffer.send(worker, { type: "ack", job_id, attempt, of: effect.of });
      }
    }
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

  private apply(ulid: string, command: Command, now: number): void {
    const reaction = this.core.jobs.apply(ulid, command, now);
    if (reaction.kind === "applied") this.perform(reaction.job, reaction.effects);
  }

  private byGeneration(generation: number): ReadyWorker | undefined {
    const workers = this.core.connections.readyWorkers();
    return workers.find(({ attachment }) => attachment.state.generation === generation);
  }

  private holdsAttempts(worker: ReadyWorker): boolean {
    const { generation } = worker.attachment.state;
    return this.core.jobs.runningJobs().some((job) => job.generation === generation);
  }
}

type CloseName = Parameters<SpaceCore["sendBuffer"]["close"]>[1];
