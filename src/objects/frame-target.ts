import { announcementOf, isAnnouncement, isUnannounced } from "../protocol/announcement.ts";
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
  reader.framesSent += texts.length;
  try {
    for (const message of messagesOf(texts, batch)) {
      socket.send(message);
      // Nothing may come between an announcement and its message.
      if (isAnnouncement(message)) continue;
      const check = reader.onSent(message.length);
      if (check !== null) socket.send(check);
      if (reader.isTooSlow) return;
    }
  } catch {
    // The socket is closed: its close event follows, and the handler of that event cleans up.
  }
}

/** Messages already built. The same array of frames goes to many sockets, and is put together once for all. */
const batched = new WeakMap<readonly string[], string[]>();
const unbatched = new WeakMap<readonly string[], string[]>();

/** The messages for frames, large ones with their announcements (decision 0046). */
function messagesOf(texts: readonly string[], batch: boolean): readonly string[] {
  const isBatch = batch && texts.length > 1;
  if (!isBatch && texts.every(isUnannounced)) return texts;
  const known = isBatch ? batched : unbatched;
  const messages = known.get(texts) ?? announced(isBatch ? inBatches(texts) : texts);
  known.set(texts, messages);
  return messages;
}

function announced(messages: readonly string[]): string[] {
  return messages.flatMap((message) => {
    const announcement = announcementOf(message);
    return announcement === null ? [message] : [announcement, message];
  });
}
