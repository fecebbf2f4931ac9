import type { Json } from "../protocol/codec.ts";
import type { CLOSE, FrameErrorCode } from "../protocol/codes.ts";
import type { SpaceSettings } from "../protocol/resources.ts";
import { slotsOf } from "../queue/dispatch.ts";
import { type Census, spaceStatusOf } from "../queue/status.ts";
import type { JobStore } from "../storage/job-store.ts";
import type { SpaceRecord, SpaceStore } from "../storage/space-store.ts";
import type { WebhookStore } from "../storage/webhook-store.ts";
import type { Connection, Connections, ReadyWorker } from "./connections.ts";
import type { Ledger, ServingWorker } from "./ledger.ts";
import { iso } from "./render.ts";

/** What the parts of a space object share while it is awake. */
export interface SpaceCore {
  record: SpaceRecord;
  readonly spaces: SpaceStore;
  readonly store: JobStore;
  readonly webhooks: WebhookStore;
  readonly ledger: Ledger;
  readonly connections: Connections;
  readonly outbox: Outbox;
  /** Signs the address a worker fetches a file from. */
  readonly fileUrl: (origin: string, key: string, expiresAt: number) => string;
}

interface Post {
  say: () => void;
  to: Connection | null;
  /** Jobs that have to be stored first. */
  about: readonly string[];
}

const NO_JOB: readonly string[] = [];

/** What a batch has to say, held until everything it tells of is stored. */
export class Outbox {
  private posts: Post[] = [];
  /** Who has frames among the posts. */
  private readonly waiting = new Set<Connection>();
  private ahead: { connection: Connection; frame: object }[] = [];
  private readonly connections: Connections;

  constructor(connections: Connections) {
    this.connections = connections;
  }

  /** A frame, or a function that makes it once the batch is stored. */
  send(connection: Connection, frame: object | (() => object), about = NO_JOB): void {
    this.waiting.add(connection);
    const say = () =>
      this.connections.send(connection, typeof frame === "function" ? frame() : frame);
    this.posts.push({ say, to: connection, about });
  }

  /** A frame that goes out also where the batch is held, before it is stored. */
  sendAhead(connection: Connection, frame: object): void {
    // Never before what it is still to be told.
    if (this.waiting.has(connection)) this.send(connection, frame);
    else this.ahead.push({ connection, frame });
  }

  flushAhead(): void {
    const ahead = this.ahead;
    this.ahead = [];
    for (const { connection, frame } of ahead) this.connections.send(connection, frame);
  }

  error(connection: Connection, code: FrameErrorCode, message: string, more: Refs = {}): void {
    this.send(connection, errorFrame(code, message, more));
  }

  close(connection: Connection, close: keyof typeof CLOSE, reason: string): void {
    const say = () => this.connections.close(connection, close, reason);
    this.posts.push({ say, to: connection, about: NO_JOB });
  }

  /** Runs once the batch is stored, and the jobs it is about are; in its place among the frames. */
  after(say: () => void, about = NO_JOB): void {
    this.posts.push({ say, to: null, about });
  }

  /** @param isHeld whether a job is not stored yet: what is about it stays, and what comes to the same socket after it */
  flush(isHeld: (ulid: string) => boolean): void {
    this.waiting.clear();
    const staying: Post[] = [];
    const behind = new Set<Connection>();
    for (let posts = this.posts; posts.length > 0; posts = this.posts) {
      this.posts = [];
      for (const post of posts) {
        const { to, about, say } = post;
        if (about.some(isHeld) || (to !== null && behind.has(to))) {
          staying.push(post);
          if (to !== null) behind.add(to);
        } else quietly(say);
      }
    }
    this.posts = staying;
  }
}

/** What one of them can't be told must not keep the others from hearing what is stored. */
export function quietly(tell: () => void): void {
  try {
    tell();
  } catch (error) {
    console.error("what a batch had to say was not said", error);
  }
}

/** Calls back after a while, with the time it is then, unless what it returns is called before. */
export function ringIn(ms: number, ring: (now: number) => void): () => void {
  const timer = setTimeout(() => ring(Date.now()), ms);
  return () => clearTimeout(timer);
}

/** `error` says what `message` does, for clients that look for it there. */
export function errorFrame(code: FrameErrorCode, message: string, more: Refs = {}): object {
  return { type: "error", ...more, code, message, error: message };
}

interface Refs {
  ref?: Json;
  job_id?: string;
}

/** Which workers are there, and what they can do. */
export function presentWorkers({ connections }: SpaceCore) {
  return connections.readyWorkers().map(({ at: { state } }) => ({
    state,
    capabilities: new Set(state.capabilities),
    draining: state.phase === "draining",
  }));
}

/** The workers that are there, as the dispatcher sees them. */
export function servingWorkers(core: SpaceCore): ServingWorker[] {
  const running = core.ledger.runningJobs();
  return presentWorkers(core).map(({ state, ...present }) => ({
    ...present,
    id: state.workerId,
    name: state.name,
    generation: state.generation,
    slots: slotsOf(state.offered, core.record.settings.concurrency),
    load: state.load,
    busy: running.filter((job) => job.generation === state.generation).length,
  }));
}

export function censusOf(core: SpaceCore): Census {
  const running = core.ledger.runningJobs();
  return {
    workers: servingWorkers(core),
    queued: core.ledger.queuedCount,
    asked: core.ledger.asked,
    processing: running.length,
    detached: running.filter((job) => job.detachedAt !== null).length,
    meanRunS: core.ledger.meanRunS,
  };
}

export function workerConfigOf(settings: SpaceSettings, worker: ReadyWorker) {
  return {
    concurrency: slotsOf(worker.at.state.offered, settings.concurrency),
    job_timeout_s: settings.job_timeout_s,
    first_output_timeout_s: settings.first_output_timeout_s,
    stall_timeout_s: settings.stall_timeout_s,
    reconnect_grace_s: settings.reconnect_grace_s,
  };
}

/** The space as `GET /api/spaces/:space` shows it, as JSON text. */
export function spaceBody(core: SpaceCore): string {
  const { name, settings, createdAt, updatedAt } = core.record;
  const self = `/api/spaces/${name}`;
  return JSON.stringify({
    name,
    ...settings,
    created_at: iso(createdAt),
    updated_at: iso(updatedAt),
    status: spaceStatusOf(censusOf(core)),
    urls: { self, page: `/spaces/${name}`, jobs: `${self}/jobs`, ws: `${self}/ws` },
  });
}
