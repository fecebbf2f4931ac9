import { type BackendJob, isOver, type JobEvent } from "../backend-job-model/backend-job.ts";
import { TOO_SLOW } from "../channel/flow.ts";
import { type Position, recover } from "../channel/position.ts";
import { eventTextsOf, type JobEventText, Throttle } from "../channel/throttle.ts";
import { logErrors } from "../objects/log-errors.ts";
import { startTimer } from "../objects/start-timer.ts";
import { iso } from "../protocol/iso.ts";
import type { BackendJobStore } from "../storage/backend-job-store.ts";
import type { BackendJobSocket, BackendJobSockets } from "./backend-job-sockets.ts";
import { currentOutput, eventFrame, gapFrame, pendingFrame, snapshotFrame } from "./render.ts";

/** What the sockets of a job are sent, and how fast. */
export class BackendJobFollowers {
  private readonly sockets: BackendJobSockets;
  private readonly log: BackendJobStore["log"];
  readonly throttle: Throttle<BackendJobSocket>;

  constructor(sockets: BackendJobSockets, log: BackendJobStore["log"]) {
    this.sockets = sockets;
    this.log = log;
    this.throttle = new Throttle({
      send: (socket, text) => sockets.sendText(socket, text),
      remember: (socket) => sockets.remember(socket),
      cut: (socket) => sockets.close(socket, "tooMany", TOO_SLOW),
      startTimer: startTimer,
    });
  }

  /** The first frames of a socket whose job nobody has made. */
  openPending(socket: BackendJobSocket, jobId: string, since: Position | null, now: number): void {
    const epoch = socket.attachment.pending?.epoch ?? "0";
    const { recovered } = recover(since, { epoch, last: 0, first: 1 });
    this.greet(socket, jobId, { epoch, offset: 0 }, recovered, now);
    if (!recovered) this.sockets.send(socket, pendingFrame(jobId, now));
  }

  /** The first frames of a socket: the state now, or what was missed; a job that is over ends it. */
  open(socket: BackendJobSocket, job: BackendJob, since: Position | null): void {
    const { id, epoch, offset: last, updatedAt } = job;
    const trimmedTo = this.log.trimmedTo(id);
    const recovery = recover(since, { epoch, last, first: trimmedTo + 1 });
    const offset = recovery.recovered ? recovery.after : last;
    this.greet(socket, id, { epoch, offset }, recovery.recovered, updatedAt);
    if (recovery.recovered) this.replay(socket, job, recovery.after);
    else this.sendSnapshot(socket, job, trimmedTo);
    if (isOver(job)) this.finish(socket);
  }

  /** After memory was lost, what was held back goes out. */
  resume(job: BackendJob): void {
    for (const kept of this.sockets.all()) {
      const sentTo = kept.attachment.throttled?.sentTo ?? null;
      if (sentTo === null) continue;
      const trimmedTo = this.log.trimmedTo(job.id);
      if (sentTo >= trimmedTo) this.replay(kept, job, sentTo);
      else this.sendSnapshot(kept, job, trimmedTo);
      this.throttle.caughtUp(kept);
    }
  }

  /** Tells every socket what was stored; the end of the job is its end. */
  deliver(job: BackendJob, events: readonly JobEvent[], now: number): void {
    const frames = events.map((event) => eventFrame(job, event));
    const texts = frames.map((frame) => JSON.stringify(frame));
    let told: JobEventText[] | undefined;
    for (const kept of this.sockets.all()) {
      logErrors(() => {
        if (kept.attachment.throttled === null)
          for (const text of texts) this.sockets.sendText(kept, text);
        else {
          told ??= eventTextsOf(frames, texts);
          this.throttle.send(kept, told, now);
        }
        if (isOver(job)) this.finish(kept);
      });
    }
  }

  remove(socket: BackendJobSocket): void {
    this.throttle.remove(socket);
  }

  private finish(socket: BackendJobSocket): void {
    this.remove(socket);
    if (this.sockets.has(socket)) this.sockets.close(socket, "done", "The job has ended.");
  }

  private greet(
    socket: BackendJobSocket,
    job_id: string,
    position: Position,
    recovered: boolean,
    at: number,
  ): void {
    const timestamp = iso(at);
    this.sockets.send(socket, { type: "connection", job_id, ...position, recovered, timestamp });
  }

  private replay(socket: BackendJobSocket, job: BackendJob, after: number): void {
    for (const event of this.log.after(job.id, after)) {
      this.sockets.send(socket, eventFrame(job, event));
    }
  }

  /** Pieces first, the state last: with it the snapshot is whole. */
  private sendSnapshot(socket: BackendJobSocket, job: BackendJob, trimmedTo: number): void {
    if (trimmedTo > 0) this.sockets.send(socket, gapFrame(job, trimmedTo));
    for (const piece of currentOutput(job, this.log.after(job.id, 0))) {
      this.sockets.send(socket, eventFrame(job, piece));
    }
    this.sockets.send(socket, snapshotFrame(job));
  }
}
