import type { Connections, WorkerConnection } from "../connections.ts";

/** How often a worker pings, and the silence after which it is taken for dead. */
export const HEARTBEAT_S = 10;
export const LEASE_S = 30;

/** When each worker was last heard: every frame and every ping renews its lease. */
export class Leases {
  private readonly connections: Connections;
  private readonly lastFrameAt = new Map<string, number>();

  constructor(connections: Connections) {
    this.connections = connections;
  }

  /** A frame of it has arrived; it may be handled later. */
  renew(worker: WorkerConnection, now: number): void {
    this.lastFrameAt.set(worker.attachment.id, now);
  }

  forget(worker: WorkerConnection): void {
    this.lastFrameAt.delete(worker.attachment.id);
  }

  hasExpired(worker: WorkerConnection, now: number): boolean {
    return now >= this.endsAt(worker);
  }

  /** The runtime answers pings without waking the object, and remembers when. */
  endsAt(worker: WorkerConnection): number {
    const heardAt = Math.max(
      worker.attachment.openedAt,
      this.lastFrameAt.get(worker.attachment.id) ?? 0,
      this.connections.lastPingAt(worker) ?? 0,
    );
    return heardAt + LEASE_S * 1_000;
  }
}
