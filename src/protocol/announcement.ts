import { z } from "zod";
import { byteLength } from "./codec.ts";
import { LIMITS } from "./limits.ts";

/**
 * Says that the next message has `bytes` bytes. While a large message is under way, nothing else arrives: without
 * the announcement a slow connection looks like a dead one (decision 0046).
 */
export const sendingFrame = z.object({ type: z.literal("sending"), bytes: z.number().min(0) });

/** Whether a message is so short that it need not be measured: a character has up to 3 bytes. */
export function isUnannounced(message: string): boolean {
  return message.length * 3 <= LIMITS.unannouncedBytes;
}

/** The message that was measured last: many sockets are sent the same one, one after the other. */
let measured: { message: string; announcement: string | null } = {
  message: "",
  announcement: null,
};

/** The announcement that is to be sent before this message; `null` if it is small. */
export function announcementOf(message: string): string | null {
  if (isUnannounced(message)) return null;
  if (measured.message === message) return measured.announcement;
  const bytes = byteLength(message);
  const announcement = bytes > LIMITS.unannouncedBytes ? `${PREFIX}${bytes}}` : null;
  measured = { message, announcement };
  return announcement;
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
