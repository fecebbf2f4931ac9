import { Coalescer, type Passed, type Weight } from "../channel/coalesce.ts";
import { afterAck, afterSending, isBehind } from "../channel/flow.ts";
import { type Position, recover } from "../channel/position.ts";
import { byteLength } from "../protocol/codec.ts";
import { quietly } from "../space/core.ts";
import type { BackendJobStore } from "../storage/backend-job-store.ts";
import { type BackendJob, isOver, type JobEvent } from "./backend-job.ts";
import type { JobSocket, JobSockets } from "./job-sockets.ts";
import { currentOutput, eventFrame, gapFrame, iso, pendingFrame, snapshotFrame } from "./render.ts";

/** An event of the log as it goes to many sockets. */
interface Told {
  offset: number;
  weight: Weight;
  text: string;
  bytes: number;
}

const TOO_SLOW = "too slow; resume with since";

/** What the sockets of a job are sent, and how fast. */
export class JobFeed {
  private readonly sockets: JobSockets;
  private readonly log: BackendJobStore["log"];
  private readonly coalescers = new WeakMap<JobSocket, Coalescer<Told>>();
  private readonly holding = new Set<JobSocket>();
  private timer: { at: number; handle: ReturnType<typeof setTimeout> } | null = null;

  constructor(sockets: JobSockets, log: BackendJobStore["log"]) {
    this.sockets = sockets;
    this.log = log;
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
      const { sentTo } = one.at;
      if (sentTo === null) continue;
      const trimmedTo = this.log.trimmedTo(job.id);
      if (sentTo >= trimmedTo) this.replay(one, job, sentTo);
      else this.sendSnapshot(one, job, trimmedTo);
      one.at.sentTo = null;
      this.sockets.remember(one);
    }
  }

  /** Tells every socket what was stored; the end of the job is its end. */
  deliver(job: BackendJob, events: readonly JobEvent[], now: number): void {
    const told = events.map((event) => toldOf(job, event));
    for (const one of this.sockets.all()) {
      quietly(() => {
        const coalescer = this.coalescerOf(one);
        for (const frame of told) this.pass(one, coalescer.offer(frame, frame.weight, now));
        if (isOver(job)) this.finish(one);
        else this.note(one, coalescer);
      });
    }
    this.schedule(now);
  }

  acknowledged(one: JobSocket, offset: number): void {
    if (one.at.flow === null) return;
    one.at.flow = afterAck(one.at.flow, offset);
    this.sockets.remember(one);
  }

  left(one: JobSocket): void {
    this.holding.delete(one);
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

  /** What a socket asked for when it opened is not counted; what comes live is. */
  private pass(one: JobSocket, passed: readonly Passed<Told>[]): void {
    for (const { event, skipped } of passed) {
      if (!this.sockets.has(one)) return;
      const { flow } = one.at;
      if (flow !== null && isBehind(flow)) {
        this.left(one);
        this.sockets.close(one, "tooMany", TOO_SLOW);
        return;
      }
      const text = skipped > 0 ? withSkipped(event.text, skipped) : event.text;
      this.sockets.sendText(one, text);
      if (flow === null) continue;
      one.at.flow = afterSending(flow, event.offset, event.bytes);
      this.sockets.remember(one);
    }
  }

  /** What a socket is still to be sent is kept with it, so that it outlives this memory. */
  private note(one: JobSocket, { sentTo }: Coalescer<Told>): void {
    if (sentTo === null || !this.sockets.has(one)) this.holding.delete(one);
    else this.holding.add(one);
    if (one.at.sentTo === sentTo || !this.sockets.has(one)) return;
    one.at.sentTo = sentTo;
    this.sockets.remember(one);
  }

  /** One timer serves all; it rings when the first of them is due. */
  private schedule(now: number): void {
    let due = Number.POSITIVE_INFINITY;
    for (const one of this.holding) {
      due = Math.min(due, this.coalescerOf(one).dueAt ?? Number.POSITIVE_INFINITY);
    }
    if (due === Number.POSITIVE_INFINITY || (this.timer && this.timer.at <= due)) return;
    if (this.timer) clearTimeout(this.timer.handle);
    const handle = setTimeout(() => this.ring(Date.now()), Math.max(1, due - now));
    this.timer = { at: due, handle };
  }

  private ring(now: number): void {
    this.timer = null;
    for (const one of this.holding) {
      const coalescer = this.coalescerOf(one);
      this.pass(one, coalescer.release(now));
      this.note(one, coalescer);
    }
    this.schedule(now);
  }

  private coalescerOf(one: JobSocket): Coalescer<Told> {
    const known = this.coalescers.get(one) ?? new Coalescer<Told>(one.at.intervalMs);
    this.coalescers.set(one, known);
    return known;
  }
}

function toldOf(job: BackendJob, event: JobEvent): Told {
  const text = JSON.stringify(eventFrame(job, event));
  const weight = { progress: "state", output: "kept", end: "last" } as const;
  return { offset: event.offset, weight: weight[event.kind], text, bytes: byteLength(text) };
}

/** The text is shared by many sockets: what is one socket's own is put at its end. */
function withSkipped(text: string, skipped: number): string {
  return `${text.slice(0, -1)},"skipped":${skipped}}`;
}
