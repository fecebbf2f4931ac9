import type { DeclaredSchema } from "../../protocol/declared-schema.ts";
import type { EdgeFrame, RegisterFrame } from "../../protocol/worker-frames.ts";
import { isEnded } from "../../queue/job.ts";
import { readDeclared } from "../../schema/declared.ts";
import { isReady, type ReadyWorker, type WorkerConnection } from "../connections.ts";
import { ulidOf } from "../render.ts";
import type { SpaceCore } from "../space-core.ts";
import { workerConfigOf } from "../space-status.ts";
import { LEASE_S } from "./leases.ts";
import type { WorkerDispatch } from "./worker-dispatch.ts";

type RegisteredFrame = Extract<EdgeFrame, { type: "registered" }>;

/** Closes a worker's socket because its place is taken, or its schema can't be, after an error frame that says so. */
type RefuseWorker = (
  worker: WorkerConnection,
  code: "replaced" | "space_occupied" | "schema_invalid",
  message: string,
  now: number,
) => void;

/** Gives workers their places in the space, and workers that reconnect their attempts. */
export class Registration {
  private readonly core: SpaceCore;
  private readonly dispatcher: WorkerDispatch;
  private readonly refuseWorker: RefuseWorker;

  constructor(core: SpaceCore, dispatcher: WorkerDispatch, refuseWorker: RefuseWorker) {
    this.core = core;
    this.dispatcher = dispatcher;
    this.refuseWorker = refuseWorker;
  }

  /** Answers `register`, if there is a place for the worker. */
  register(worker: WorkerConnection, frame: RegisterFrame, now: number): void {
    const declared = frame.schema === undefined ? null : readDeclared(frame.schema);
    if (declared?.ok === false) {
      this.refuseWorker(worker, "schema_invalid", declared.message, now);
      return;
    }
    if (!this.admit(worker, frame.worker_id, now)) return;
    this.declare(declared?.schema ?? null);
    worker.attachment.state = {
      phase: "ready",
      workerId: frame.worker_id,
      name: frame.name ?? null,
      generation: this.core.spaces.nextGeneration(),
      offered: frame.concurrency,
      sendsFiles: frame.sends_files,
      capabilities: frame.capabilities,
      hasSchema: declared !== null,
      load: 0,
      refusedFrames: 0,
      isSilent: false,
      sending: null,
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

  /** The newest worker says what the space takes; one that says nothing, only if no other worker has said it (W35d). */
  private declare(schema: DeclaredSchema | null): void {
    const others = this.core.connections.readyWorkers();
    if (schema === null && others.some(({ attachment: { state } }) => state.hasSchema)) return;
    this.core.schema.declare(schema);
  }

  /** Makes room for a worker: its own older socket is closed, but while others have every place it is refused. */
  private admit(worker: WorkerConnection, workerId: string, now: number): boolean {
    const present = this.core.connections.readyWorkers();
    for (const other of present) {
      if (other.attachment.state.workerId !== workerId) continue;
      const message =
        `Another connection with the worker id ${workerId} took its place. ` +
        "If that is another process, give each an id of its own.";
      this.refuseWorker(other, "replaced", message, now);
    }
    const others = this.core.connections.readyWorkers();
    const { max_workers } = this.core.record.settings;
    if (others.length >= max_workers) {
      const serve =
        others.length === 1 ? "Another worker serves" : `${others.length} workers serve`;
      const message =
        `${serve} the space ${this.core.record.name}, and its setting \`max_workers\` is ${max_workers}. ` +
        `The place of one that is gone is free after ${LEASE_S} s.`;
      this.refuseWorker(worker, "space_occupied", message, now);
      return false;
    }
    if (others.length + 1 === max_workers) this.requeueAttemptsOfAbsent(workerId, now);
    return true;
  }

  /**
   * Once every place is taken, absent workers can't come back, so their jobs return to the queue (decision
   * 0010).
   */
  private requeueAttemptsOfAbsent(arrivingId: string, now: number): void {
    for (const job of this.core.jobs.runningJobs()) {
      if (job.detachedAt === null || job.worker.id === arrivingId) continue;
      this.dispatcher.apply(
        job.ulid,
        { type: "lose", reason: "Another worker took its place." },
        now,
      );
    }
  }

  /** The frame with which this worker's attempt has ended the job; `undefined` if it has not. */
  private endOf(ulid: string | null, attempt: number, workerId: string) {
    const job = ulid === null ? null : this.core.jobs.get(ulid);
    if (job === null || !isEnded(job) || job.attempts !== attempt || job.worker?.id !== workerId)
      return undefined;
    return job.status === "completed" ? "result" : "fail";
  }

  /** Gives a worker the attempts back that it still runs, with how many outputs of each arrived (decision 0008). */
  private resume(worker: ReadyWorker, frame: RegisterFrame, now: number) {
    const { workerId, generation } = worker.attachment.state;
    const resumed: RegisteredFrame["resumed"] = [];
    const dropped: RegisteredFrame["dropped"] = [];
    for (const { job_id, attempt } of frame.resume) {
      const ulid = ulidOf(this.core.record.name, job_id);
      const fence = { attempt, workerId, generation };
      // Any other job has ended or waits, and may be large.
      const reaction =
        ulid === null || !this.core.jobs.isRunning(ulid)
          ? null
          : this.core.jobs.apply(ulid, { type: "resume", fence }, now);
      if (reaction?.kind === "applied" && reaction.job.status === "processing") {
        const { job } = reaction;
        resumed.push({ ...this.dispatcher.movedDeadline(worker, job), outputs: job.live.outputs });
      } else dropped.push({ job_id, attempt, of: this.endOf(ulid, attempt, workerId) });
    }
    for (const job of this.core.jobs.runningJobs()) {
      if (job.worker.id !== workerId || job.generation === generation) continue;
      this.dispatcher.apply(
        job.ulid,
        { type: "lose", reason: "The worker reconnected without this job." },
        now,
      );
    }
    return { resumed, dropped };
  }
}
