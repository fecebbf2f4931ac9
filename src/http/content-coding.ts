import { gunzipSync, inflateRawSync, inflateSync, type ZlibOptions } from "node:zlib";
import { ProblemError } from "./problems.ts";

const DECODERS = { gzip: gunzipSync, deflate: inflate };

/** How a body may be compressed. */
export type Coding = keyof typeof DECODERS;

const CODINGS = Object.keys(DECODERS).join(", ");

/**
 * How a body with this `Content-Encoding` is compressed; `null` if it isn't.
 *
 * @throws {ProblemError} for any other coding, with the header that RFC 7694 asks for
 */
export function codingOf(contentEncoding: string | undefined): Coding | null {
  const codings = (contentEncoding ?? "")
    .toLowerCase()
    .split(",")
    .map((coding) => coding.trim().replace(/^x-gzip$/, "gzip"))
    .filter((coding) => coding !== "" && coding !== "identity");
  const [coding, ...more] = codings;
  if (coding === undefined) return null;
  if (more.length === 0 && isCoding(coding)) return coding;
  const given = codings.join(", ").slice(0, 60);
  const detail = `A body may be compressed in one of these ways: ${CODINGS}. This one has \`Content-Encoding: ${given}\`.`;
  throw new ProblemError("unsupported_media_type", detail, undefined, {
    "accept-encoding": CODINGS,
  });
}

/** HTTP means zlib's format. Some clients, such as .NET's `DeflateStream`, leave out its two bytes of header. */
function inflate(bytes: Uint8Array<ArrayBuffer>, options: ZlibOptions): Uint8Array<ArrayBuffer> {
  const [first = 0, second = 0] = bytes;
  const hasHeader = (first & 0x0f) === 8 && (first * 256 + second) % 31 === 0;
  return hasHeader ? inflateSync(bytes, options) : inflateRawSync(bytes, options);
}

function isCoding(coding: string): coding is Coding {
  return Object.hasOwn(DECODERS, coding);
}

/**
 * Decompresses a body that has at most `limit` bytes then. A few kilobytes can stand for gigabytes: decoding
 * ends as soon as there are more than `limit`.
 */
export function decode(
  bytes: Uint8Array<ArrayBuffer>,
  coding: Coding,
  limit: number,
): Uint8Array<ArrayBuffer> {
  try {
    return DECODERS[coding](bytes, { maxOutputLength: limit });
  } catch (error) {
    // The only mark of it that Node.js and the runtime share.
    if (error instanceof RangeError) throw tooLarge(limit);
    const detail = `The body can't be decompressed: it is not ${coding}, or it was cut off.`;
    throw new ProblemError("invalid_encoding", detail);
  }
}

export function tooLarge(limit: number): ProblemError {
  const detail = `The body has more than the ${limit} bytes allowed here.`;
  return new ProblemError("payload_too_large", detail);
}
