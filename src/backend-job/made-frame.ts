import { z } from "zod";

/**
 * What the index sends a socket that waits for a job once that job is made. No client gets it: `JobRelay` reads it,
 * and goes on at the job's object.
 */
const madeFrame = z.object({ type: z.literal("made"), epoch: z.string() });

const PREFIX = '{"type":"made",';

export function madeText(epoch: string): string {
  return JSON.stringify({ type: "made", epoch } satisfies z.infer<typeof madeFrame>);
}

/** The epoch of the job that was made; `null` if the message is another one. */
export function readMade(message: string | ArrayBuffer): string | null {
  if (typeof message !== "string" || !message.startsWith(PREFIX)) return null;
  return madeFrame.parse(JSON.parse(message)).epoch;
}
