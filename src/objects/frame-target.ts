import { announcementOf } from "../protocol/announcement.ts";
import { inBatches } from "../protocol/batches.ts";
import type { Reader } from "./readers.ts";

/** A socket, and whether its client reads batches (decisions 0023 and 0029). */
export interface FrameTarget {
  socket: WebSocket;
  reader: Reader;
  /** The client asked to get frames that are sent together as one message, `{type: "batch", frames: […]}`. */
  batch: boolean;
}

/**
 * Sends frames that are already JSON texts. If the socket is closed, or its client too slow, nothing is sent and
 * nothing thrown.
 */
export function sendFrames({ socket, reader, batch }: FrameTarget, texts: readonly string[]): void {
  if (reader.isTooSlow) return;
  try {
    const messages = batch && texts.length > 1 ? batchesOf(texts) : texts;
    for (const message of messages) {
      const announcement = announcementOf(message);
      if (announcement !== null) socket.send(announcement);
      socket.send(message);
      const check = reader.onSent(message.length);
      if (check !== null) socket.send(check);
      if (reader.isTooSlow) return;
    }
  } catch {
    // The socket is closed: its close event follows, and the handler of that event cleans up.
  }
}

/** Batches already built. The same array of frames goes to many sockets, and is put together once for all. */
const known = new WeakMap<readonly string[], string[]>();

function batchesOf(texts: readonly string[]): string[] {
  const batches = known.get(texts) ?? inBatches(texts);
  known.set(texts, batches);
  return batches;
}
