import { Buffer } from "node:buffer";
import {
  MaxHeaderSizeExceededError,
  MaxPartsExceededError,
  type MultipartPart,
  parseMultipart,
} from "@remix-run/multipart-parser";
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
  const parts = parseParts(form, boundary).map((part, index) => readPart(part, index + 1));
  if (parts.length !== countParts(form, boundary)) {
    throw malformed("The headers of a part must be followed by an empty line, with CRLF.");
  }
  return parts.filter(({ fileName, bytes }) => fileName !== "" || bytes.length > 0);
}

/** The text of a part. */
export function textOf({ field, type, bytes }: FormPart): string {
  const charset = foreignCharset(type ?? "");
  if (charset !== null) {
    const detail = `The part \`${field}\` is in ${charset}: send text as UTF-8.`;
    throw new ProblemError("unsupported_media_type", detail);
  }
  try {
    // A byte order mark is kept: texts keep every character.
    return new TextDecoder("utf-8", { fatal: true, ignoreBOM: true }).decode(bytes);
  } catch {
    const detail = `The part \`${field}\` is not UTF-8 text. A part that is a file needs a file name: \`filename="…"\` in its \`Content-Disposition\`.`;
    throw malformed(detail);
  }
}

/** The body from its first boundary on: RFC 2046 allows text before it. */
function formBytes(body: Uint8Array<ArrayBuffer>, boundary: string): Uint8Array<ArrayBuffer> {
  const bytes = bufferOf(body);
  const begins = bytes.indexOf(`--${boundary}`, 0, "latin1") === 0;
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

function readPart(part: MultipartPart, number: number): FormPart {
  const headers = headersOf(part, number);
  const disposition = dispositionOf(headers["content-disposition"], number);
  const field = nameParameter(disposition, "name");
  if (field === null) throw malformed(`Part ${number} has no name.`);
  const encoding = headers["content-transfer-encoding"] ?? "binary";
  if (!/^(?:binary|[78]bit)$/i.test(encoding)) {
    throw malformed(`The part \`${field}\` is in ${encoding}: send its bytes as they are.`);
  }
  return {
    field,
    fileName: nameParameter(disposition, "filename"),
    type: headers["content-type"] ?? null,
    bytes: bytesOf(part),
  };
}

function headersOf(part: MultipartPart, number: number): MultipartPart["headers"] {
  try {
    return part.headers;
  } catch {
    throw malformed(`The headers of part ${number} are not UTF-8.`);
  }
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

/**
 * Counts the parts by their boundaries. The parser takes a part whose headers never end for the beginning of
 * the next one, and its content for headers that it doesn't know.
 */
function countParts(form: Uint8Array<ArrayBuffer>, boundary: string): number {
  const bytes = bufferOf(form);
  const length = 2 + boundary.length;
  let count = 0;
  let end = length;
  while (bytes.toString("latin1", end, end + 2) !== "--") {
    const next = bytes.indexOf(`\r\n--${boundary}`, end, "latin1");
    if (next < 0) return -1;
    count += 1;
    end = next + 2 + length;
  }
  return count;
}

function bufferOf(bytes: Uint8Array<ArrayBuffer>): Buffer {
  return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
}

function malformed(detail: string): ProblemError {
  return new ProblemError("invalid_multipart", `The form can't be read. ${detail}`);
}
