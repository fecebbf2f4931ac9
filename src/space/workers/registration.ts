import type { RegisterFrame } from "../../protocol/worker-frames.ts";
import { isReady, type ReadyWorker, type WorkerConnection } from "../connections.ts";
import { ulidOf } from "../render.ts";
import type { SpaceCore } from "../space-core.ts";
import { workerConfigOf } from "../space-status.ts";
import type { WorkerDispatch } from "./worker-dispatch.ts";

/** Closes a worker's socket with the error that says why: its place is taken. */
type TurnAway = (
  worker: WorkerConnection,
  code: "replaced" | "space_occupied",
  message: string,
  now: number,
) => void;

/** Gives workers their places in the space, and those that come back their attempts. */
export class Registration {
  private readonly core: SpaceCore;
  private readonly dispatcher: WorkerDispatch;
  private readonly turnAway: TurnAway;

  constructor(core: SpaceCore, dispatcher: WorkerDispatch, turnAway: TurnAway) {
    this.core = core;
    this.dispatcher = dispatcher;
    this.turnAway = turnAway;
  }

  register(worker: WorkerConnection, frame: RegisterFrame, now: number): void {
    if (!this.admit(worker, frame.worker_id, now)) return;
    worker.attachment.state = {
      phase: "ready",
      workerId: frame.worker_id,
      name: frame.name ?? null,
      generation: this.core.spaces.nextGeneration(),
      offered: frame.concurrency,
      capabilities: frame.capabilities,
      load: 0,
    };
    this.core.connections.remember(worker);
    if (!isReady(worker)) return;
    const attempts = this.resume(worker, frame, now);
    const { generation } = worker.attachment.state;
    const config = workerConfigOf(this.core.record.settings, worker);
    this.core.sendBuffer.send(worker, { type: "registered", generation, config, ...attempts });
    for (const job of this.core.jobs.runningJobs()) {
      if (job.generation !== generation || job.cancel === null) continue;
      this.dispatcher.sendCancel(worker, job, job.cancel.reason);
    }
  }

  /** One place per worker: an old socket of the same worker gives way, a stranger is refused. */
  private admit(worker: WorkerConnection, workerId: string, now: number): boolean {
    const present = this.core.connections.readyWorkers();
    for (const other of present) {
      if (other.attachment.state.workerId !== workerId) continue;
      const message = "Another connection of this worker took its place.";
      this.turnAway(other, "replaced", message, now);
    }
    const others = this.core.connections.readyWorkers();
    const { max_workers } = this.core.record.settings;
    if (others.length >= max_workers) {
      const message = `Another worker serves the space ${this.core.record.name}; it takes ${max_workers}.`;
      this.turnAway(worker, "space_occupied", message, now);
      return false;
    }
    if (others.length + 1 === max_workers) this.giveUpAbsent(workerId, now);
    return true;
  }

  /** With every place taken, a worker that is away can't come back: its attempts are free. */
  private giveUpAbsent(arriving: string, now: number): void {
    for (const job of this.core.jobs.runningJobs()) {
      if (job.detachedAt === null || job.worker.id === arriving) continue;
      this.dispatcher.apply(
        job.ulid,
        { type: "lose", reason: "Another worker took its place." },
        now,
      );
    }
  }

  private resume(worker: ReadyWorker, frame: RegisterFrame, now: number) {
    const { workerId, generation } = worker.attachment.state;
    const resumed: { job_id: string; attempt: number; outputs: number }[] = [];
    const dropped: { job_id: string; attempt: number }[] = [];
    for (const { job_id, attempt } of frame.resume) {
      const ulid = ulidOf(this.core.record.name, job_id);
      const fence = { attempt, workerId, generation };
      const reaction =
        ulid === null ? null : this.core.jobs.apply(ulid, { type: "resume", fence }, now);
      if (reaction?.kind === "applied" && reaction.job.status === "processing") {
        resumed.push({ job_id, attempt, outputs: reaction.job.live.outputs });
      } else dropped.push({ job_id, attempt });
    }
    for (const job of this.core.jobs.runningJobs()) {
      if (job.worker.id !== workerId || job.generation === generation) continue;
      this.dispatcher.apply(
        job.ulid,
        { type: "lose", reason: "The worker came back without it." },
        now,
      );
    }
    return { resumed, dropped };
  }
}
