import { whyNotJson } from "../protocol/broken-json.ts";
import { type Json, NOT_JSON, parseJson } from "../protocol/codec.ts";
import { parseMessage } from "../protocol/exact-json.ts";
import { LIMITS } from "../protocol/limits.ts";
import type { AppContext } from "./context.ts";
import { ProblemError } from "./problems.ts";

/** Reads a JSON body of at most `limit` bytes. */
export async function readJson(c: AppContext, limit: number): Promise<Json> {
  const type = c.req.header("content-type") ?? "";
  if (!/^application\/(json|[\w.-]+\+json)\s*(;|$)/i.test(type)) {
    const detail = "Send JSON, with `Content-Type: application/json`.";
    throw new ProblemError("unsupported_media_type", detail);
  }
  const bytes = await readBytes(c, limit);
  let text: string;
  try {
    text = new TextDecoder("utf-8", { fatal: true, ignoreBOM: false }).decode(bytes);
  } catch {
    throw new ProblemError("invalid_json", "The body is not UTF-8 text: send JSON in UTF-8.");
  }
  if (text.trim() === "")
    throw new ProblemError("invalid_json", "The body is empty: send a JSON object.");
  const parsed = parseJson(text, LIMITS.jsonDepth, parseMessage);
  if (!parsed.ok) throw new ProblemError("invalid_json", explainJson(text, parsed.message));
  return parsed.value;
}

/** Says what is wrong with a text that `parseJson` refused with `message`. */
export function explainJson(text: string, message: string): string {
  return message === NOT_JSON ? `Not valid JSON: ${whyNotJson(text)}.` : message;
}

/**
 * Reads a whole body of at most `limit` bytes. They are counted while they arrive, because `content-length`
 * may be missing or false.
 */
export async function readBytes(c: AppContext, limit: number): Promise<Uint8Array<ArrayBuffer>> {
  const declared = Number(c.req.header("content-length") ?? 0);
  const { body } = c.req.raw;
  if (!body) return new Uint8Array();
  // HTTP ends a body at its declared length, so this one can't be longer than `limit`.
  if (declared > 0 && declared <= limit) return new Uint8Array(await c.req.raw.arrayBuffer());
  const chunks: Uint8Array[] = [];
  let size = 0;
  for await (const chunk of body) {
    size += chunk.byteLength;
    if (size <= limit && declared <= limit) chunks.push(chunk);
    else chunks.length = 0;
    if (size > MAX_DRAIN) break;
  }
  if (size > limit || declared > limit) {
    const detail = `The body has more than the ${limit} bytes allowed here.`;
    throw new ProblemError("payload_too_large", detail);
  }
  const whole = new Uint8Array(size);
  let offset = 0;
  for (const chunk of chunks) {
    whole.set(chunk, offset);
    offset += chunk.byteLength;
  }
  return whole;
}

/**
 * A body that is too large is read and thrown away up to this many bytes: many clients read the answer only
 * after they have sent their whole body.
 */
const MAX_DRAIN = 67_108_864;
