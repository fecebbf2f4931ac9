import { inBatches } from "../protocol/batches.ts";

/** Sends what one socket gets: frame by frame, or for clients that asked, those of a moment as one. */
export interface FrameTarget {
  socket: WebSocket;
  /** The client reads `{type: "batch", frames: […]}`. */
  batch: boolean;
}

/** A socket that is gone gets nothing: its close event follows. */
export function sendFrames({ socket, batch }: FrameTarget, texts: readonly string[]): void {
  try {
    const messages = batch && texts.length > 1 ? batchesOf(texts) : texts;
    for (const message of messages) socket.send(message);
  } catch {
    // The close handler of this socket does what there is to do.
  }
}

/** The same frames go to many sockets: they are put together once. */
const known = new WeakMap<readonly string[], string[]>();

function batchesOf(texts: readonly string[]): string[] {
  const batches = known.get(texts) ?? inBatches(texts);
  known.set(texts, batches);
  return batches;
}
