export interface HeartbeatOptions {
  heartbeatS: number;
  leaseS: number;
  ping(): void;
  /** Nothing came for the whole lease. */
  lost(silentS: number): void;
}

export interface Heartbeat {
  /** Anything arrived: the edge lives. */
  heard(): void;
  stop(): void;
}

export function startHeartbeat({ heartbeatS, leaseS, ping, lost }: HeartbeatOptions): Heartbeat {
  let heardAt = performance.now();
  let stopped = false;
  const silentS = () => (performance.now() - heardAt) / 1_000;
  const beat = () => {
    if (silentS() < leaseS) return ping();
    // After a blocked event loop timers run before sockets are read: look once more after them.
    setImmediate(() => {
      if (stopped) return;
      if (silentS() >= leaseS) lost(silentS());
    });
  };
  const timer = setInterval(beat, heartbeatS * 1_000);
  return {
    heard() {
      heardAt = performance.now();
    },
    stop() {
      stopped = true;
      clearInterval(timer);
    },
  };
}
