import { transferMs } from "../../protocol/announcement.ts";
import { byteLength } from "../../protocol/codec.ts";
import { LIMITS } from "../../protocol/limits.ts";
import type { HeldUp, ProcessingJob } from "../../queue/job.ts";
import type { ReadyWorker, WorkerConnection } from "../connections.ts";
import type { SpaceCore } from "../space-core.ts";
import type { ReadFrame } from "./refused-frames.ts";

/** Knows which large frames are under way: until they have arrived, nothing else can come (decision 0046). */
export class Transfers {
  private readonly core: SpaceCore;

  constructor(core: SpaceCore) {
    this.core = core;
  }

  /** Call this for every frame of a worker: one may announce the next, any other shows that that one has arrived. */
  onFrame(worker: ReadyWorker, read: ReadFrame, now: number): void {
    const { state } = worker.attachment;
    if (read.ok && read.frame.type === "sending") {
      const { bytes } = read.frame;
      const sending = { bytes, until: now + transferMs(bytes) };
      this.remember(worker, sending);
      this.holdUp(state.generation, { ...sending, from: "worker" }, now);
    } else if (state.sending !== null && state.sending.bytes > 0) {
      // Kept as well: silence counts from now, which the job's row does not say.
      const arrived = { bytes: 0, until: now };
      this.remember(worker, arrived);
      this.holdUp(state.generation, { ...arrived, from: "worker" }, now);
    }
  }

  /** A worker that holds many attempts has a large `register`. Returns `false` if that was announced already. */
  awaitRegister(worker: WorkerConnection, bytes: number): boolean {
    const { state } = worker.attachment;
    if (state.phase !== "new" || state.isAnnounced) return false;
    worker.attachment.openedAt += transferMs(bytes);
    worker.attachment.state = { phase: "new", isAnnounced: true };
    this.core.connections.remember(worker);
    return true;
  }

  recover(now: number): void {
    for (const { attachment } of this.core.connections.readyWorkers()) {
      const { sending, generation } = attachment.state;
      if (sending !== null) this.holdUp(generation, { ...sending, from: "worker" }, now);
    }
    for (const job of this.core.jobs.runningJobs()) {
      const heldUp = whileInputArrives(job);
      if (heldUp !== null) this.core.jobs.apply(job.ulid, { type: "hold_up", heldUp }, now);
    }
  }

  /** The edge stood still for so long: what is under way has as much time more. The jobs know by themselves. */
  makeUpFor(awayMs: number): void {
    for (const worker of this.core.connections.readyWorkers()) {
      const { sending } = worker.attachment.state;
      if (sending === null || sending.bytes === 0) continue;
      this.remember(worker, { ...sending, until: sending.until + awayMs });
    }
  }

  private remember(worker: ReadyWorker, sending: ReadyWorker["attachment"]["state"]["sending"]) {
    worker.attachment.state = { ...worker.attachment.state, sending };
    this.core.connections.remember(worker);
  }

  private holdUp(generation: number, heldUp: HeldUp, now: number): void {
    for (const job of this.core.jobs.runningJobs()) {
      if (job.generation !== generation) continue;
      this.core.jobs.apply(job.ulid, { type: "hold_up", heldUp }, now);
    }
  }
}

/**
 * How long the `job` frame of a job with a large input may be under way. It matters only if the time to the first
 * output is limited, which spares measuring most inputs; `null` if it does not matter.
 */
export function whileInputArrives(job: ProcessingJob): HeldUp | null {
  if (job.limits.firstOutputTimeoutS === null || job.live.lastFrameAt !== null) return null;
  const bytes = byteLength(JSON.stringify(job.input));
  if (bytes <= LIMITS.unannouncedBytes) return null;
  return { until: job.dispatchedAt + transferMs(bytes), bytes, from: "edge" };
}
