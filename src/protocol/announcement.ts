import { z } from "zod";
import { byteLength } from "./codec.ts";
import { LIMITS } from "./limits.ts";

/**
 * Says that the next message has `bytes` bytes. While a large message is under way, nothing else arrives: without
 * the announcement a slow connection looks like a dead one (decision 0046).
 */
export const sendingFrame = z.object({ type: z.literal("sending"), bytes: z.number().min(0) });

/** The announcement that is to be sent before this message; `null` if it is small. */
export function announcementOf(message: string): string | null {
  // A character has up to 3 bytes. Most messages are so short that they need not be measured.
  if (message.length * 3 <= LIMITS.unannouncedBytes) return null;
  const bytes = byteLength(message);
  return bytes > LIMITS.unannouncedBytes ? `${PREFIX}${bytes}}` : null;
}

const PREFIX = '{"type":"sending","bytes":';

/** Whether a message of the edge is an announcement: what passes frames on makes its own. */
export function isAnnouncement(message: string): boolean {
  return message.startsWith(PREFIX);
}

/** How long so many bytes may be under way, milliseconds. */
export function transferMs(bytes: number): number {
  return (Math.min(bytes, LIMITS.announcedBytes) / LIMITS.slowestBytesPerS) * 1_000;
}
