/** How often the page's socket is tested, milliseconds: a dead one is noticed before a worker's lease is over. */
export const HEARTBEAT_MS = 10_000;

/**
 * Notices that a socket is dead although it never closed, as when a machine changes its network. Without this the page
 * would go on to show the last status, such as a connected worker. Only an unanswered `ping` counts, not the time:
 * browsers slow down the timers of tabs in the background.
 */
export class SocketHeartbeat {
  private isAwaited = false;

  /** Call this when the socket opens and when anything arrives on it. */
  onReceived(): void {
    this.isAwaited = false;
  }

  /** What to do now; call this every HEARTBEAT_MS while the socket is open. */
  beat(): "ping" | "redial" {
    if (this.isAwaited) return "redial";
    this.isAwaited = true;
    return "ping";
  }
}
