import { z } from "zod";

/**
 * Asks a client whether it has read what came before. The client sends the frame back as it came, in a message of its
 * own (C18).
 */
export const readCheckFrame = z.object({
  type: z.literal("read_check"),
  token: z.string().max(100),
});

/** The longest message that is looked at: the frame with some space in it. */
const MAX_LENGTH = 200;

export function readCheckText(token: string): string {
  return `{"type":"read_check","token":"${token}"}`;
}

/** The token of a `read_check`; `null` if the message is anything else. */
export function readCheckToken(message: string | ArrayBuffer): string | null {
  if (typeof message !== "string" || message.length > MAX_LENGTH) return null;
  if (!message.includes('"read_check"')) return null;
  try {
    return readCheckFrame.safeParse(JSON.parse(message)).data?.token ?? null;
  } catch {
    return null;
  }
}
