import { whyNotJson } from "../protocol/broken-json.ts";
import { type Json, NOT_JSON, parseJson } from "../protocol/codec.ts";
import { hasManyParts, parseMessage } from "../protocol/exact-json.ts";
import { LIMITS } from "../protocol/limits.ts";
import { codingOf, decode, tooLarge } from "./content-coding.ts";
import type { AppContext } from "./context.ts";
import { foreignCharset, isJsonType } from "./header-parameters.ts";
import { ProblemError } from "./problems.ts";

const TOO_MANY_PARTS = new ProblemError(
  "payload_too_large",
  `The body has more than ${LIMITS.bodyParts} lists, objects, fields, and numbers such as 1.0, which keep their digits: send it in parts.`,
);

/**
 * Reads a JSON body of at most `limit` bytes.
 *
 * @param expected what the client should send, for the refusal of another content type
 * @param maxDepth how deep it may be nested; infinite if the caller looks at that, part by part
 */
export async function readJson(
  c: AppContext,
  limit: number,
  expected = "Send JSON, with `Content-Type: application/json`.",
  maxDepth: number = LIMITS.jsonDepth,
): Promise<Json> {
  const type = c.req.header("content-type") ?? "";
  if (!isJsonType(type)) throw new ProblemError("unsupported_media_type", expected);
  const charset = foreignCharset(type);
  if (charset !== null) {
    const detail = `JSON is UTF-8, and this body is declared as ${charset}: send it as UTF-8.`;
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
  if (limit > LIMITS.jsonBodyBytes && hasManyParts(text, LIMITS.bodyParts)) throw TOO_MANY_PARTS;
  const parsed = parseJson(text, maxDepth, parseMessage);
  if (!parsed.ok) throw new ProblemError("invalid_json", explainJson(text, parsed.message));
  return parsed.value;
}

/** Says what is wrong with a text that `parseJson` refused with `message`. */
export function explainJson(text: string, message: string): string {
  return message === NOT_JSON ? `Not valid JSON: ${whyNotJson(text)}.` : message;
}

/** Reads a whole body, decoded if it is compressed; it may have at most `limit` bytes, before and after that. */
export async function readBytes(c: AppContext, limit: number): Promise<Uint8Array<ArrayBuffer>> {
  const coding = codingOf(c.req.header("content-encoding"));
  const bytes = await readSent(c, limit);
  return coding === null ? bytes : decode(bytes, coding, limit);
}

/** Reads the body as it was sent. */
async function readSent(c: AppContext, limit: number): Promise<Uint8Array<ArrayBuffer>> {
  const declared = Number(c.req.header("content-length") ?? 0);
  if (declared > 0 && declared <= limit) {
    // HTTP ends a body at its declared length, so only a caller that is not HTTP can send more.
    const bytes = new Uint8Array(await c.req.raw.arrayBuffer().catch(throwCutOff));
    if (bytes.length > limit) throw tooLarge(limit);
    return bytes;
  }
  const body = new ArrivingBody(c, limit);
  const chunks: Uint8Array[] = [];
  try {
    for await (const chunk of body.pieces()) chunks.push(chunk);
  } catch (error) {
    chunks.length = 0;
    await body.drain();
    throw error;
  }
  const whole = new Uint8Array(body.received);
  let offset = 0;
  for (const chunk of chunks) {
    whole.set(chunk, offset);
    offset += chunk.byteLength;
  }
  return whole;
}

/**
 * A request's body while it arrives, as it was sent. Its bytes are counted, because `content-length` may be missing or
 * false.
 */
export class ArrivingBody {
  received = 0;
  private readonly limit: number;
  private readonly declared: number;
  private readonly reader: ReadableStreamDefaultReader<Uint8Array> | null;

  constructor(c: AppContext, limit: number) {
    this.limit = limit;
    this.declared = Number(c.req.header("content-length") ?? 0);
    this.reader = c.req.raw.body?.getReader() ?? null;
  }

  /** @throws {ProblemError} if there are more than `limit` bytes, or they did not all come */
  async *pieces(): AsyncGenerator<Uint8Array> {
    if (this.declared > this.limit) throw tooLarge(this.limit);
    for (;;) {
      const piece = await this.read().catch(throwCutOff);
      if (piece === null) return;
      if (this.received > this.limit) throw tooLarge(this.limit);
      yield piece;
    }
  }

  /**
   * Throws away what is left, if it isn't too much, before the request is refused: many clients read the answer only
   * after they have sent their whole body.
   */
  async drain(): Promise<void> {
    try {
      while (this.received <= MAX_DRAIN && (await this.read()) !== null);
    } catch {
      // Nobody is left to read the answer.
    }
  }

  /** Ends it here: what is under way gets no reader. */
  stop(): void {
    this.reader?.cancel().catch(() => undefined);
  }

  private async read(): Promise<Uint8Array | null> {
    const { value = null } = (await this.reader?.read()) ?? {};
    this.received += value?.byteLength ?? 0;
    return value;
  }
}

/** The client is gone, so nobody reads the answer, and it is no failure of the edge that somebody should look into. */
function throwCutOff(): never {
  throw new ProblemError(
    "temporarily_unavailable",
    "The body did not arrive whole: send it again.",
  );
}

/** Up to this many bytes of a body are read and thrown away: more than any body may have, by little. */
const MAX_DRAIN = 134_217_728;
