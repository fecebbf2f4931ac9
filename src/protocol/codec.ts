import type { z } from "zod";
import type { FrameErrorCode } from "./codes.ts";
import { PLAIN_MESSAGES } from "./error-messages.ts";
import { isExactNumber, parseMessage } from "./exact-json.ts";
import { LIMITS } from "./limits.ts";

/** Any JSON value, as `JSON.parse` returns it, or `parseExact`, whose numbers may be objects that keep every digit. */
export type Json = string | number | boolean | null | Json[] | { [key: string]: Json };
export type JsonObject = { [key: string]: Json };

type Parse = (text: string) => Json;

export type Decoded<T> = { ok: true; frame: T } | Undecoded;

/** The reason why a message is not a valid frame. `given` is its value if it is JSON at all. */
export interface Undecoded {
  ok: false;
  code: FrameErrorCode;
  message: string;
  given?: Json;
}

/** What checks a frame: a schema, or what reads the most common frames faster than one. */
export type FrameSchema<T> = Pick<z.ZodType<T>, "safeParse">;

/**
 * Decodes a received message into one typed frame, or into the reason why it isn't one.
 *
 * @param raw text, or bytes, which no Dialout protocol uses
 * @param schema the union of the frames that this side accepts, distinguished by `type`
 * @param parse reads JSON; by default what belongs to users keeps every digit of its numbers
 */
export function decodeFrame<T>(
  raw: string | ArrayBuffer,
  schema: FrameSchema<T>,
  parse: Parse = parseMessage,
): Decoded<T> {
  const read = readMessage(raw, parse);
  return read.ok ? decodeValue(read.value, schema) : read;
}

/** Like `decodeFrame`, for sockets with `?batch=1`, where `{type: "batch", frames: […]}` holds several frames. */
export function decodeFrames<T>(
  raw: string | ArrayBuffer,
  schema: FrameSchema<T>,
  parse: Parse = parseMessage,
): Decoded<T>[] {
  const read = readMessage(raw, parse);
  if (!read.ok) return [read];
  const { value } = read;
  if (!isBatch(value)) return [decodeValue(value, schema)];
  const { frames } = value;
  if (Array.isArray(frames) && frames.length <= LIMITS.batchFrames) {
    return frames.map((frame) => decodeValue(frame, schema));
  }
  const message = `frames: must be a list of ${LIMITS.batchFrames} frames at most`;
  return [{ ok: false, code: "malformed_frame", message, given: value }];
}

function isBatch(value: Json): value is JsonObject {
  if (typeof value !== "object" || value === null || Array.isArray(value)) return false;
  return value.type === "batch";
}

type ReadMessage = { ok: true; value: Json } | Undecoded;

function readMessage(raw: string | ArrayBuffer, parse: Parse): ReadMessage {
  if (typeof raw !== "string") {
    return { ok: false, code: "binary_frame", message: "Frames are JSON text, not binary." };
  }
  // A UTF-16 unit takes three bytes at most, so a short text needs no exact count.
  if (raw.length > LIMITS.frameBytes / 3 && byteLength(raw) > LIMITS.frameBytes) {
    const message = `A frame may have ${LIMITS.frameBytes} bytes at most.`;
    return { ok: false, code: "frame_too_large", message };
  }
  const value = jsonOf(raw, parse);
  if (value === undefined) return { ok: false, code: "malformed_frame", message: NOT_JSON };
  return { ok: true, value };
}

function decodeValue<T>(given: Json, schema: FrameSchema<T>): Decoded<T> {
  if (isDeeper(given, LIMITS.jsonDepth)) {
    return { ok: false, code: "malformed_frame", message: tooDeep(LIMITS.jsonDepth), given };
  }
  const result = schema.safeParse(given, PLAIN_MESSAGES);
  if (result.success) return { ok: true, frame: result.data };
  const unknown = result.error.issues.some((issue) => issue.path[0] === "type");
  const code = unknown ? "unknown_frame" : "malformed_frame";
  return { ok: false, code, message: describeIssues(result.error), given };
}

export type ParsedJson = { ok: true; value: Json } | { ok: false; message: string };

/**
 * Like `JSON.parse`, but limits the nesting, and returns the error instead of throwing it.
 *
 * @param parse reads JSON; by default as JavaScript does, which rounds numbers
 */
export function parseJson(
  text: string,
  maxDepth: number = LIMITS.jsonDepth,
  parse: Parse = JSON.parse,
): ParsedJson {
  const value = jsonOf(text, parse);
  if (value === undefined) return { ok: false, message: NOT_JSON };
  const problem = depthProblem(value, maxDepth);
  return problem === null ? { ok: true, value } : { ok: false, message: problem };
}

/** Why a value is refused that is nested more than `maxDepth` levels; `null` if it is not. */
export function depthProblem(value: Json, maxDepth: number): string | null {
  if (maxDepth === Number.POSITIVE_INFINITY || !isDeeper(value, maxDepth)) return null;
  return tooDeep(maxDepth);
}

export const NOT_JSON = "Not valid JSON.";

function tooDeep(maxDepth: number): string {
  return `JSON may be nested ${maxDepth} levels at most.`;
}

function jsonOf(text: string, parse: Parse): Json | undefined {
  try {
    return parse(text);
  } catch {
    return undefined;
  }
}

function isDeeper(value: Json, depth: number): boolean {
  if (typeof value !== "object" || value === null || isExactNumber(value)) return false;
  if (depth === 0) return true;
  if (Array.isArray(value)) return value.some((item) => isDeeper(item, depth - 1));
  for (const name in value) {
    if (isDeeper((value as JsonObject)[name] as Json, depth - 1)) return true;
  }
  return false;
}

const encoder = new TextEncoder();
const encoded = new Uint8Array(65_536);
/** A shorter text, characters, is counted before the encoder is called. */
const COUNTED_LENGTH = 256;

/** The length of a text in UTF-8, bytes. */
export function byteLength(text: string): number {
  if (text.length < COUNTED_LENGTH) return countedBytes(text);
  // The engine encodes many times faster than a loop counts; a piece at a time, so that nothing is allocated.
  let bytes = 0;
  for (let start = 0; start < text.length; ) {
    const { read, written } = encoder.encodeInto(text.slice(start), encoded);
    start += read;
    bytes += written;
  }
  return bytes;
}

function countedBytes(text: string): number {
  let bytes = text.length;
  for (let index = 0; index < text.length; index += 1) {
    const unit = text.charCodeAt(index);
    if (unit > 0x7f) bytes += unit > 0x7ff ? (isSurrogate(unit) ? 1 : 2) : 1;
  }
  return bytes;
}

/** Describes what is wrong with a frame in one line: `priority: must be a number`. */
export function describeIssues(error: z.ZodError): string {
  return error.issues
    .slice(0, 5)
    .map(({ path, message }) =>
      path.length > 0 ? `${path.join(".")}: ${message}` : `the frame ${message}`,
    )
    .join("; ");
}

/** Whether this is half of a surrogate pair: a pair has 4 bytes, so each half counts as 2. */
function isSurrogate(unit: number): boolean {
  return unit >= 0xd800 && unit <= 0xdfff;
}
