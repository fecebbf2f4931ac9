export interface HeartbeatOptions {
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
  stop(): void;
}

export function startHeartbeat({
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
  const beat = () => {
    if (silentS() < leaseS) return ping();
    // After a blocked event loop, timers run before sockets are read: check again once they were read.
    setImmediate(() => {
      if (stopped) return;
      if (silentS() >= leaseS) onSilence(silentS());
    });
  };
  const timer = setInterval(beat, heartbeatS * 1_000);
  return {
    onReceived() {
      receivedAt = performance.now();
    },
    stop() {
      stopped = true;
      clearInterval(timer);
    },
  };
}
