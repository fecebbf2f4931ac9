import { tagOf } from "../objects/socket-tag.ts";
import { BackendJobStore } from "../storage/backend-job-store.ts";
import type { Sql } from "../storage/sql.ts";
import { BackendJobEngine } from "./backend-job-engine.ts";
import { BackendJobHandler } from "./backend-job-handler.ts";
import { type BackendJobSocket, BackendJobSockets } from "./backend-job-sockets.ts";
import { madeText } from "./made-frame.ts";

interface WaitingJobsDeps {
  ctx: DurableObjectState;
  sql: Sql;
  /** Makes the object call `tick` at this time, milliseconds since 1970; `null` does nothing. */
  arm: (at: number | null) => void;
}

/** A job that nobody has made yet, and the sockets that wait for it. */
interface WaitingJob {
  sockets: BackendJobSockets;
  engine: BackendJobEngine;
  handler: BackendJobHandler;
}

/** The jobs that don't exist yet and that somebody follows already (B8). Nothing of them is stored. */
export class WaitingJobs {
  private readonly deps: WaitingJobsDeps;
  private readonly jobs = new Map<string, WaitingJob>();

  constructor(deps: WaitingJobsDeps) {
    this.deps = deps;
    for (const socket of deps.ctx.getWebSockets()) {
      const id = tagOf(deps.ctx, socket);
      if (id !== null) this.findOrMake(id);
    }
  }

  get ids(): string[] {
    return [...this.jobs.keys()];
  }

  find(id: string): WaitingJob | null {
    return this.jobs.get(id) ?? null;
  }

  findOrMake(id: string): WaitingJob {
    const known = this.jobs.get(id);
    if (known) return known;
    const { ctx, sql, arm } = this.deps;
    const sockets = new BackendJobSockets(ctx, id);
    const crash = (error: unknown) => ctx.abort(String(error));
    const store = new BackendJobStore(sql);
    // Of this job alone: with thousands of others, looking at all of them for each frame would take long.
    const onChange = () => arm(made.handler.dueAt());
    const engine = new BackendJobEngine({ id, sql, store, sockets, crash, onChange });
    const made = { sockets, engine, handler: new BackendJobHandler(id, sockets, engine) };
    this.jobs.set(id, made);
    return made;
  }

  /** The job that a socket waits for, and the socket; `null` if it was closed here. */
  of(socket: WebSocket): { job: WaitingJob; known: BackendJobSocket } | null {
    const id = tagOf(this.deps.ctx, socket);
    const job = id === null ? null : this.find(id);
    const known = job?.sockets.of(socket) ?? null;
    return job && known && { job, known };
  }

  /** Tells the sockets that wait for a job that it was made. */
  announce(id: string): void {
    const job = this.jobs.get(id);
    if (!job) return;
    for (const socket of job.sockets.all()) {
      job.sockets.sendText(socket, madeText(job.engine.epoch));
    }
  }

  /** Forgets the jobs for which nobody waits any more. */
  prune(): void {
    for (const [id, { sockets }] of this.jobs) if (sockets.size === 0) this.jobs.delete(id);
  }

  /** The edge stood still for so long, milliseconds. */
  makeUpFor(awayMs: number): void {
    for (const { handler } of this.jobs.values()) handler.makeUpFor(awayMs);
  }

  /** Sends the pings that are due, and closes sockets whose time is over. */
  tick(now: number, resumedAt: number): void {
    for (const { handler } of this.jobs.values()) handler.tick(now, resumedAt);
    this.prune();
  }

  /** See `reviewSockets`. */
  review(holder: string, ended: readonly string[]): string[] {
    const alive = [...this.jobs.values()].flatMap(({ handler }) => handler.review(holder, ended));
    this.prune();
    return alive;
  }

  /** When something is next due for any socket, milliseconds since 1970. */
  dueAt(): number | null {
    const due = [...this.jobs.values()].flatMap(({ handler }) => handler.dueAt() ?? []);
    return due.length === 0 ? null : due.reduce((first, at) => Math.min(first, at));
  }
}
