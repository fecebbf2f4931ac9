import { TOO_SLOW } from "../channel/flow.ts";
import { type Position, recover } from "../channel/position.ts";
import { Throttle, type Told, toldOf } from "../channel/throttle.ts";
import { quietly, ringIn } from "../space/core.ts";
import { iso } from "../space/render.ts";
import type { BackendJobStore } from "../storage/backend-job-store.ts";
import { type BackendJob, isOver, type JobEvent } from "./backend-job.ts";
import type { JobSocket, JobSockets } from "./job-sockets.ts";
import { currentOutput, eventFrame, gapFrame, pendingFrame, snapshotFrame } from "./render.ts";

/** What the sockets of a job are sent, and how fast. */
export class JobFeed {
  private readonly sockets: JobSockets;
  private readonly log: BackendJobStore["log"];
  readonly throttle: Throttle<JobSocket>;

  constructor(sockets: JobSockets, log: BackendJobStore["log"]) {
    this.sockets = sockets;
    this.log = log;
    this.throttle = new Throttle({
      send: (one, text) => sockets.sendText(one, text),
      remember: (one) => sockets.remember(one),
      cut: (one) => sockets.close(one, "tooMany", TOO_SLOW),
      ringIn,
    });
  }

  /** The first frames of a socket whose job nobody has made. */
  openPending(one: JobSocket, jobId: string, since: Position | null, now: number): void {
    const epoch = one.at.pending?.epoch ?? "0";
    const { recovered } = recover(since, { epoch, last: 0, first: 1 });
    this.greet(one, jobId, { epoch, offset: 0 }, recovered, now);
    if (!recovered) this.sockets.send(one, pendingFrame(jobId, now));
  }

  /** The first frames of a socket: the state now, or what was missed; a job that is over ends it. */
  open(one: JobSocket, job: BackendJob, since: Position | null): void {
    const { id, epoch, offset: last, updatedAt } = job;
    const trimmedTo = this.log.trimmedTo(id);
    const recovery = recover(since, { epoch, last, first: trimmedTo + 1 });
    const offset = recovery.recovered ? recovery.after : last;
    this.greet(one, id, { epoch, offset }, recovery.recovered, updatedAt);
    if (recovery.recovered) this.replay(one, job, recovery.after);
    else this.sendSnapshot(one, job, trimmedTo);
    if (isOver(job)) this.finish(one);
  }

  /** After memory was lost, what was held back goes out. */
  wake(job: BackendJob): void {
    for (const one of this.sockets.all()) {
      const sentTo = one.at.throttled?.sentTo ?? null;
      if (sentTo === null) continue;
      const trimmedTo = this.log.trimmedTo(job.id);
      if (sentTo >= trimmedTo) this.replay(one, job, sentTo);
      else this.sendSnapshot(one, job, trimmedTo);
      this.throttle.caughtUp(one);
    }
  }

  /** Tells every socket what was stored; the end of the job is its end. */
  deliver(job: BackendJob, events: readonly JobEvent[], now: number): void {
    const frames = events.map((event) => eventFrame(job, event));
    const texts = frames.map((frame) => JSON.stringify(frame));
    let told: Told[] | undefined;
    for (const one of this.sockets.all()) {
      quietly(() => {
        if (one.at.throttled === null) for (const text of texts) this.sockets.sendText(one, text);
        else {
          told ??= toldOf(frames, texts);
          this.throttle.tell(one, told, now);
        }
        if (isOver(job)) this.finish(one);
      });
    }
  }

  left(one: JobSocket): void {
    this.throttle.left(one);
  }

  private finish(one: JobSocket): void {
    this.left(one);
    if (this.sockets.has(one)) this.sockets.close(one, "done", "The job has ended.");
  }

  private greet(
    one: JobSocket,
    job_id: string,
    position: Position,
    recovered: boolean,
    at: number,
  ): void {
    const timestamp = iso(at);
    this.sockets.send(one, { type: "connection", job_id, ...position, recovered, timestamp });
  }

  private replay(one: JobSocket, job: BackendJob, after: number): void {
    for (const event of this.log.after(job.id, after)) {
      this.sockets.send(one, eventFrame(job, event));
    }
  }

  /** Pieces first, the state last: with it the snapshot is whole. */
  private sendSnapshot(one: JobSocket, job: BackendJob, trimmedTo: number): void {
    if (trimmedTo > 0) this.sockets.send(one, gapFrame(job, trimmedTo));
    for (const piece of currentOutput(job, this.log.after(job.id, 0))) {
      this.sockets.send(one, eventFrame(job, piece));
    }
    this.sockets.send(one, snapshotFrame(job));
  }
}
