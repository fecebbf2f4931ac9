import { Buffer } from "node:buffer";
import {
  MaxHeaderSizeExceededError,
  MaxPartsExceededError,
  type MultipartPart,
  parseMultipart,
} from "@remix-run/multipart-parser";
import { shortenName } from "../protocol/file-name.ts";
import { LIMITS } from "../protocol/limits.ts";
import {
  foreignCharset,
  nameParameter,
  type ParameterHeader,
  parseParameters,
} from "./header-parameters.ts";
import { ProblemError } from "./problems.ts";

/** One part of a form. */
export interface FormPart {
  field: string;
  /** The file's name as it was sent; `null` if the part is no file. */
  fileName: string | null;
  /** Its `Content-Type` as it was sent. */
  type: string | null;
  /** A part of the body, not a copy of it. */
  bytes: Uint8Array<ArrayBuffer>;
}

/**
 * Reads a `multipart/form-data` body. A part with a file name is a file, whatever its type; any other part is
 * text. A file that a browser's user did not choose, which has neither name nor content, is left out.
 *
 * @param contentType the request's `Content-Type`
 * @throws {ProblemError} if any part can't be read: no part is ever left out for that
 */
export function readForm(body: Uint8Array<ArrayBuffer>, contentType: string): FormPart[] {
  const boundary = parseParameters(contentType)?.parameters.get("boundary") ?? "";
  if (boundary === "") {
    throw malformed("`Content-Type` has no boundary. Let your HTTP library set this header.");
  }
  const form = formBytes(body, boundary);
  const parts = parseParts(form, boundary);
  const headers = headerBlocks(form, boundary);
  if (parts.length !== headers.length) throw malformed(NO_EMPTY_LINE);
  return parts
    .map((part, index) => readPart(part, headersOf(headers[index] ?? form, index + 1), index + 1))
    .filter(({ fileName, bytes }) => fileName !== "" || bytes.length > 0);
}

/** The text of a part. */
export function textOf({ field, type, bytes }: FormPart): string {
  const charset = foreignCharset(type ?? "");
  if (charset !== null) {
    const detail = `The part \`${shortenName(field, 60)}\` is in ${shortenName(charset, 60)}: send text as UTF-8.`;
    throw new ProblemError("unsupported_media_type", detail);
  }
  const text = utf8(bytes);
  if (text !== null) return text;
  const detail = `The part \`${shortenName(field, 60)}\` is not UTF-8 text. A part that is a file needs a file name: \`filename="…"\` in its \`Content-Disposition\`.`;
  throw malformed(detail);
}

/** The body from its first boundary on: RFC 2046 allows text before it. */
function formBytes(body: Uint8Array<ArrayBuffer>, boundary: string): Uint8Array<ArrayBuffer> {
  const bytes = bufferOf(body);
  const begins = bytes.toString("latin1", 0, 2 + boundary.length) === `--${boundary}`;
  const start = begins ? 0 : bytes.indexOf(`\n--${boundary}`, 0, "latin1") + 1;
  if (!begins && start === 0) {
    const detail =
      body.length === 0
        ? "The body is empty."
        : "The body doesn't have the boundary that `Content-Type` names. Let your HTTP library set this header.";
    throw malformed(detail);
  }
  if (bytes[start + 2 + boundary.length] === LF) {
    throw malformed("Its lines end with LF. The lines of a form must end with CRLF.");
  }
  return body.subarray(start);
}

const LF = 10;

function parseParts(form: Uint8Array<ArrayBuffer>, boundary: string): MultipartPart[] {
  try {
    const { uploadBytes, formParts, partHeaderBytes } = LIMITS;
    const bytes = { maxFileSize: uploadBytes, maxTotalSize: uploadBytes };
    const limits = { ...bytes, maxParts: formParts, maxHeaderSize: partHeaderBytes };
    return [...parseMultipart(form, { boundary, ...limits })];
  } catch (error) {
    if (error instanceof MaxPartsExceededError) {
      const detail = `A form may have ${LIMITS.formParts} parts at most. Send many values in the part \`input\`, which is JSON.`;
      throw new ProblemError("payload_too_large", detail);
    }
    if (error instanceof MaxHeaderSizeExceededError) {
      const detail = `The headers of a part have more than ${LIMITS.partHeaderBytes} bytes, or no empty line follows them.`;
      throw malformed(detail);
    }
    throw malformed("It ends before its last boundary: was it cut off?");
  }
}

/**
 * The headers of every part, from its boundary to its empty line. The parser doesn't show them as they were
 * sent: it takes a part without empty line for the beginning of the next one, and leaves out lines without `:`,
 * such as the second line of a long header, in which the name of a file may be.
 */
function headerBlocks(form: Uint8Array<ArrayBuffer>, boundary: string): Buffer[] {
  const bytes = bufferOf(form);
  const length = 2 + boundary.length;
  const blocks: Buffer[] = [];
  let end = length;
  while (bytes.toString("latin1", end, end + 2) !== "--") {
    const next = bytes.indexOf(`\r\n--${boundary}`, end, "latin1");
    const emptyLine = bytes.indexOf("\r\n\r\n", end, "latin1");
    if (next < 0 || emptyLine < 0 || emptyLine > next) throw malformed(NO_EMPTY_LINE);
    blocks.push(bytes.subarray(end, emptyLine));
    end = next + 2 + length;
  }
  return blocks;
}

const NO_EMPTY_LINE = "The headers of a part must be followed by an empty line, with CRLF.";

/** The headers of a part, by their names in lower case. */
function headersOf(block: Uint8Array, number: number): ReadonlyMap<string, string> {
  const text = utf8(block);
  if (text === null) throw malformed(`The headers of part ${number} are not UTF-8.`);
  const [afterBoundary = "", ...lines] = text.replace(/\r\n[ \t]+/g, " ").split("\r\n");
  const headers = new Map<string, string>();
  for (const line of lines) {
    const colon = line.indexOf(":");
    const name = line.slice(0, colon).trim().toLowerCase();
    if (colon < 0 || headers.has(name)) {
      throw malformed(`Part ${number} has a header without a colon, or one that stands twice.`);
    }
    headers.set(name, line.slice(colon + 1).trim());
  }
  if (afterBoundary.trim() === "") return headers;
  throw malformed(`There is more than the boundary in its line before part ${number}.`);
}

/** The text of UTF-8 bytes, of which every character is kept; `null` if they are not UTF-8. */
function utf8(bytes: Uint8Array): string | null {
  try {
    return new TextDecoder("utf-8", { fatal: true, ignoreBOM: true }).decode(bytes);
  } catch {
    return null;
  }
}

function readPart(
  part: MultipartPart,
  headers: ReadonlyMap<string, string>,
  number: number,
): FormPart {
  const disposition = dispositionOf(headers.get("content-disposition"), number);
  const field = nameParameter(disposition, "name");
  if (field === null) throw malformed(`Part ${number} has no name.`);
  const fileName = nameParameter(disposition, "filename");
  const type = headers.get("content-type") ?? null;
  const encoding = headers.get("content-transfer-encoding") ?? "binary";
  if (!/^(?:binary|[78]bit)$/i.test(encoding)) {
    throw malformed(
      `Part ${number} is in ${shortenName(encoding, 60)}: send its bytes as they are.`,
    );
  }
  if (fileName === null && /^multipart\//i.test(type ?? "")) {
    throw malformed(`Part ${number} has parts itself: send each file as a part of the form.`);
  }
  return { field, fileName, type, bytes: bytesOf(part) };
}

function dispositionOf(header: string | undefined, number: number): ParameterHeader {
  const disposition = header === undefined ? null : parseParameters(header);
  if (disposition?.value === "form-data") return disposition;
  const detail = `Part ${number} needs a header such as \`Content-Disposition: form-data; name="prompt"\`.`;
  throw malformed(detail);
}

/** Without a copy, because the body was parsed as one piece. */
function bytesOf(part: MultipartPart): Uint8Array<ArrayBuffer> {
  const [only, ...more] = part.content;
  if (only === undefined) return new Uint8Array();
  return (more.length === 0 ? only : part.bytes) as Uint8Array<ArrayBuffer>;
}

function bufferOf(bytes: Uint8Array<ArrayBuffer>): Buffer {
  return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
}

function malformed(detail: string): ProblemError {
  return new ProblemError("invalid_multipart", `The form can't be read. ${detail}`);
}
