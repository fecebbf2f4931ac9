import { decodeFrame, type Json } from "../src/protocol/codec.ts";
import { LIMITS } from "../src/protocol/limits.ts";
import { whyUnsendable } from "../src/protocol/unsendable.ts";
import { type WorkerFrameInput, workerFrame } from "../src/protocol/worker-frames.ts";
import { JsonText } from "./json-text.ts";
import { count } from "./statistics.ts";

export interface EncodedFrame {
  text: string;
  bytes: number;
  /** The output file that the frame names. */
  file?: string;
}

export type FrameEncoding =
  | { ok: true; frame: EncodedFrame }
  /** `message` continues a sentence that begins with its subject, such as "The result". */
  | { ok: false; message: string; tooLarge: boolean };

/**
 * Encodes a frame, or says why the edge would refuse it. A refused frame would cost the connection.
 *
 * @param limit the largest frame that the edge accepts, bytes
 */
export function encodeFrame(frame: WorkerFrameInput, limit: number): FrameEncoding {
  let text: string;
  try {
    text = isPlainText(frame) ? JSON.stringify(frame) : textOf(frame);
  } catch (error) {
    const why = error instanceof Error ? error.message.split("\n")[0] : String(error);
    return { ok: false, message: `can't be written as JSON: ${why}`, tooLarge: false };
  }
  const bytes = Buffer.byteLength(text);
  const most = Math.min(limit, LIMITS.frameBytes);
  if (bytes > most) {
    const message = `makes a frame of ${count(bytes)} bytes; the edge accepts ${count(most)} at most`;
    return { ok: false, message, tooLarge: true };
  }
  if (!isPlainText(frame)) {
    const decoded = decodeFrame(text, workerFrame, JSON.parse);
    if (!decoded.ok) {
      return { ok: false, message: `can't be sent: ${decoded.message}`, tooLarge: false };
    }
  }
  return { ok: true, frame: { text, bytes } };
}

/** The frame as JSON; fields that were given as JSON text stand in it as they are. */
function textOf(frame: WorkerFrameInput): string {
  const fields = Object.entries(frame);
  const given = fields.flatMap(([name, value]) =>
    value instanceof JsonText ? [`,${JSON.stringify(name)}:${value.text}`] : [],
  );
  if (given.length === 0) return stringify(frame);
  const others = Object.fromEntries(fields.filter(([, value]) => !(value instanceof JsonText)));
  return `${stringify(others).slice(0, -1)}${given.join("")}}`;
}

/** @throws {TypeError} on a value that JSON would lose, such as NaN */
function stringify(frame: object): string {
  return JSON.stringify(frame, (name, value) => {
    const why = whyUnsendable(value);
    if (why === null) return value;
    throw new TypeError(`\`${name}\` ${why}`);
  });
}

/** Text output can't be malformed. Most output is text, so this saves parsing every token again. */
function isPlainText(frame: WorkerFrameInput): boolean {
  return frame.type === "output" && typeof frame.delta === "string";
}

export type EncodedOutput = { ok: true; frames: EncodedFrame[] } | { ok: false; message: string };

/** Encodes a piece of output: as one frame, or as several if it is a text that is too large for one. */
export function encodeOutput(
  ref: { job_id: string; attempt: number },
  delta: Json,
  limit: number,
): EncodedOutput {
  const encoding = encodeFrame({ type: "output", ...ref, delta }, limit);
  if (encoding.ok) return { ok: true, frames: [encoding.frame] };
  if (!encoding.tooLarge || typeof delta !== "string" || delta.length < 4) {
    return { ok: false, message: encoding.message };
  }
  const [left, right] = halve(delta).map((half) => encodeOutput(ref, half, limit));
  if (left?.ok && right?.ok) return { ok: true, frames: [...left.frames, ...right.frames] };
  return { ok: false, message: encoding.message };
}

/** Encodes the frame that tells of an output file. */
export function encodeFile(
  ref: { job_id: string; attempt: number },
  file: string,
  preview: boolean,
): EncodedFrame {
  const text = JSON.stringify({ type: "output", ...ref, file, ...(preview ? { preview } : {}) });
  return { text, bytes: Buffer.byteLength(text), file };
}

/** Splits between two characters: half a surrogate pair can't be encoded as UTF-8. */
function halve(text: string): [string, string] {
  const middle = text.length >> 1;
  const unit = text.charCodeAt(middle);
  const at = unit >= 0xdc00 && unit <= 0xdfff ? middle + 1 : middle;
  return [text.slice(0, at), text.slice(at)];
}
