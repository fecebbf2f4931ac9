import { readFields, readList, readString, whyNotJson } from "../../protocol/broken-json.ts";
import {
  byteLength,
  decodeFrame,
  decodeFrames,
  type Json,
  type JsonObject,
  type Undecoded,
} from "../../protocol/codec.ts";
import { LIMITS } from "../../protocol/limits.ts";
import { type WorkerFrame, workerFrame } from "../../protocol/worker-frames.ts";

export interface AttemptRef {
  job_id: string;
  attempt: number;
}

/** A frame that can't be taken. */
export interface RefusedFrame extends Undecoded {
  /** The attempt that the frame is about; `null` if that can't be read. */
  about: AttemptRef | null;
  /** The frame's type, if that can be read. */
  frameType: Json | undefined;
}

type TakenFrame = { ok: true; frame: WorkerFrame };
export type ReadFrame = TakenFrame | RefusedFrame;

/**
 * Reads the frames of a worker's message. Of a frame that can't be taken it finds out which attempt it is about,
 * because then that attempt alone ends (decision 0034).
 */
export function readWorkerFrames(raw: string | ArrayBuffer, isBatch: boolean): ReadFrame[] {
  const decoded = isBatch ? decodeFrames(raw, workerFrame) : [decodeFrame(raw, workerFrame)];
  if (decoded.every((frame): frame is TakenFrame => frame.ok)) return decoded;
  return decoded.flatMap((frame) => (frame.ok ? [frame] : readRefused(frame, raw, isBatch)));
}

function readRefused(refused: Undecoded, raw: string | ArrayBuffer, isBatch: boolean): ReadFrame[] {
  const { given } = refused;
  if (given !== undefined) {
    const { job_id, attempt, type } = fieldsOf(given);
    return [{ ...refused, about: refOf(job_id, attempt), frameType: type }];
  }
  if (typeof raw !== "string") return [{ ...refused, ...readText(new TextDecoder().decode(raw)) }];
  const batch = isBatch ? readBrokenBatch(raw) : null;
  return batch ?? [{ ...refused, message: explain(refused, raw), ...readText(raw) }];
}

/**
 * The frames of a batch that isn't JSON, or is too large, because of some of them: the others are handled all the
 * same (C6b). `null` if the batch itself is what is wrong.
 */
function readBrokenBatch(text: string): ReadFrame[] | null {
  if (readString(readFields(text).get("type")?.[0]) !== "batch") return null;
  const frames = readList(text, "frames");
  if (frames === null) return null;
  const sizes = frames.map(byteLength).filter((bytes) => bytes <= LIMITS.frameBytes);
  if (sizes.reduce((sum, bytes) => sum + bytes, 0) > LIMITS.frameBytes) return null;
  const read = frames.flatMap((frame) => readWorkerFrames(frame, false));
  return read.some(({ ok }) => !ok) ? read : null;
}

function explain({ code, message }: Undecoded, text: string): string {
  if (code === "frame_too_large") return `${message} This one has ${byteLength(text)}.`;
  return `The frame is not JSON: ${whyNotJson(text)}.`;
}

function fieldsOf(value: Json): JsonObject {
  return typeof value === "object" && value !== null && !Array.isArray(value) ? value : {};
}

function readText(text: string): Pick<RefusedFrame, "about" | "frameType"> {
  const fields = readFields(text);
  const [jobId, ...otherIds] = new Set(fields.get("job_id"));
  const [attempt, ...otherAttempts] = new Set(fields.get("attempt"));
  const isClear = otherIds.length + otherAttempts.length === 0;
  return {
    about: isClear ? refOf(readString(jobId), readString(attempt) ?? attempt) : null,
    frameType: readString(fields.get("type")?.[0]) ?? undefined,
  };
}

/** A whole number as JSON has it; in some languages every number is a float, `1.0`. */
const WHOLE = /^\d{1,9}(?:\.0{1,9})?(?:e[+-]?0{1,9})?$/i;

/** @param attempt may be a text with a number: that can be the very mistake */
function refOf(jobId: unknown, attempt: unknown): AttemptRef | null {
  if (typeof jobId !== "string" || jobId.length > 120) return null;
  const number = WHOLE.test(String(attempt)) ? Number(attempt) : 0;
  return number >= 1 ? { job_id: jobId, attempt: number } : null;
}

const TYPES: readonly unknown[] = workerFrame.options.map(({ shape }) => shape.type.value);

/** How much of a worker's own message is passed on if it is too long to be taken, characters. */
const REPORTED_LENGTH = 1_000;

/** What the submitter is told whose job fails because of the frame. */
export function failureMessage({ message, given, frameType }: RefusedFrame): string {
  const type = TYPES.includes(frameType) ? `\`${frameType}\`` : "frame";
  const { message: reported } = fieldsOf(given ?? null);
  const isReport = frameType === "fail" && typeof reported === "string";
  const words = isReport ? ` The worker reported: ${shorten(reported)}` : "";
  return `The edge can't take a ${type} of the worker: ${message.replace(/\.$/, "")}.${words}`;
}

function shorten(text: string): string {
  return text.length > REPORTED_LENGTH ? `${text.slice(0, REPORTED_LENGTH)}…` : text;
}
