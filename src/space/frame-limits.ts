import { frameLimiter, RATES, tooManyFrames } from "../objects/rate-limiter.ts";
import {
  type Connection,
  isWorker,
  type SubscriberConnection,
  type WorkerConnection,
} from "./connections.ts";

/** Counts the frames of the sockets of a space. */
export class FrameLimits {
  private readonly clients = frameLimiter<SubscriberConnection>("client");
  private readonly operators = frameLimiter<SubscriberConnection>("backend");
  private readonly workers = frameLimiter<WorkerConnection>("worker");
  /** Sockets that sent too many: they are about to be closed, and nothing more of them is read. */
  private readonly refused = new WeakSet<Connection>();

  hasRefused(connection: Connection): boolean {
    return this.refused.has(connection);
  }

  /**
   * Counts frames, or refuses them and all later ones of the socket.
   *
   * @param now for a worker by the clock, for others by `allowanceTime`
   * @returns why the socket must be closed; `null` if it may go on
   */
  count(connection: Connection, frames: number, now: number): string | null {
    if (this.admits(connection, frames, now)) return null;
    this.refused.add(connection);
    if (isWorker(connection)) return tooManyFrames(RATES.worker);
    return tooManyFrames(RATES[connection.attachment.caller.isAdmin ? "backend" : "client"]);
  }

  private admits(connection: Connection, frames: number, now: number): boolean {
    if (isWorker(connection)) return this.workers.admits(connection, now, frames);
    const limiter = connection.attachment.caller.isAdmin ? this.operators : this.clients;
    return limiter.admits(connection, now, frames);
  }
}
