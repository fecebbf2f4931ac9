/** Sends what one socket gets: frame by frame, or for clients that asked, those of a moment as one. */
export interface Outlet {
  socket: WebSocket;
  /** The client reads `{type: "batch", frames: […]}`. */
  batch: boolean;
}

/** A socket that is gone gets nothing: its close event follows. */
export function sendFrames({ socket, batch }: Outlet, texts: readonly string[]): void {
  try {
    if (batch && texts.length > 1) socket.send(batchOf(texts));
    else for (const text of texts) socket.send(text);
  } catch {
    // The close handler of this socket does what there is to do.
  }
}

/** The same frames go to many sockets: they are put together once. */
const batches = new WeakMap<readonly string[], string>();

function batchOf(texts: readonly string[]): string {
  const known = batches.get(texts);
  if (known !== undefined) return known;
  const made = `{"type":"batch","frames":[${texts.join()}]}`;
  batches.set(texts, made);
  return made;
}
