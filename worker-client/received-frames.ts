import { readList } from "../src/protocol/broken-json.ts";
import { type Decoded, decodeFrames } from "../src/protocol/codec.ts";
import { mayLoseDigits } from "../src/protocol/exact-json.ts";
import { type EdgeFrame, edgeFrame, type JobFrame } from "../src/protocol/worker-frames.ts";
import { exactTextOf } from "./json-text.ts";

/** A job as the edge sent it. */
export interface ReceivedJob extends JobFrame {
  /** The input as JSON text if `input` may lack digits of its numbers; `null` if it has all of them. */
  inputText: string | null;
}

export type ReceivedFrame = Exclude<EdgeFrame, { type: "job" }> | ReceivedJob;

/** Decodes a message of the edge: one frame, or several in a batch. */
export function readFrames(data: string | ArrayBuffer): Decoded<ReceivedFrame>[] {
  return decodeFrames(data, edgeFrame, JSON.parse).map((decoded, index) => {
    if (!decoded.ok || decoded.frame.type !== "job") return decoded as Decoded<ReceivedFrame>;
    return { ok: true, frame: { ...decoded.frame, inputText: inputTextOf(data, index) } };
  });
}

function inputTextOf(data: string | ArrayBuffer, index: number): string | null {
  if (typeof data !== "string" || !mayLoseDigits(data)) return null;
  return exactTextOf(readList(data, "frames")?.[index] ?? data, "input");
}
