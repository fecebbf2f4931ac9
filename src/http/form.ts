import { shortenName } from "../protocol/file-name.ts";
import { type FormEvent, FormSplitter, malformed } from "./form-splitter.ts";
import {
  foreignCharset,
  nameParameter,
  type ParameterHeader,
  parseParameters,
} from "./header-parameters.ts";
import { ProblemError } from "./problems.ts";

/** What the headers of a form's part say. */
export interface PartHeaders {
  field: string;
  /** The file's name as it was sent; `null` if the part is no file. */
  fileName: string | null;
  /** Its `Content-Type` as it was sent. */
  type: string | null;
}

/** One part of a form, whole. */
export interface FormPart extends PartHeaders {
  bytes: Uint8Array;
}

/** One part of a form while it arrives. */
export interface ArrivingPart extends PartHeaders {
  /** Its bytes, as they come: read them all, or none, before the next part is asked for. */
  content: AsyncGenerator<Uint8Array>;
}

/**
 * Reads a `multipart/form-data` body part by part, while it arrives. A part with a file name is a file, whatever its
 * type; any other part is text.
 *
 * @param body its bytes, cut anywhere
 * @param contentType the request's `Content-Type`
 * @throws {ProblemError} if any part can't be read: no part is ever left out for that
 */
export async function* readParts(
  body: AsyncIterable<Uint8Array>,
  contentType: string,
): AsyncGenerator<ArrivingPart> {
  const boundary = parseParameters(contentType)?.parameters.get("boundary") ?? "";
  if (boundary === "" || boundary.length > BOUNDARY_LENGTH) {
    throw malformed(
      `\`Content-Type\` has no boundary of 1 to ${BOUNDARY_LENGTH} characters. Let your HTTP library set this header.`,
    );
  }
  const events = splitBody(body, new FormSplitter(boundary));
  for (let number = 1; ; number += 1) {
    const { value: event } = await events.next();
    if (event === undefined) return;
    if (event.type !== "headers") throw new Error("a part of a form began without headers");
    const content = contentOf(events);
    yield { ...partHeaders(headersOf(event.block, number), number), content };
    for await (const _ of content);
  }
}

/** RFC 2046 allows 70. */
const BOUNDARY_LENGTH = 200;

async function* splitBody(
  body: AsyncIterable<Uint8Array>,
  splitter: FormSplitter,
): AsyncGenerator<FormEvent> {
  for await (const piece of body) yield* splitter.write(piece);
  splitter.finish();
}

async function* contentOf(events: AsyncGenerator<FormEvent>): AsyncGenerator<Uint8Array> {
  for (;;) {
    const { value: event } = await events.next();
    if (event?.type !== "content") return;
    yield event.bytes;
  }
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

function partHeaders(headers: ReadonlyMap<string, string>, number: number): PartHeaders {
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
  return { field, fileName, type };
}

function dispositionOf(header: string | undefined, number: number): ParameterHeader {
  const disposition = header === undefined ? null : parseParameters(header);
  if (disposition?.value === "form-data") return disposition;
  const detail = `Part ${number} needs a header such as \`Content-Disposition: form-data; name="prompt"\`.`;
  throw malformed(detail);
}
