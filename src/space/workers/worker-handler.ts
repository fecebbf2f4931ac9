import { afterMalformed } from "../../objects/malformed-frames.ts";
import type { FrameErrorCode } from "../../protocol/codes.ts";
import { LIMITS } from "../../protocol/limits.ts";
import { WORKER_PROTOCOL, type WorkerFrame } from "../../protocol/worker-frames.ts";
import type { Command } from "../../queue/transition.ts";
import { isReady, type ReadyWorker, type WorkerConnection } from "../connections.ts";
import { ulidOf } from "../render.ts";
import type { SpaceCore } from "../space-core.ts";
import { workerConfigOf } from "../space-status.ts";
import { type AttemptFrame, commandOf } from "./attempt-frames.ts";
import { HEARTBEAT_S, LEASE_S } from "./leases.ts";
import {
  type AttemptRef,
  failureMessage,
  type ReadFrame,
  type RefusedFrame,
  readWorkerFrames,
} from "./refused-frames.ts";
import { Registration } from "./registration.ts";
import { Transfers } from "./transfers.ts";
import type { WorkerDispatch } from "./worker-dispatch.ts";

/** Handles the frames of remote workers, and the opening and closing of their sockets. */
export class WorkerHandler {
  private readonly core: SpaceCore;
  private readonly dispatcher: WorkerDispatch;
  private readonly registration: Registration;
  private readonly transfers: Transfers;

  constructor(core: SpaceCore, dispatcher: WorkerDispatch) {
    this.core = core;
    this.dispatcher = dispatcher;
    this.transfers = new Transfers(core);
    this.registration = new Registration(core, dispatcher, (worker, code, message, now) =>
      this.dismissWithError(
        worker,
        code,
        code === "schema_invalid" ? "malformed" : "occupied",
        message,
        now,
      ),
    );
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
      unannounced_bytes: LIMITS.unannouncedBytes,
      workers: this.core.connections.readyWorkers().length,
      max_workers: this.core.record.settings.max_workers,
    });
  }

  /** Decodes the frames of a message, without handling them yet. */
  decode(worker: WorkerConnection, raw: string | ArrayBuffer): ReadFrame[] {
    return readWorkerFrames(raw, worker.attachment.batch);
  }

  onFrame(worker: WorkerConnection, read: ReadFrame, now: number): void {
    if (worker.attachment.state.phase === "gone") return;
    if (isReady(worker)) this.transfers.onFrame(worker, read, now);
    if (!read.ok) {
      this.onRefusedFrame(worker, read, now);
      return;
    }
    const { frame } = read;
    if (isReady(worker)) this.onReadyFrame(worker, frame, now);
    else if (frame.type === "register") this.registration.register(worker, frame, now);
    else if (frame.type !== "sending" || !this.transfers.awaitRegister(worker, frame.bytes)) {
      const message = "The first frame must be `register`.";
      this.dismissWithError(worker, "not_registered", "malformed", message, now);
    }
  }

  /**
   * Ends or detaches a worker's attempts when its socket has closed. One that closed with 1000 gets no grace
   * (decision 0010).
   */
  onClose(worker: WorkerConnection, saidGoodbye: boolean, now: number): void {
    this.core.leases.forget(worker);
    const generation = isReady(worker) ? worker.attachment.state.generation : null;
    worker.attachment.state = { phase: "gone" };
    if (generation === null) return;
    const command: Command = saidGoodbye
      ? { type: "lose", reason: "The worker left before it ended the job." }
      : { type: "detach" };
    for (const job of this.core.jobs.runningJobs()) {
      if (job.generation === generation) this.dispatcher.apply(job.ulid, command, now);
    }
  }

  /** Closes a worker's socket on the edge's initiative. */
  dismiss(worker: WorkerConnection, close: CloseName, reason: string, now: number): void {
    this.onClose(worker, false, now);
    this.core.sendBuffer.close(worker, close, reason);
  }

  /** Closes the socket of a worker that sends too many frames. Its attempts wait for it (W24). */
  refuseFlood(worker: WorkerConnection, message: string, now: number): void {
    if (worker.attachment.state.phase === "gone") return;
    this.dismissWithError(worker, "rate_limited", "tooMany", message, now);
  }

  /** Sends an error frame, then closes the worker's socket. */
  private dismissWithError(
    worker: WorkerConnection,
    code: FrameErrorCode,
    close: CloseName,
    message: string,
    now: number,
  ): void {
    this.core.sendBuffer.error(worker, code, message);
    this.dismiss(worker, close, message, now);
  }

  /** Closes the sockets that came with a token that is now revoked. */
  dropToken(tokenId: string, now: number): void {
    for (const worker of this.core.connections.workers()) {
      if (worker.attachment.tokenId !== tokenId) continue;
      const message =
        "The token of this worker was revoked: ask the operator of the edge for another one.";
      this.dismissWithError(worker, "token_revoked", "notAuthenticated", message, now);
    }
  }

  /** Call this when the object starts: what was under way then is remembered by the sockets. */
  recover(now: number): void {
    this.transfers.recover(now);
  }

  /**
   * The edge stood still for so long: every worker has its whole lease again, and as much time more for what it had to
   * send, and is told until when its attempts have time now.
   */
  makeUpFor(awayMs: number, now: number): void {
    const { connections, leases } = this.core;
    leases.renewAll(now);
    this.transfers.makeUpFor(awayMs);
    for (const worker of connections.workers()) {
      if (isReady(worker)) this.dispatcher.sendDeadlines(worker);
      if (worker.attachment.state.phase !== "new") continue;
      worker.attachment.openedAt += awayMs;
      connections.remember(worker);
    }
  }

  /** Whether `checkLeases` would change anything. */
  needsCheck(now: number): boolean {
    return this.core.connections.readyWorkers().some((worker) => {
      const silentS = this.core.leases.silenceOf(worker, now);
      const { isSilent } = worker.attachment.state;
      return (silentS !== null) !== isSilent || (silentS !== null && silentS >= LEASE_S);
    });
  }

  /**
   * Disconnects workers whose lease has expired, and marks those that are silent. Call it before jobs are handed out
   * or the status is reported, so that no dead worker counts (decision 0010).
   */
  checkLeases(now: number): void {
    for (const worker of this.core.connections.readyWorkers()) {
      const silentS = this.core.leases.silenceOf(worker, now);
      if (silentS !== null && silentS >= LEASE_S) {
        this.dismiss(worker, "goingAway", `No frame and no ping came for ${LEASE_S} s.`, now);
        continue;
      }
      const isSilent = silentS !== null;
      if (isSilent !== worker.attachment.state.isSilent) this.updateState(worker, { isSilent });
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
        this.dismissWithError(worker, "register_timeout", "registerTimeout", message, now);
      }
    }
  }

  /**
   * When something is due for the workers, milliseconds since 1970: the time for `register`, the leases of those that
   * have attempts, and while somebody watches the space, a look at each: at the end
   * of its lease, or earlier if somebody may wait for it (decision 0036).
   */
  dueAt(now: number): number[] {
    const { connections, jobs, leases } = this.core;
    const { isWatched } = connections;
    const isBusy = isWatched && (jobs.queue.size > 0 || jobs.runningJobs().length > 0);
    return connections.workers().flatMap((worker) => {
      if (worker.attachment.state.phase === "new")
        return [worker.attachment.openedAt + LIMITS.registerMs];
      if (!isReady(worker)) return [];
      if (isBusy || (isWatched && worker.attachment.state.isSilent))
        return [leases.nextCheckAt(worker, now)];
      return isWatched || this.hasAttempts(worker) ? [leases.endsAt(worker)] : [];
    });
  }

  /** When the first lease expires, milliseconds since 1970; `null` without a worker. */
  firstLeaseEnd(): number | null {
    const ends = this.core.connections
      .readyWorkers()
      .map((worker) => this.core.leases.endsAt(worker));
    return ends.length === 0 ? null : Math.min(...ends);
  }

  /** Asks the workers to finish what they have. They get no new jobs on these connections. */
  drain(reason: string): void {
    for (const worker of this.core.connections.readyWorkers()) {
      this.updateState(worker, { phase: "draining" });
      this.core.sendBuffer.send(worker, { type: "drain", reason });
    }
  }

  /** Sends the workers the settings that concern them, as `config`. */
  sendSettings(): void {
    for (const worker of this.core.connections.readyWorkers()) {
      const config = workerConfigOf(this.core.record.settings, worker);
      this.core.sendBuffer.send(worker, { type: "config", config });
    }
  }

  private updateState(
    worker: ReadyWorker,
    change: Partial<ReadyWorker["attachment"]["state"]>,
  ): void {
    worker.attachment.state = { ...worker.attachment.state, ...change };
    this.core.connections.remember(worker);
  }

  private onReadyFrame(worker: ReadyWorker, frame: WorkerFrame, now: number): void {
    switch (frame.type) {
      case "register":
        this.core.sendBuffer.error(
          worker,
          "already_registered",
          "This connection is registered already: the second `register` changed nothing.",
        );
        return;
      case "sending":
        return;
      case "load":
        this.updateState(worker, { load: frame.load });
        return;
      case "drain":
        this.updateState(worker, { phase: "draining" });
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
    if (reaction.kind === "no_such_file") {
      this.onMissingFile(worker, frame, reaction.name, now);
      return;
    }
    for (const effect of reaction.effects) {
      if (effect.type === "ack") {
        this.core.sendBuffer.send(worker, { type: "ack", job_id, attempt, of: effect.of });
      }
    }
  }

  /** An `output` that names no file is left out; a `result` would promise a file that nobody can fetch. */
  private onMissingFile(worker: ReadyWorker, frame: AttemptFrame, name: string, now: number): void {
    const { type, job_id, attempt } = frame;
    const code = "no_such_file";
    const message = `The \`${type}\` names the file ${JSON.stringify(name)}, which this attempt has not sent.`;
    if (type === "result") this.failAttempt(worker, { job_id, attempt }, { code, message }, now);
    else this.core.sendBuffer.error(worker, code, message, { job_id, attempt, file: name });
  }

  /** A frame that can't be taken ends the attempt that it is about, or else the connection (decision 0034). */
  private onRefusedFrame(worker: WorkerConnection, refused: RefusedFrame, now: number): void {
    if (isReady(worker) && refused.about !== null) {
      const message = failureMessage(refused);
      this.failAttempt(worker, refused.about, { code: refused.code, message }, now);
      return;
    }
    const { close } = afterMalformed(refused, 0, 1);
    if (close) this.dismissWithError(worker, refused.code, close.as, close.reason, now);
  }

  /** Fails an attempt for good, if it runs on this connection: the next worker would send the same frame. */
  private failAttempt(
    worker: ReadyWorker,
    about: AttemptRef,
    { code, message }: { code: FrameErrorCode; message: string },
    now: number,
  ): void {
    const { workerId, generation, refusedFrames } = worker.attachment.state;
    const fence = { attempt: about.attempt, workerId, generation };
    const ulid = ulidOf(this.core.record.name, about.job_id);
    const fail = { type: "fail", fence, code: "worker_error", message, retryable: false } as const;
    const reaction = ulid === null ? null : this.core.jobs.apply(ulid, fail, now);
    const count = refusedFrames + 1;
    this.updateState(worker, { refusedFrames: count });
    if (reaction?.kind === "applied") {
      const subject = { ...about, refused_frames: count };
      const ended = `This ended attempt ${about.attempt} of the job ${about.job_id}.`;
      this.core.sendBuffer.error(worker, code, `${message} ${ended}`, subject);
    }
    // Makes the worker stop the attempt and forget it; it gets no `ack`, as nothing of it was taken.
    this.core.sendBuffer.send(worker, { type: "stale", ...about });
  }

  private hasAttempts(worker: ReadyWorker): boolean {
    const { generation } = worker.attachment.state;
    return this.core.jobs.runningJobs().some((job) => job.generation === generation);
  }
}

type CloseName = Parameters<SpaceCore["sendBuffer"]["close"]>[1];
