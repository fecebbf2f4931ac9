/** RFC 6455 allows 125 bytes in a close frame, two of which are the code. */
const MAX_REASON_BYTES = 123;

/**
 * Closes a socket, and does nothing if it is closed already. The runtime refuses to send some of the codes with which
 * a client may close: 1005 and 1006, which only report how a socket closed, and those that nobody has defined. The
 * close carries no code then: without any answer the client would wait for one until it gives up.
 */
export function closeQuietly(socket: WebSocket, code: number, reason: string): void {
  try {
    socket.close(code, cutToBytes(reason, MAX_REASON_BYTES));
  } catch {
    closeWithoutCode(socket);
  }
}

function closeWithoutCode(socket: WebSocket): void {
  try {
    socket.close();
  } catch {
    // Already closed.
  }
}

/** Never cuts a character apart. */
function cutToBytes(text: string, bytes: number): string {
  const encoded = new TextEncoder().encode(text);
  if (encoded.length <= bytes) return text;
  // A character that was cut apart is decoded as U+FFFD.
  const start = new TextDecoder().decode(encoded.subarray(0, bytes - ELLIPSIS_BYTES));
  return `${start.replace(/\ufffd$/, "")}…`;
}

const ELLIPSIS_BYTES = 3;
