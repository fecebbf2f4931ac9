import type { Json } from "../src/protocol/codec.ts";
import type { EncodedFrame } from "./encode.ts";

/**
 * Output kept in memory for one attempt, bytes. The edge keeps the last 1 MiB of a job's output, so
 * this leaves room for a long outage without letting a talkative program fill the machine.
 */
const MAX_KEPT_BYTES = 16 * 1024 * 1024;

/**
 * The `output` frames of one attempt, encoded when they were made: what the handler does to a value
 * afterwards must not change what is sent again.
 */
export class OutputLog {
  #frames: EncodedFrame[] = [];
  #bytes = 0;
  /** The index of the first kept frame. */
  #first = 0;
  #complete = true;
  readonly #maxBytes: number;

  constructor(maxBytes = MAX_KEPT_BYTES) {
    this.#maxBytes = maxBytes;
  }

  append(frame: EncodedFrame): void {
    this.#frames.push(frame);
    this.#bytes += frame.bytes;
    while (this.#bytes > this.#maxBytes && this.#frames.length > 1) {
      this.#bytes -= this.#frames.shift()?.bytes ?? 0;
      this.#first += 1;
      this.#complete = false;
    }
  }

  /**
   * The frames to send to an edge that has stored so many. `lost`: how many are missing in between;
   * those behind the gap are counted from what the edge has, as it does.
   */
  resumeAt(stored: number): { frames: readonly EncodedFrame[]; lost: number } {
    const lost = Math.max(0, this.#first - stored);
    this.#first -= lost;
    return { frames: this.#frames.slice(Math.max(0, stored - this.#first)), lost };
  }

  /** What was streamed as one value: one text, else a list; `undefined` where some was forgotten. */
  joined(): Json | undefined {
    if (!this.#complete) return undefined;
    if (this.#frames.length === 0) return null;
    const deltas = this.#frames.map(({ text }) => (JSON.parse(text) as { delta: Json }).delta);
    return deltas.every((delta) => typeof delta === "string") ? deltas.join("") : deltas;
  }
}
