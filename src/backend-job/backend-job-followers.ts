import { type BackendJob, type BackendJobEvent, isOver } from "../backend-job-model/backend-job.ts";
import { TOO_SLOW } from "../channel/flow.ts";
import { framesSince, openingFrames, type ReplayableLog } from "../channel/opening.ts";
import type { Position } from "../channel/position.ts";
import { Throttle } from "../channel/throttle.ts";
import { deliverEvents } from "../objects/deliver-events.ts";
import { startTimer } from "../objects/start-timer.ts";
import { iso } from "../protocol/iso.ts";
import type { BackendJobStore } from "../storage/backend-job-store.ts";
import type { BackendJobSocket, BackendJobSockets } from "./backend-job-sockets.ts";
import { currentOutput, eventFrame, gapFrame, pendingFrame, snapshotFrame } from "./render.ts";

/** Sends a job's events to its sockets, slower to those that are throttled (decisions 0020 and 0025). */
export class BackendJobFollowers {
  private readonly sockets: BackendJobSockets;
  private readonly log: BackendJobStore["log"];
  readonly throttle: Throttle<BackendJobSocket>;

  /** @param mayRead whether a socket may be told of the job now: what is held back for it may come too late */
  constructor(
    sockets: BackendJobSockets,
    log: BackendJobStore["log"],
    mayRead: (socket: BackendJobSocket) => boolean,
  ) {
    this.sockets = sockets;
    this.log = log;
    this.throttle = new Throttle({
      send: (socket, text) => mayRead(socket) && sockets.sendText(socket, text),
      remember: (socket) => sockets.remember(socket),
      cut: (socket) => sockets.close(socket, "tooMany", TOO_SLOW),
      startTimer,
    });
  }

  /** Sends the first frames to a socket that waits for a job which does not exist yet. */
  openPending(socket: BackendJobSocket, jobId: string, since: Position | null, now: number): void {
    const log: ReplayableLog = {
      address: { job_id: jobId },
      epoch: socket.attachment.pending?.epoch ?? "0",
      last: 0,
      trimmedTo: 0,
      timestamp: iso(now),
      eventsAfter: () => [],
      snapshot: () => [pendingFrame(jobId, now)],
    };
    this.sendAll(socket, openingFrames(log, since));
  }

  /**
   * Sends the first frames: `connection`, then the events after `since`, or a snapshot if they are not all stored.
   * If the job has ended, the socket is closed after them.
   */
  open(socket: BackendJobSocket, job: BackendJob, since: Position | null): void {
    this.sendAll(socket, openingFrames(this.logOf(job), since));
    if (isOver(job)) this.finish(socket);
  }

  /** After memory was lost, sends the events that a throttle had held back. */
  resume(job: BackendJob): void {
    for (const socket of this.sockets.all()) {
      const sentTo = socket.attachment.throttled?.sentTo ?? null;
      if (sentTo === null) continue;
      this.sendAll(socket, framesSince(this.logOf(job), sentTo));
      this.throttle.caughtUp(socket);
    }
  }

  /** Sends stored events to every socket. If the job has ended, its sockets are closed after them. */
  deliver(job: BackendJob, events: readonly BackendJobEvent[], now: number): void {
    const delivery = {
      throttle: this.throttle,
      sendText: (socket: BackendJobSocket, text: string) => this.sockets.sendText(socket, text),
      onEnd: isOver(job) ? (socket: BackendJobSocket) => this.finish(socket) : null,
    };
    const frames = events.map((event) => eventFrame(job, event));
    deliverEvents(this.sockets.all(), frames, delivery, now);
  }

  /** Forgets a socket that has closed. */
  remove(socket: BackendJobSocket): void {
    this.throttle.remove(socket);
  }

  private finish(socket: BackendJobSocket): void {
    this.remove(socket);
    if (this.sockets.has(socket)) this.sockets.close(socket, "done", "The job has ended.");
  }

  private sendAll(socket: BackendJobSocket, frames: readonly object[]): void {
    for (const frame of frames) this.sockets.send(socket, frame);
  }

  private logOf(job: BackendJob): ReplayableLog {
    const { id, epoch, offset: last, updatedAt } = job;
    const framesAfter = (offset: number) =>
      this.log.after(id, offset).map((event) => eventFrame(job, event));
    const trimmedTo = this.log.trimmedTo(id);
    return {
      address: { job_id: id },
      epoch,
      last,
      trimmedTo,
      timestamp: iso(updatedAt),
      eventsAfter: framesAfter,
      snapshot: () => [
        ...(trimmedTo > 0 ? [gapFrame(job, trimmedTo)] : []),
        ...currentOutput(job, this.log.after(id, 0)).map((piece) => eventFrame(job, piece)),
        snapshotFrame(job),
      ],
    };
  }
}
