import { type Connections, isReady, type WorkerConnection } from "../connections.ts";

/** Seconds between a worker's pings, and seconds of silence after which it counts as gone. */
export const HEARTBEAT_S = 10;
export const LEASE_S = 30;
/** Seconds of silence after which a ping is overdue, and those who wait are told of the silence. */
export const SILENT_S = 15;
/** While a worker is silent and somebody watches, it is looked at again this often, seconds. */
const SILENT_CHECK_S = 5;

/** Knows when each worker last sent something: every frame and every ping renews its lease. */
export class Leases {
  private readonly connections: Connections;
  private readonly lastFrameAt = new Map<string, number>();

  constructor(connections: Connections) {
    this.connections = connections;
  }

  /** Call this when a worker's message arrives, even if it is handled later. */
  renew(worker: WorkerConnection, now: number): void {
    this.lastFrameAt.set(worker.attachment.id, now);
  }

  /** Gives every worker a whole lease: what they sent meanwhile could not be read (decision 0050). */
  renewAll(now: number): void {
    for (const worker of this.connections.workers()) this.renew(worker, now);
  }

  forget(worker: WorkerConnection): void {
    this.lastFrameAt.delete(worker.attachment.id);
  }

  /** For how many whole seconds nothing came from the worker; `null` if its ping is not overdue. */
  silenceOf(worker: WorkerConnection, now: number): number | null {
    const silentS = Math.floor((now - this.lastSignAt(worker)) / 1_000);
    return silentS >= SILENT_S ? silentS : null;
  }

  /** When the lease expires, milliseconds since 1970. */
  endsAt(worker: WorkerConnection): number {
    return this.lastSignAt(worker) + LEASE_S * 1_000;
  }

  /**
   * When to look whether the worker is silent, or still is, so that those who watch are told; milliseconds since
   * 1970. Its pings don't wake the object, so only a look can tell.
   */
  nextCheckAt(worker: WorkerConnection, now: number): number {
    const silentAt = this.lastSignAt(worker) + SILENT_S * 1_000;
    if (now < silentAt) return silentAt;
    return Math.min(this.endsAt(worker), now + SILENT_CHECK_S * 1_000);
  }

  /**
   * The runtime answers pings without waking the object, and keeps the time of the last one. No sign is expected of a
   * worker while a frame that it has announced is under way.
   */
  private lastSignAt(worker: WorkerConnection): number {
    return Math.max(
      isReady(worker) ? (worker.attachment.state.sending?.until ?? 0) : 0,
      worker.attachment.openedAt,
      this.lastFrameAt.get(worker.attachment.id) ?? 0,
      this.connections.lastPingAt(worker) ?? 0,
    );
  }
}
