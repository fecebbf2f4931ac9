import { Buffer } from "node:buffer";
import { LIMITS } from "../protocol/limits.ts";
import { ProblemError } from "./problems.ts";

/**
 * What a piece of a form holds, in order: the headers of a part, from its boundary to its empty line; bytes of its
 * content, any number of times; its end.
 */
export type FormEvent =
  | { type: "headers"; block: Buffer }
  | { type: "content"; bytes: Buffer }
  | { type: "end" };

type Phase = "before" | "boundary" | "headers" | "content" | "after";

/**
 * Splits a `multipart/form-data` body into its parts while it arrives, cut anywhere (decision 0032). Of a part's content
 * it keeps no more than the beginning of a boundary.
 */
export class FormSplitter {
  /** Ends the content of every part. */
  private readonly delimiter: Buffer;
  private phase: Phase = "before";
  /** What has come and is not decided yet. */
  private rest: Buffer = Buffer.alloc(0);
  private isFirst = true;
  private parts = 0;

  /** @param boundary as `Content-Type` has it, without the hyphens before it */
  constructor(boundary: string) {
    this.delimiter = Buffer.from(`\r\n--${boundary}`, "latin1");
  }

  /**
   * Returns what the next piece of the body completes. Content is a part of `piece`, or a copy of what was kept.
   *
   * @throws {ProblemError} if it can't be read
   */
  *write(piece: Uint8Array): Generator<FormEvent> {
    const bytes = Buffer.from(piece.buffer, piece.byteOffset, piece.byteLength);
    this.rest = this.rest.length === 0 ? bytes : Buffer.concat([this.rest, bytes]);
    for (;;) {
      const event = this.next();
      if (event === "more") break;
      if (event !== null) yield event;
    }
    // A part of a large piece would keep the whole piece in memory.
    if (this.rest.length > 0) this.rest = Buffer.from(this.rest);
  }

  /** @throws {ProblemError} if the body ends here before its last boundary */
  finish(): void {
    if (this.phase === "after") return;
    if (this.phase !== "before") throw malformed(CUT_OFF);
    throw malformed(this.isFirst && this.rest.length === 0 ? "The body is empty." : NO_BOUNDARY);
  }

  /** The next event; `null` if there is none but more can be decided, `"more"` if that needs more bytes. */
  private next(): FormEvent | "more" | null {
    switch (this.phase) {
      case "before":
        return this.findFirst();
      case "boundary":
        return this.afterBoundary();
      case "headers":
        return this.readHeaders();
      case "content":
        return this.readContent();
      case "after":
        this.rest = Buffer.alloc(0);
        return "more";
    }
  }

  /** Skips what stands before the first boundary, which RFC 2046 allows. */
  private findFirst(): null | "more" {
    const { delimiter, rest } = this;
    const opening = delimiter.subarray(2);
    if (this.isFirst && rest.length < opening.length) return "more";
    const begins = this.isFirst && rest.subarray(0, opening.length).equals(opening);
    // Only the LF counts here: a form whose lines end with LF is told so, and not that it has no boundary.
    const at = begins ? 0 : rest.indexOf(delimiter.subarray(1)) + 1;
    if (!begins && at === 0) {
      this.rest = rest.subarray(Math.max(0, rest.length - delimiter.length));
      this.isFirst = false;
      return "more";
    }
    if (rest.length < at + opening.length + 1) {
      if (!begins) this.rest = rest.subarray(at - 1);
      return "more";
    }
    if (rest[at + opening.length] === LF) throw malformed(LF_ALONE);
    this.rest = rest.subarray(at + opening.length);
    this.phase = "boundary";
    return null;
  }

  private afterBoundary(): null | "more" {
    if (this.rest.length < 2) return "more";
    this.phase = this.rest.subarray(0, 2).equals(HYPHENS) ? "after" : "headers";
    return null;
  }

  private readHeaders(): FormEvent | "more" {
    const { rest, delimiter } = this;
    const emptyLine = rest.indexOf(EMPTY_LINE);
    const end = emptyLine < 0 ? rest.length : emptyLine + 2 + delimiter.length;
    // A part without an empty line must not be taken for the beginning of the next one.
    if (rest.subarray(0, end).includes(delimiter)) throw malformed(NO_EMPTY_LINE);
    if ((emptyLine < 0 ? rest.length : emptyLine) > LIMITS.partHeaderBytes) {
      throw malformed(
        `The headers of a part have more than ${LIMITS.partHeaderBytes} bytes, or no empty line follows them.`,
      );
    }
    // The line after the empty one may be a boundary already, which must be seen first.
    if (emptyLine < 0 || rest.length < end) return "more";
    this.parts += 1;
    if (this.parts > LIMITS.formParts) throw TOO_MANY_PARTS;
    this.rest = rest.subarray(emptyLine + EMPTY_LINE.length);
    this.phase = "content";
    return { type: "headers", block: rest.subarray(0, emptyLine) };
  }

  private readContent(): FormEvent | "more" {
    const { rest, delimiter } = this;
    const end = rest.indexOf(delimiter);
    if (end === 0) {
      this.rest = rest.subarray(delimiter.length);
      this.phase = "boundary";
      return { type: "end" };
    }
    const length = end > 0 ? end : rest.length - this.keptOf(rest);
    if (length === 0) return "more";
    this.rest = rest.subarray(length);
    return { type: "content", bytes: rest.subarray(0, length) };
  }

  /** How many bytes at the end may be the beginning of a boundary. */
  private keptOf(bytes: Buffer): number {
    const { delimiter } = this;
    const from = Math.max(0, bytes.length - delimiter.length + 1);
    for (let at = bytes.indexOf(CR, from); at >= 0; at = bytes.indexOf(CR, at + 1)) {
      const tail = bytes.subarray(at);
      if (tail.equals(delimiter.subarray(0, tail.length))) return tail.length;
    }
    return 0;
  }
}

const LF = 10;
const CR = 13;
const HYPHENS = Buffer.from("--");
const EMPTY_LINE = Buffer.from("\r\n\r\n");

const CUT_OFF = "It ends before its last boundary: was it cut off?";
const NO_BOUNDARY =
  "The body doesn't have the boundary that `Content-Type` names. Let your HTTP library set this header.";
const LF_ALONE = "Its lines end with LF. The lines of a form must end with CRLF.";
const NO_EMPTY_LINE = "The headers of a part must be followed by an empty line, with CRLF.";
const TOO_MANY_PARTS = new ProblemError(
  "payload_too_large",
  `A form may have ${LIMITS.formParts} parts at most. Send many values in the part \`input\`, which is JSON.`,
);

export function malformed(detail: string): ProblemError {
  return new ProblemError("invalid_multipart", `The form can't be read. ${detail}`);
}
