/** RFC 6455 allows 125 bytes in a close frame, two of which are the code. */
const MAX_REASON_BYTES = 123;
const NO_STATUS_RECEIVED = 1005;
const ABNORMAL = 1006;

/**
 * Closes a socket, and does nothing if it is closed already. Codes 1005 and 1006 only report how a socket closed:
 * the runtime refuses to send them, so the close carries no code then.
 */
export function closeQuietly(socket: WebSocket, code: number, reason: string): void {
  try {
    if (code === NO_STATUS_RECEIVED || code === ABNORMAL) socket.close();
    else socket.close(code, cutToBytes(reason, MAX_REASON_BYTES));
  } catch {
    // Already closed.
  }
}

function cutToBytes(text: string, bytes: number): string {
  const encoded = new TextEncoder().encode(text);
  if (encoded.length <= bytes) return text;
  return new TextDecoder().decode(encoded.subarray(0, bytes - 3)).replace(/\ufffd$/, "…");
}
