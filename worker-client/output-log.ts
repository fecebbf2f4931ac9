import type { Json } from "../src/protocol/codec.ts";
import type { EncodedFrame } from "./encode.ts";

/**
 * Output kept in memory for one attempt, bytes. The edge keeps the last 1 MiB of a job's output, so
 * this leaves room for a long outage without letting a talkative program fill the machine.
 */
const MAX_KEPT_BYTES = 16 * 1024 * 1024;

/**
 * The `output` frames of one attempt, encoded when they are created, so that a handler that changes a
 * value afterwards doesn't change what is sent again.
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
   * The frames to send to an edge that has stored the first `stored` frames. `lost` is the number of
   * frames that neither side has. The edge doesn't know about them and counts on from what it has
   * stored, so the numbers here are shifted by `lost` to stay equal to the edge's.
   */
  resumeAt(stored: number): { frames: readonly EncodedFrame[]; lost: number } {
    const lost = Math.max(0, this.#first - stored);
    this.#first -= lost;
    return { frames: this.#frames.slice(Math.max(0, stored - this.#first)), lost };
  }

  /** Forgets the frames that name this file: the edge has refused them, and doesn't count them (W36g). */
  forgetFile(name: string): void {
    const kept = this.#frames.filter(({ file }) => file !== name);
    this.#bytes = kept.reduce((sum, { bytes }) => sum + bytes, 0);
    this.#frames = kept;
  }

  /**
   * All output but files as one value: a text if every piece is text, else a list; `undefined` if pieces were lost.
   */
  joined(): Json | undefined {
    if (!this.#complete) return undefined;
    const pieces = this.#frames.filter(({ file }) => file === undefined);
    if (pieces.length === 0) return null;
    const deltas = pieces.map(({ text }) => (JSON.parse(text) as { delta: Json }).delta);
    return deltas.every((delta) => typeof delta === "string") ? deltas.join("") : deltas;
  }
}
