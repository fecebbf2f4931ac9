import type { Connections, WorkerConnection } from "../connections.ts";

/** Seconds between a worker's pings, and seconds of silence after which it counts as gone. */
export const HEARTBEAT_S = 10;
export const LEASE_S = 30;

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

  forget(worker: WorkerConnection): void {
    this.lastFrameAt.delete(worker.attachment.id);
  }

  hasExpired(worker: WorkerConnection, now: number): boolean {
    return now >= this.endsAt(worker);
  }

  /**
   * When the lease expires, milliseconds since 1970. The runtime answers pings without waking the object, and
   * keeps the time of the last one.
   */
  endsAt(worker: WorkerConnection): number {
    const lastSignAt = Math.max(
      worker.attachment.openedAt,
      this.lastFrameAt.get(worker.attachment.id) ?? 0,
      this.connections.lastPingAt(worker) ?? 0,
    );
    return lastSignAt + LEASE_S * 1_000;
  }
}
