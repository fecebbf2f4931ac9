/**
 * Whether a message is one of the bare texts `ping` and `pong`, which only show that a connection is alive. They
 * are not frames: whoever gets one that it did not ask for ignores it (C2a). The runtime answers `ping` itself.
 */
export function isPingText(message: string | ArrayBuffer): boolean {
  return message === "pong" || message === "ping";
}
