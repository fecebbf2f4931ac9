import type { Platform } from "./platform.ts";

export interface HeartbeatOptions {
  platform: Pick<Platform, "every" | "afterTurn">;
  heartbeatS: number;
  leaseS: number;
  ping(): void;
  /** Bytes received so far. Those of a message that is still arriving show that the edge is alive. */
  bytesReceived(): number;
  /** Until when a large message may keep the edge from being heard; `performance.now()`. */
  busyUntil(): number;
  /** Called when nothing was received for the whole lease; `silentS` is in seconds. */
  onSilence(silentS: number): void;
}

export interface Heartbeat {
  /** To be called for every message, because each one shows that the edge is alive. */
  onReceived(): void;
  /** Asks the edge for a sign of life now: without one within `DOUBT_MS` the connection counts as silent. */
  doubt(): void;
  stop(): void;
}

/** How long the answer to a ping may take if there is a reason to doubt the connection, milliseconds. */
const DOUBT_MS = 5_000;

export function startHeartbeat({
  platform,
  heartbeatS,
  leaseS,
  ping,
  bytesReceived,
  busyUntil,
  onSilence,
}: HeartbeatOptions): Heartbeat {
  let receivedAt = performance.now();
  let bytes = bytesReceived();
  let stopped = false;
  const silentS = () => {
    if (bytesReceived() !== bytes) receivedAt = performance.now();
    bytes = bytesReceived();
    return (performance.now() - Math.max(receivedAt, busyUntil())) / 1_000;
  };
  let endDoubt: (() => void) | null = null;
  /** After a blocked event loop, timers run before sockets are read: this looks once they were read. */
  const endIfSilentFor = (seconds: number) =>
    platform.afterTurn(() => {
      if (!stopped && silentS() >= seconds) onSilence(silentS());
    });
  const beat = () => (silentS() < leaseS ? ping() : endIfSilentFor(leaseS));
  const endBeats = platform.every(heartbeatS * 1_000, beat);
  return {
    doubt() {
      if (stopped || endDoubt !== null) return;
      receivedAt = performance.now();
      ping();
      endDoubt = platform.every(DOUBT_MS, () => {
        endDoubt?.();
        endDoubt = null;
        endIfSilentFor(DOUBT_MS / 1_000);
      });
    },
    onReceived() {
      receivedAt = performance.now();
    },
    stop() {
      stopped = true;
      endBeats();
      endDoubt?.();
    },
  };
}
